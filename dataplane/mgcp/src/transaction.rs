//! The rules of transactions over UDP (RFC 3435 sections 3.5 and 4.4), for both ends: when commands are repeated, how
//! long answers are kept, and what confirms them. The proxy keeps no transactions, so it needs none of this.
//!
//! ```text
//!   command ──► repeated after 0.5, 1, 2, 4, 4 … s ──► final answer: over
//!                 │                                └──► 20 s (T-MAX): given up
//!                 └─ 1xx: not repeated any more, the answer is awaited LONGTRAN longer; a final answer that then comes
//!                    with an empty `K` is confirmed by `000`
//!   answer  ──► kept T-HIST for repetitions, or until `K` or `000` confirms it
//! ```

use crate::code::{self, Code};
use crate::view::{Message, Name, TRANSACTION_MAX};
use portunus_codec::parse_u32;
use portunus_keydist::timing::Repeat;

/// When a command is repeated and given up (RFC 3435 section 3.5.1: T-MAX is 20 s).
pub const REPEAT: Repeat = Repeat { gaps_ms: &[500, 1000, 2000, 4000], give_up_ms: 20_000 };

/// How long an answer is kept for repetitions of its command, in milliseconds: T-HIST, 30 s.
pub const HISTORY_MS: u64 = 30_000;

/// How much longer an answer is awaited behind a provisional one, in milliseconds: LONGTRAN-TIMER, 5 s, in which whoever
/// executes the command says again that it does, and as much for that to get lost.
pub const LONG_MS: u32 = 10_000;

/// What a response is to who sent the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// Provisional: wait.
    Pending,
    /// Final.
    Final {
        /// Its code.
        code: Code,
        /// True when it asks to be confirmed by `000` (an empty `K`).
        confirm: bool,
    },
    /// `000`: the other side has this side's final answer.
    Confirmed,
}

/// Reads a response; `None` for a command.
pub fn response(msg: &Message<'_>) -> Option<Response> {
    Some(match msg.code()? {
        code::ACKNOWLEDGED => Response::Confirmed,
        100..=199 => Response::Pending,
        code => Response::Final { code, confirm: msg.value(Name::ResponseAck).is_some_and(<[u8]>::is_empty) },
    })
}

/// Most ranges of a `K` line that are looked at.
pub const CONFIRMED_MAX: usize = 32;

/// The transactions that a command's `K` confirms: ranges `first, last`, both included, `first <= last`. What is none is
/// passed over.
pub fn confirmed<'m>(msg: &Message<'m>) -> impl Iterator<Item = (u32, u32)> + use<'m> {
    let list = msg.value(Name::ResponseAck).filter(|_| msg.command().is_some()).unwrap_or_default();
    list.split(|c| *c == b',').take(CONFIRMED_MAX).filter_map(|range| {
        let mut sides = range.trim_ascii().splitn(2, |c| *c == b'-').map(transaction);
        let first = sides.next()??;
        let last = sides.next().unwrap_or(Some(first))?;
        (first <= last).then_some((first, last))
    })
}

fn transaction(text: &[u8]) -> Option<u32> {
    parse_u32(text).filter(|t| (1..=TRANSACTION_MAX).contains(t))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Message<'_> {
        Message::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn responses() {
        assert_eq!(response(&read("100 1 Wait\r\n")), Some(Response::Pending));
        assert_eq!(response(&read("200 1 OK\r\n")), Some(Response::Final { code: 200, confirm: false }));
        assert_eq!(response(&read("200 1 OK\r\nK:\r\n")), Some(Response::Final { code: 200, confirm: true }));
        assert_eq!(response(&read("000 1\r\n")), Some(Response::Confirmed));
        assert_eq!(response(&read("AUEP 1 *@gw MGCP 1.0\r\n")), None);
    }

    #[test]
    fn confirmations() {
        let msg = read("AUEP 1 *@gw MGCP 1.0\r\nK: 6234-6255, 6257, x, 9-8, 0, 19030-19044\r\n");
        assert_eq!(confirmed(&msg).collect::<Vec<_>>(), [(6234, 6255), (6257, 6257), (19030, 19044)]);
        assert_eq!(confirmed(&read("200 1 OK\r\nK: 5\r\n")).count(), 0);
    }

    #[test]
    fn a_command_lives_for_t_max() {
        use portunus_keydist::Now;
        use portunus_keydist::timing::{Due, Repeating};
        let at = |mono_ms| Now { mono_ms, wall_ms: 0 };
        let (mut sent, mut now) = (Repeating::begin(REPEAT, at(0)), 0);
        let mut times = vec![];
        while sent.poll(at(now)) != Some(Due::GiveUp) {
            now = sent.deadline().0;
            times.push(now);
        }
        assert_eq!(times, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 20_000]);
    }
}
