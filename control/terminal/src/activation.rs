//! The terminal's end of an activation code's redemption, without I/O: what to send when, and what came of it. The
//! exchange: PROTOCOL.md section 19.
//!
//! ```text
//!  asking --answer--> holding --kept--> confirming --done--> the key works
//!    |                   ^                  |
//!    | nobody answers    | the owner makes  | nobody answers: begin anew, unless the confirm arrived and its
//!    v                   | the key durable  v answer did not: then only this confirm will ever be answered
//!  silent                |                silent
//! ```
//!
//! The key must be durable before it is confirmed: afterwards nobody gives it again. What is kept is a [`Pending`], from
//! which a terminal that was cut off goes on with its confirm.

use portunus_keydist::activation::{CONFIRM, CodeKey, Message, Nonce};
use portunus_keydist::ident::Idc;
use portunus_keydist::schedule::words_equal;
use portunus_keydist::{Key, Now};
use zeroize::Zeroizing;

/// The first repetition comes after this; each later one after twice as long, milliseconds.
const FIRST_MS: u64 = 500;
/// Times that a message is sent.
const SENT: u32 = 6;

/// A key that was answered and may not work yet. It is kept as lines of text.
#[derive(Clone)]
pub struct Pending {
    /// Whose.
    pub idc: String,
    /// The key.
    pub kc: Key,
    confirm: [u8; CONFIRM],
    done: [u8; CONFIRM],
}

impl core::fmt::Debug for Pending {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Pending({})", self.idc)
    }
}

fn put_hex(out: &mut String, octets: &[u8]) {
    let mut digits = Zeroizing::new([0u8; 2 * CONFIRM]);
    let digits = digits.get_mut(..octets.len() * 2).unwrap_or_default();
    portunus_codec::hex_encode(octets, digits);
    out.push_str(core::str::from_utf8(digits).unwrap_or_default());
}

impl Pending {
    /// The key as rows of a key file.
    pub fn key_file(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(self.idc.len() + 80));
        out.push_str("id,key\n");
        out.push_str(&self.idc);
        out.push(',');
        put_hex(&mut out, self.kc.expose());
        out.push('\n');
        out
    }

    /// As it is kept until it is confirmed.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Room for all of it from the start: growing would leave copies behind.
        let mut out = Zeroizing::new(String::with_capacity(self.idc.len() + 2 * (32 + 2 * CONFIRM) + 80));
        out.push_str(self.key_file().as_str());
        for (name, octets) in [("# confirm ", &self.confirm), ("# done ", &self.done)] {
            out.push_str(name);
            put_hex(&mut out, octets);
            out.push('\n');
        }
        out
    }

    /// From what [`Pending::to_text`] gave; `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == "id,key").then_some(())?;
        let (idc, key) = lines.next()?.rsplit_once(',')?;
        let kc = Zeroizing::new(portunus_codec::hex_decode::<32>(key.as_bytes())?);
        let mut closing = |name: &str| {
            let digits = lines.next()?.strip_prefix(name)?;
            portunus_codec::hex_decode::<CONFIRM>(digits.as_bytes())
        };
        let (confirm, done) = (closing("# confirm ")?, closing("# done ")?);
        let idc = Idc::new(idc)?.as_str().to_owned();
        lines.next().is_none().then(|| Self { idc, kc: Key::new(*kc), confirm, done })
    }
}

/// How far a redemption is.
#[derive(Debug)]
enum Stage {
    Asking(CodeKey, Nonce),
    Holding(Pending),
    Confirming(Pending),
    Over,
}

/// What came of a message, or of none.
#[derive(Debug)]
pub enum Event {
    /// A key: make it durable, then say [`Redeem::kept`].
    Key(Pending),
    /// The key works.
    Done(Pending),
    /// Nobody answered the ask.
    Unanswered,
    /// Nobody answered the confirm: whether the key works is not known.
    Unconfirmed(Pending),
}

