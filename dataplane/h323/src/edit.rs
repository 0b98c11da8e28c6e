//! Editing a message by patching its octets: the number, and extension additions put in, replaced or left out. All else
//! keeps its bits.

use crate::schema::tokens::CLEAR_TOKEN;
use crate::schema::{Id, Places, map_of_additions, walk, walk_noting};
use crate::view::{Message, number};
use crate::write::{Tok, put_map};
use portunus_codec::{Full, PerReader, PerWriter, Writer};

/// What becomes of one extension addition.
pub(crate) enum Change<'a> {
    /// It is not there any more.
    Drop,
    /// This is there instead of whatever was.
    Put(&'a dyn Fn(&mut PerWriter<'_, '_>)),
}

/// Most extension additions of a sequence that are edited: what a normally small length below 64 can say.
const ADDITIONS_MAX: u32 = 64;

/// Writes a message with another number and with changed additions. Returns where in `w` the last of those that were put in
/// ends.
///
/// # Errors
/// [`Full`]; also for a kind that is itself an addition, which is never edited.
pub(crate) fn edit(
    msg: &Message<'_>,
    seq: Option<u16>,
    changes: &[(u8, Change<'_>)],
    w: &mut Writer<'_>,
) -> Result<usize, Full> {
    msg.kind().root_index().ok_or(Full)?;
    let start = w.len();
    let (octets, root_end) = (msg.octets(), msg.places.root_end as usize);
    w.put(octets.get(..root_end.div_ceil(8)).ok_or(Full)?);
    let free = (root_end.next_multiple_of(8) - root_end) as u32;
    let extension_bit = msg.places.extension_bit as usize;
    let mut r = PerReader::at(octets, extension_bit);
    let was_extended = r.bool().ok_or(Full)?;
    let mut old = PerReader::at(octets, root_end);
    let (count, present) = if was_extended { map_of_additions(&mut old).ok_or(Full)? } else { (0, 0) };
    let (mut after, mut known) = (present, count);
    for (at, change) in changes {
        match change {
            Change::Drop => after &= !(1 << at),
            Change::Put(_) => (after, known) = (after | 1 << at, known.max(u32::from(*at) + 1)),
        }
    }
    if known > ADDITIONS_MAX {
        return Err(Full);
    }
    // The bits of the last octet behind the root are the old additions' map.
    let written = w.written_mut();
    if let Some(last) = written.last_mut() {
        *last &= 0xff_u8.checked_shl(free).unwrap_or(0);
    }
    let bit = 0x80 >> (extension_bit % 8);
    if let Some(octet) = written.get_mut(start + extension_bit / 8) {
        *octet = if after != 0 { *octet | bit } else { *octet & !bit };
    }
    if let (Some(seq), Some(at)) = (seq, msg.places.get(Id::Seq)) {
        let at = start + at.div_ceil(8);
        if let Some(field) = written.get_mut(at..at + 2) {
            field.copy_from_slice(&(seq - seq.min(1)).to_be_bytes());
        }
    }
    let mut p = PerWriter::within(w, free);
    if after != 0 {
        put_map(&mut p, known, after);
    }
    let mut end = p.len();
    let mut rest = present | after;
    while rest != 0 {
        let i = rest.trailing_zeros();
        rest &= rest - 1;
        let content = if present >> i & 1 == 1 { Some(old.open().ok_or(Full)?) } else { None };
        match (changes.iter().find(|(at, _)| u32::from(*at) == i), content) {
            (Some((_, Change::Put(write))), _) => {
                let opened = p.open();
                write(&mut p);
                end = p.end_open(opened).len();
            }
            (Some((_, Change::Drop)), _) | (None, None) => {}
            (None, Some(content)) => _ = p.length(content.len()).octets(content),
        }
    }
    w.finish().map(|_| end)
}

/// The tokens of a message that are not PKD1's, by their bits.
fn foreign(msg: &Message<'_>, mut each: impl FnMut(usize)) {
    let Some(mut r) = msg.reader(Id::Tokens).filter(|_| msg.has_foreign_tokens()) else { return };
    for _ in 0..r.length().unwrap_or(0) {
        let (mut places, from) = (Places::new(), r.bit());
        if walk_noting(&CLEAR_TOKEN, &mut r, &mut places).is_err() {
            return;
        }
        let mut oid = PerReader::at(msg.octets(), places.get(Id::TokenOid).unwrap_or(0));
        let own = oid.length().and_then(|n| oid.octets(n)).and_then(number).is_some();
        if !own {
            each(from);
        }
    }
}

/// The tokens of others, aligned anew, and PKD1's own behind them.
pub(crate) fn put_tokens(msg: &Message<'_>, own: Option<&Tok<'_>>, p: &mut PerWriter<'_, '_>) {
    p.length(msg.places.foreign as usize + usize::from(own.is_some()));
    foreign(msg, |from| _ = walk(&CLEAR_TOKEN, &mut PerReader::echoing(msg.octets(), from, &mut *p)));
    if let Some(own) = own {
        own.put(p);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn edited(msg: &Message<'_>, seq: Option<u16>, changes: &[(u8, Change<'_>)]) -> Option<Vec<u8>> {
        let mut buf = vec![0; 4096];
        let mut w = Writer::new(&mut buf);
        edit(msg, seq, changes, &mut w).ok()?;
        Some(w.written().to_vec())
    }

    /// Every kept seed that is a message of a kind that is edited.
    fn each_seed(mut f: impl FnMut(&Message<'_>)) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/h323");
        let mut n = 0;
        for file in std::fs::read_dir(seeds).unwrap() {
            let octets = std::fs::read(file.unwrap().path()).unwrap();
            let Ok(msg) = Message::parse(&octets) else { continue };
            if msg.kind().root_index().is_some() {
                f(&msg);
                n += 1;
            }
        }
        assert!(n > 80, "{n}");
    }

    #[test]
    fn what_is_not_changed_keeps_its_bits() {
        each_seed(|msg| {
            assert_eq!(edited(msg, None, &[]).as_deref(), Some(msg.octets()), "{msg:?}");
            for seq in [1, 0x0102, 65_535] {
                let other = edited(msg, Some(seq), &[]).unwrap();
                let view = Message::parse(&other).unwrap();
                assert_eq!((view.kind(), view.seq()), (msg.kind(), seq));
                assert_eq!(edited(&view, Some(msg.seq()), &[]).as_deref(), Some(msg.octets()));
            }
        });
    }

    #[test]
    fn an_addition_that_is_put_in_and_taken_out_leaves_nothing() {
        each_seed(|msg| {
            // Far behind all that there are, and the first that there may be.
            let put: &dyn Fn(&mut PerWriter<'_, '_>) = &|p| _ = p.octets(b"added");
            let more = edited(msg, None, &[(62, Change::Put(put))]).unwrap();
            let view = Message::parse(&more).unwrap();
            assert!(more.ends_with(b"\x05added") && view.seq() == msg.seq());
            let again = edited(&view, None, &[(62, Change::Drop)]).unwrap();
            let view = Message::parse(&again).unwrap();
            assert_eq!(edited(&view, None, &[(62, Change::Put(put))]).unwrap(), more);
            // The map of the additions may be longer than it was; where there were none there is none.
            let mut r = PerReader::at(msg.octets(), msg.places.extension_bit as usize);
            if r.bool() == Some(false) {
                assert_eq!(again, msg.octets(), "{msg:?}");
            }
        });
    }
}
