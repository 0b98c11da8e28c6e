//! The AuC's end of an activation code's redemption, without I/O: a code's record and a message in, what is to become of
//! both out. The exchange: PROTOCOL.md section 19.
//!
//! ```text
//!            fresh ask: new Na and Kc            right confirm
//!  issued ---------------------------> answered ---------------> redeemed     (the code's key is gone)
//!    |                                  |   ^ |                     ^ |
//!    | revoked                  revoked |   +-+ fresh ask: other    +-+ same confirm: same done
//!    +-------> revoked <----------------+       Na, other Kc
//!                                               same ask: same answer
//! ```
//!
//! An ask with a nonce that no ask before had replaces whatever was answered before: only the newest key can still be
//! confirmed. So a terminal that forgot everything begins anew, and of two who hold one code one succeeds at most: its
//! confirm burns the code, and the other's key never works. A nonce that was replaced is never answered again, so that a
//! copy of an old ask disturbs nobody.
//!
//! Everything that is not answered is met with silence; the reason is counted.

pub mod fuzz;

use portunus_keydist::activation::{ANSWER, CONFIRM, CodeKey, Granted, Message, Nonce};
use portunus_keydist::ident::Idc;
use portunus_keydist::schedule::words_equal;
use portunus_keydist::{Key, Random};

/// Fresh asks that one code is good for: a terminal that begins anew so often will not succeed the next time either.
pub const ASKS_MAX: usize = 8;
/// A key that was answered in time may still be confirmed for so long after its code's end, milliseconds.
pub const GRACE_MS: u64 = 600_000;

/// How far a code is.
#[derive(Debug, Clone)]
pub enum State {
    /// Nobody asked yet.
    Issued {
        /// What the code's messages are made under.
        key: CodeKey,
    },
    /// A key was answered, and may be confirmed.
    Answered {
        /// Likewise.
        key: CodeKey,
        /// What was agreed on.
        granted: Granted,
    },
    /// The key works.
    Redeemed {
        /// The confirm that was right, for its repetitions.
        confirm: [u8; CONFIRM],
        /// What answers it.
        done: [u8; CONFIRM],
    },
    /// It opens nothing any more.
    Revoked,
}

/// What is kept of a code.
#[derive(Debug, Clone)]
pub struct CodeRecord {
    /// Whose key it brings.
    pub idc: String,
    /// True: a key that the subscriber has already is replaced.
    pub replace: bool,
    /// When it was issued, milliseconds since 1970 UTC.
    pub made_ms: u64,
    /// When it ends.
    pub expires_ms: u64,
    /// Nonces of the asks that were answered, the newest last.
    pub asked: Vec<Nonce>,
    /// How far it is.
    pub state: State,
}

/// Why a message was met with silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No message of a terminal's.
    Malformed,
    /// No code is found by this locator.
    Unknown,
    /// Made under another code, or altered.
    Forged,
    /// The code's time is over.
    Expired,
    /// Redeemed by somebody, or revoked.
    Spent,
    /// A nonce that was replaced by a newer one.
    Replaced,
    /// More fresh asks than [`ASKS_MAX`].
    TooMany,
    /// The subscriber has got a key by another way meanwhile, and the code was not issued to replace one.
    Taken,
}

/// What is to be done. A record must be durable before its message is sent.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Silence(Why),
    /// Send this again.
    Repeat(Reply),
    /// Keep the record, then send.
    Answer(CodeRecord, Reply),
    /// Give the subscriber this key and keep the record, both or none, then send.
    Activate(CodeRecord, Key, Reply),
}

/// A message to the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// IDc and Kc, sealed.
    Answer(Box<[u8; ANSWER]>),
    /// The key works.
    Done([u8; CONFIRM]),
}

impl Reply {
    /// As it is sent.
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Answer(octets) => octets.as_slice(),
            Self::Done(octets) => octets,
        }
    }
}

/// What a message to a code does. `octets`: as it arrived. `wall_ms`: milliseconds since 1970 UTC.
pub fn step(record: &CodeRecord, wall_ms: u64, octets: &[u8], rng: &mut dyn Random) -> Step {
    match Message::read(octets) {
        Some(Message::Ask { nt, .. }) => asked(record, wall_ms, (octets, nt), rng),
        Some(Message::Confirm { .. }) => confirmed(record, wall_ms, octets),
        _ => Step::Silence(Why::Malformed),
    }
}

fn asked(record: &CodeRecord, wall_ms: u64, (octets, nt): (&[u8], &Nonce), rng: &mut dyn Random) -> Step {
    let (key, granted) = match &record.state {
        State::Issued { key } => (key, None),
        State::Answered { key, granted } => (key, Some(granted)),
        State::Redeemed { .. } | State::Revoked => return Step::Silence(Why::Spent),
    };
    if !key.is_ask(octets) {
        return Step::Silence(Why::Forged);
    }
    if wall_ms >= record.expires_ms {
        return Step::Silence(Why::Expired);
    }
    // Written by ourselves, in a record that is sealed.
    let Some(idc) = Idc::new(&record.idc) else { return Step::Silence(Why::Malformed) };
    let answer = |granted: &Granted| Reply::Answer(Box::new(key.answer(granted, idc)));
    if let Some(granted) = granted.filter(|g| g.nt == *nt) {
        return Step::Repeat(answer(granted));
    }
    if record.asked.contains(nt) {
        return Step::Silence(Why::Replaced);
    }
    if record.asked.len() >= ASKS_MAX {
        return Step::Silence(Why::TooMany);
    }
    let (mut na, mut kc) = ([0u8; 16], zeroize::Zeroizing::new([0u8; 32]));
    rng.fill(&mut na);
    rng.fill(kc.as_mut_slice());
    let granted = Granted { nt: *nt, na, kc: Key::new(*kc) };
    let reply = answer(&granted);
    let mut next = record.clone();
    next.asked.push(*nt);
    next.state = State::Answered { key: key.clone(), granted };
    Step::Answer(next, reply)
}

fn confirmed(record: &CodeRecord, wall_ms: u64, octets: &[u8]) -> Step {
    match &record.state {
        State::Issued { .. } => Step::Silence(Why::Forged),
        State::Revoked => Step::Silence(Why::Spent),
        State::Redeemed { confirm, done } => match words_equal(confirm, octets) {
            true => Step::Repeat(Reply::Done(*done)),
            false => Step::Silence(Why::Spent),
        },
        State::Answered { key, granted } => {
            let confirm = key.confirm(granted);
            if !words_equal(&confirm, octets) {
                return Step::Silence(Why::Forged);
            }
            if wall_ms >= record.expires_ms.saturating_add(GRACE_MS) {
                return Step::Silence(Why::Expired);
            }
            let done = key.done(granted);
            let next = CodeRecord { asked: Vec::new(), state: State::Redeemed { confirm, done }, ..record.clone() };
            Step::Activate(next, granted.kc.clone(), Reply::Done(done))
        }
    }
}

#[cfg(test)]
mod tests;