/// One redemption.
#[derive(Debug)]
pub struct Redeem {
    stage: Stage,
    /// When the next copy is due.
    next_at: u64,
    sent: u32,
}

impl Redeem {
    /// Begins with a code. `nt`: fresh; a nonce that was used with this code before is not answered.
    pub fn new(now: Now, code: CodeKey, nt: Nonce) -> Self {
        Self { stage: Stage::Asking(code, nt), next_at: now.mono_ms, sent: 0 }
    }

    /// Goes on with a key whose confirm was not answered.
    pub fn resumed(now: Now, pending: Pending) -> Self {
        Self { stage: Stage::Confirming(pending), next_at: now.mono_ms, sent: 0 }
    }

    /// The next message, when one is due.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Vec<u8>> {
        if now.mono_ms < self.next_at || self.sent >= SENT {
            return None;
        }
        let octets = match &self.stage {
            Stage::Asking(code, nt) => code.ask(nt).to_vec(),
            Stage::Confirming(pending) => pending.confirm.to_vec(),
            Stage::Holding(_) | Stage::Over => return None,
        };
        self.next_at = now.mono_ms + (FIRST_MS << self.sent);
        self.sent += 1;
        Some(octets)
    }

    /// When something is due, monotonic milliseconds; `None` while the owner is.
    pub fn deadline(&self) -> Option<u64> {
        matches!(self.stage, Stage::Asking(..) | Stage::Confirming(_)).then_some(self.next_at)
    }

    /// Takes a datagram in; one that is not for this redemption does nothing.
    pub fn on_datagram(&mut self, octets: &[u8]) -> Option<Event> {
        match &self.stage {
            Stage::Asking(code, nt) => {
                let (granted, idc) = code.open_answer(nt, octets)?;
                let (confirm, done) = (code.confirm(&granted), code.done(&granted));
                let pending = Pending { idc, kc: granted.kc, confirm, done };
                self.stage = Stage::Holding(pending.clone());
                Some(Event::Key(pending))
            }
            Stage::Confirming(pending) => {
                let right =
                    matches!(Message::read(octets), Some(Message::Done { .. })) && words_equal(&pending.done, octets);
                if !right {
                    return None;
                }
                let Stage::Confirming(pending) = core::mem::replace(&mut self.stage, Stage::Over) else { return None };
                Some(Event::Done(pending))
            }
            Stage::Holding(_) | Stage::Over => None,
        }
    }

    /// The key is durable: it may be confirmed.
    pub fn kept(&mut self, now: Now) {
        if let Stage::Holding(pending) = &self.stage {
            self.stage = Stage::Confirming(pending.clone());
            (self.next_at, self.sent) = (now.mono_ms, 0);
        }
    }

    /// What time has brought: nobody answered the last copy.
    pub fn on_timer(&mut self, now: Now) -> Option<Event> {
        if self.sent < SENT || now.mono_ms < self.next_at {
            return None;
        }
        self.give_up()
    }

    /// Nobody is waited for any longer.
    pub fn give_up(&mut self) -> Option<Event> {
        match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asking(..) => Some(Event::Unanswered),
            Stage::Confirming(pending) => Some(Event::Unconfirmed(pending)),
            other => {
                self.stage = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_keydist::activation::{Code, Granted};
    use portunus_keydist::{Random as _, SystemRandom};

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn code() -> (CodeKey, Granted) {
        let rng = &mut SystemRandom::new();
        (Code::random(rng).key(), Granted { nt: [7; 16], na: rng.array(), kc: Key::new([0xc5; 32]) })
    }

    #[test]
    fn a_key_is_confirmed_only_when_it_is_kept_and_works_when_that_is_answered() {
        let (code, granted) = code();
        let mut redeem = Redeem::new(at(0), code.clone(), granted.nt);
        assert_eq!(redeem.poll_transmit(at(0)), Some(code.ask(&granted.nt).to_vec()));
        assert_eq!((redeem.poll_transmit(at(499)), redeem.deadline()), (None, Some(500)));
        assert!(redeem.poll_transmit(at(500)).is_some());
        assert!(redeem.on_datagram(&code.done(&granted)).is_none(), "nothing was confirmed");
        let answer = code.answer(&granted, Idc::new("alice@example.test").unwrap());
        let Some(Event::Key(pending)) = redeem.on_datagram(&answer) else { panic!("no key") };
        assert_eq!((pending.kc.expose(), pending.idc.as_str()), (&[0xc5; 32], "alice@example.test"));
        assert_eq!((redeem.poll_transmit(at(9_000)), redeem.deadline()), (None, None), "the owner is at work");
        redeem.kept(at(9_000));
        assert_eq!(redeem.poll_transmit(at(9_000)), Some(code.confirm(&granted).to_vec()));
        assert!(redeem.on_datagram(&answer).is_none());
        assert!(redeem.on_datagram(&code.confirm(&granted)).is_none());
        assert!(matches!(redeem.on_datagram(&code.done(&granted)), Some(Event::Done(_))));
        assert!(redeem.on_timer(at(99_999)).is_none() && redeem.poll_transmit(at(99_999)).is_none());
    }

    #[test]
    fn nothing_that_was_altered_or_cut_is_taken() {
        let (code, granted) = code();
        let answer = code.answer(&granted, Idc::new("alice").unwrap());
        let done = code.done(&granted);
        let mut asking = Redeem::new(at(0), code.clone(), granted.nt);
        let mut confirming = Redeem::new(at(0), code.clone(), granted.nt);
        confirming.on_datagram(&answer);
        confirming.kept(at(0));
        for (redeem, good) in [(&mut asking, answer.as_slice()), (&mut confirming, done.as_slice())] {
            for bit in 0..good.len() * 8 {
                let mut bad = good.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(redeem.on_datagram(&bad).is_none(), "bit {bit}");
            }
            for n in 0..good.len() {
                assert!(redeem.on_datagram(&good[..n]).is_none(), "cut at {n}");
            }
        }
        assert!(asking.on_datagram(&answer).is_some() && confirming.on_datagram(&done).is_some());
    }

    #[test]
    fn silence_ends_it_and_says_in_which_half() {
        let (code, granted) = code();
        let run = |mut redeem: Redeem| {
            let (mut now, mut sent) = (0, 0);
            loop {
                sent += usize::from(redeem.poll_transmit(at(now)).is_some());
                if let Some(event) = redeem.on_timer(at(now)) {
                    return (event, sent, now);
                }
                now = redeem.deadline().expect("something is due");
            }
        };
        let (event, sent, took) = run(Redeem::new(at(0), code.clone(), granted.nt));
        assert!(matches!(event, Event::Unanswered));
        assert_eq!((sent, took), (6, 31_500));
        let pending = Pending {
            idc: "alice".into(),
            kc: granted.kc.clone(),
            confirm: code.confirm(&granted),
            done: code.done(&granted),
        };
        let (event, sent, _) = run(Redeem::resumed(at(0), pending));
        assert!(matches!(event, Event::Unconfirmed(_)) && sent == 6);
    }

    #[test]
    fn what_is_kept_is_read_again_and_is_a_key_file() {
        let (code, granted) = code();
        let (confirm, done) = (code.confirm(&granted), code.done(&granted));
        let pending = Pending { idc: "alice@example.test".into(), kc: granted.kc.clone(), confirm, done };
        let text = pending.to_text();
        let read = Pending::from_text(&text).unwrap();
        assert_eq!((read.kc.expose(), read.confirm, read.done), (pending.kc.expose(), confirm, done));
        assert!(text.starts_with(pending.key_file().as_str()));
        assert_eq!(pending.key_file().as_str(), format!("id,key\nalice@example.test,{}\n", "c5".repeat(32)));
        for n in 0..text.trim_end().len() {
            assert!(Pending::from_text(&text[..n]).is_none(), "cut at {n}");
        }
        assert_eq!(format!("{pending:?}"), "Pending(alice@example.test)");
    }
}
