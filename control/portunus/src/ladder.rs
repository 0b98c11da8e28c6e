//! The ladder s1 to s11 in words: who told whom what, and when.

use portunus_signalling::Protocol;
use portunus_terminal::{Step, words};
use serde::Serialize;
use std::time::Duration;

/// One rung.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rung {
    /// The step's name: s1 to s11, or what comes beside them.
    pub step: &'static str,
    /// Microseconds since the terminal's start; absent for a step that was not watched.
    pub at_us: Option<u64>,
    /// Who speaks.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The message, in its protocol's own words; empty for a protected one.
    pub message: &'static str,
    /// What it carries.
    pub carries: &'static str,
}

/// A step with its time and words.
fn rung(step: &'static str, at: Option<Duration>, protocol: Protocol) -> Rung {
    let words = words::words(step);
    let (parties, carries) = words.split_once(": ").unwrap_or(("", words));
    let (from, to) = parties.split_once(" -> ").unwrap_or((parties, ""));
    let at_us = at.map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX));
    Rung { step, at_us, from: from.into(), to: to.into(), message: words::message(step, protocol), carries }
}

/// Joins what the terminal saw with what went on behind the proxy. `watched` has the times of the latter, by name,
/// since the terminal's start; without them these steps stand where they belong, without a time.
pub fn ladder(protocol: Protocol, seen: &[(Step, Duration)], watched: &[(&'static str, Duration)]) -> Vec<Rung> {
    let mut all = Vec::new();
    for (n, (step, at)) in seen.iter().enumerate() {
        all.push(rung(step.name(), Some(*at), protocol));
        let next = seen.iter().skip(n + 1).map(|(s, _)| *s).find(|s| *s != Step::Again);
        for name in behind(*step, next) {
            // A step that happened twice was watched once.
            let at = watched.iter().find(|(known, _)| known == name).map(|(_, at)| *at);
            let again = all.iter().any(|r: &Rung| r.step == *name);
            all.push(rung(name, at.filter(|_| !again), protocol));
        }
    }
    // In the order of time where it is known; a step without a time stays after its predecessor.
    let mut last = 0;
    let mut keyed: Vec<(u64, Rung)> = all
        .into_iter()
        .map(|r| {
            last = r.at_us.unwrap_or(last);
            (last, r)
        })
        .collect();
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(_, r)| r).collect()
}

/// The steps behind the proxy that must have followed `step`, as what the terminal saw next tells.
const fn behind(step: Step, next: Option<Step>) -> &'static [&'static str] {
    match (step, next) {
        (Step::S1, Some(Step::S6)) => &["s2", "s3", "s4", "s5"],
        (Step::S7, Some(Step::S10)) => &["s8", "s9", "s11"],
        // The word was wrong: a new challenge.
        (Step::S7, Some(Step::S6)) => &["s8", "s3", "s4", "s5"],
        _ => &[],
    }
}

/// The column at which what a step carries begins in [`lines`]; longer text goes on there.
pub const INDENT: usize = 46;

/// The ladder as lines.
pub fn lines(rungs: &[Rung]) -> Vec<String> {
    let line = |r: &Rung| {
        let at = r.at_us.map_or_else(String::new, |us| format!("{us} us"));
        let colon = if r.message.is_empty() { "" } else { ": " };
        format!("{at:>10} {:<9} {:>10} -> {:<10} {}{colon}{}", r.step, r.from, r.to, r.message, r.carries)
    };
    rungs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_eleven_steps_in_their_order() {
        let ms = Duration::from_millis;
        let seen = [
            (Step::S1, ms(0)),
            (Step::S6, ms(5)),
            (Step::S7, ms(6)),
            (Step::S10, ms(9)),
            (Step::Confirm, ms(9)),
            (Step::Confirmed, ms(11)),
        ];
        let watched =
            [("s2", ms(1)), ("s3", ms(2)), ("s4", ms(3)), ("s5", ms(4)), ("s8", ms(7)), ("s9", ms(8)), ("s11", ms(8))];
        let rungs = ladder(Protocol::Mgcp, &seen, &watched);
        let steps: Vec<_> = rungs.iter().map(|r| r.step).collect();
        let all = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s11", "s10", "confirm", "confirmed"];
        assert_eq!(steps, all);
        assert!(rungs.iter().all(|r| !r.from.is_empty() && !r.to.is_empty() && r.at_us.is_some()));
        assert_eq!(ladder(Protocol::Mgcp, &seen, &[]).len(), all.len());
        for (line, rung) in lines(&rungs).iter().zip(&rungs) {
            let text = line.get(INDENT..).expect("text begins where it is said to");
            assert!(text.starts_with(rung.message) && text.ends_with(rung.carries), "{text}");
        }
        assert_eq!((rungs[0].message, rungs[5].message), ("RSIP", "RQNT x-pkd/chal"));
    }

    #[test]
    fn a_wrong_word_is_challenged_again_and_not_keyed() {
        let ms = Duration::from_millis;
        let seen = [(Step::S1, ms(0)), (Step::S6, ms(2)), (Step::S7, ms(3)), (Step::S6, ms(5)), (Step::S7, ms(6))];
        let steps: Vec<_> = ladder(Protocol::Sip, &seen, &[]).iter().map(|r| r.step).collect();
        assert_eq!(steps, ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s3", "s4", "s5", "s6", "s7"]);
    }

    #[test]
    fn a_refused_clock_goes_nowhere() {
        let seen = [(Step::S1, Duration::ZERO), (Step::Stale, Duration::from_millis(1))];
        assert_eq!(ladder(Protocol::Sip, &seen, &[]).len(), 2);
    }
}
