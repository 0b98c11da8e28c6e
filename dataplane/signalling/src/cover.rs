//! Text that is hidden in a message, and shown again when it comes back: a [`Veil`] over characters that every protocol
//! lets pass.

use crate::border::Crossing;
use portunus_codec::{Writer, b64_decode, b64_len};
use portunus_keydist::ident::Idc;
use portunus_keydist::proxy::{VEIL_LEN, Veil};

/// What a name begins with that hides something, in every protocol. No person's or device's name begins so.
pub const MARK: &[u8] = b"pkd~";
/// Octets of the longest text that is hidden at once.
pub const HIDDEN_MAX: usize = 1024;
/// Octets before the text in its sealed form.
const HEAD: usize = 12;

/// Room for a text that is shown.
pub struct Room([u8; HIDDEN_MAX + VEIL_LEN]);

impl Room {
    /// Empty.
    pub const fn new() -> Self {
        Self([0; HIDDEN_MAX + VEIL_LEN])
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Room {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Room(..)")
    }
}

/// A veil, and the terminal that it is drawn for.
#[derive(Debug, Clone, Copy)]
pub struct Cover<'a> {
    veil: &'a Veil,
    idc: Idc<'a>,
}

impl<'a> Cover<'a> {
    /// What hides from this terminal now; `None`: nothing is to be hidden.
    pub fn hiding(crossing: &Crossing<'a>, idc: Idc<'a>) -> Option<Self> {
        crossing.border.hiding().map(|veil| Self { veil, idc })
    }

    /// What shows what was hidden from this terminal, whether or not anything is hidden now; `None`: nothing ever was.
    pub fn showing(crossing: &Crossing<'a>, idc: Idc<'a>) -> Option<Self> {
        crossing.border.veil.as_ref().map(|veil| Self { veil, idc })
    }

    /// Writes, in letters, digits, `-` and `_`, what hides the text that `write` writes; `domain` says what it is for. A
    /// text of more than [`HIDDEN_MAX`] octets spoils `w`.
    pub fn put(&self, domain: u8, write: impl FnOnce(&mut Writer<'_>), w: &mut Writer<'_>) {
        let mut room = [0u8; HIDDEN_MAX + VEIL_LEN];
        let mut text = Writer::new(room.get_mut(HEAD..HEAD + HIDDEN_MAX).unwrap_or_default());
        write(&mut text);
        let sealed = text.finish().ok().and_then(|len| room.get_mut(..len + VEIL_LEN)).and_then(|sealed| {
            let done = self.veil.seal(domain, self.idc, sealed);
            done.then_some(&*sealed)
        });
        match sealed {
            Some(sealed) => _ = w.b64(sealed),
            None => _ = w.reserve(usize::MAX),
        }
    }

    /// What these characters hide; `None`: nothing that was hidden for this terminal and this purpose.
    pub fn shown<'r>(&self, domain: u8, hidden: &[u8], Room(room): &'r mut Room) -> Option<&'r [u8]> {
        if hidden.len() > b64_len(room.len()) {
            return None;
        }
        // A failed attempt leaves nothing of what it tried, so that a second one begins with the characters again.
        let text = [Some(self.veil), self.veil.other()].into_iter().flatten().find_map(|veil| {
            let len = b64_decode(hidden, room)?;
            veil.open(domain, self.idc, room.get_mut(..len)?).map(<[u8]>::len)
        });
        room.get(HEAD..HEAD + text?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::border::{Border, Rules};
    use portunus_keydist::{DeviceKeys, Key};

    #[test]
    fn what_fits_comes_back_and_what_does_not_spoils_the_writer() {
        let border = Border { veil: Some(Veil::new(&Key::new([7; 32]).prk())), rules: Rules::OPEN };
        let crossing = Crossing { border: &border, noticed: None };
        let idc = Idc::new("alice@example.test").unwrap();
        assert!(Cover::hiding(&crossing, idc).is_none() && Cover::showing(&Crossing::OPEN, idc).is_none());
        let cover = Cover::showing(&crossing, idc).unwrap();
        for len in [0, 1, 100, HIDDEN_MAX, HIDDEN_MAX + 1] {
            let (text, mut buf) = (vec![b'x'; len], [0u8; 2048]);
            let mut w = Writer::new(&mut buf);
            cover.put(1, |w| _ = w.put(&text), &mut w);
            assert_eq!(w.finish().is_ok(), len <= HIDDEN_MAX, "{len}");
            let mut room = Room::new();
            if len <= HIDDEN_MAX {
                assert_eq!(cover.shown(1, w.written(), &mut room), Some(&text[..]));
                assert_eq!(cover.shown(2, w.written(), &mut room), None);
            }
        }
        assert_eq!(cover.shown(1, &[b'A'; 4096], &mut Room::new()), None, "longer than anything that is hidden");
        assert_eq!(cover.shown(1, b"not base64!", &mut Room::default()), None);
    }

    #[test]
    fn what_was_hidden_under_the_key_before_is_shown_and_nothing_more_is_hidden_under_it() {
        let prk = |n: u8| Key::new([n; 32]).prk();
        let border = |keys: DeviceKeys| Border { veil: Some(Veil::of(&keys)), rules: Rules::OPEN };
        let (before, after) = (border(prk(1).into()), border(DeviceKeys::new(prk(2), Some(prk(1)))));
        let alone = border(prk(2).into());
        let idc = Idc::new("alice@example.test").unwrap();
        let hide = |border: &Border| {
            let mut buf = [0u8; 256];
            let mut w = Writer::new(&mut buf);
            Cover::showing(&Crossing { border, noticed: None }, idc).unwrap().put(1, |w| _ = w.put(b"core"), &mut w);
            w.written().to_vec()
        };
        let shown = |border: &Border, hidden: &[u8]| {
            let crossing = Crossing { border, noticed: None };
            let mut room = Room::new();
            Cover::showing(&crossing, idc).unwrap().shown(1, hidden, &mut room).map(<[u8]>::to_vec)
        };
        let (old, new) = (hide(&before), hide(&after));
        assert_eq!(shown(&after, &old).as_deref(), Some(&b"core"[..]));
        assert_eq!(shown(&after, &new).as_deref(), Some(&b"core"[..]));
        assert_eq!((shown(&alone, &new).as_deref(), shown(&alone, &old)), (Some(&b"core"[..]), None));
        assert_eq!(shown(&before, &new), None);
    }
}
