//! The steps in words, each with its protocol's own message.

use crate::event::Step;
use portunus_signalling::Protocol;

/// The steps that a terminal cannot see: name, and between which seen steps.
pub const BEHIND_THE_PROXY: [(&str, Step); 7] = [
    ("s2", Step::S1),
    ("s3", Step::S1),
    ("s4", Step::S1),
    ("s5", Step::S1),
    ("s8", Step::S7),
    ("s9", Step::S7),
    ("s11", Step::S7),
];

/// The message that carries a step, by its name (`s1` to `s11`, or as [`Step::name`] has it), in a protocol's own
/// words; empty for what is not a message of the protocol.
pub fn message(step: &str, protocol: Protocol) -> &'static str {
    let of = |all: [&'static str; 4]| {
        let [sip, mgcp, h248, ras] = all;
        match protocol {
            Protocol::Sip => sip,
            Protocol::Mgcp => mgcp,
            Protocol::H248 => h248,
            Protocol::Ras => ras,
        }
    };
    match step {
        "s1" | "s2" => of(["REGISTER", "RSIP", "ServiceChange", "GRQ"]),
        "s5" | "s6" => of(["401", "RQNT x-pkd/chal", "Modify portunus/chal", "GRJ"]),
        "cookie" => of(["401", "RQNT x-pkd/cookie", "Modify portunus/cookie", "GRJ"]),
        "stale" => of(["401", "RQNT x-pkd/fail", "Modify portunus/fail", "GRJ or RRJ"]),
        "s7" | "s8" => of(["REGISTER", "NTFY x-pkd/resp", "Notify portunus/resp", "RRQ"]),
        "s9" | "s10" => of(["200", "RQNT x-pkd/key", "Modify portunus/key", "RCF"]),
        "s3" => "Access-Request",
        "s4" => "Access-Challenge",
        "s11" => "Accounting-Request",
        _ => "",
    }
}

/// Who tells whom what, as `from -> to: what`, without the message.
pub fn words(step: &str) -> &'static str {
    match step {
        "s1" => "terminal -> proxy: IDc, IDsp, N1a and the time; nothing secret",
        "s2" => "proxy -> softswitch: the same, from an address of the proxy's",
        "s3" => "softswitch -> AuC: who registers, through whom, with which N1a",
        "s4" => "AuC -> softswitch: Rand, the first word, the session key wrapped twice",
        "s5" => "softswitch -> proxy: a challenge with Rand",
        "cookie" => "proxy -> terminal: say that again with this cookie, so that I know the address is yours",
        "stale" => "proxy -> terminal: your clock is off, this is mine",
        "s6" => "proxy -> terminal: the challenge Rand, N2a, and which mechanisms can you use?",
        "s7" => "terminal -> proxy: the verification word over Rand, and the mechanisms by priority",
        "s8" => "proxy -> softswitch: the second word and the terminal's address, without the list",
        "s9" => "softswitch -> proxy: the words are equal; both wraps",
        "s10" => "proxy -> terminal: the wrapped session key, the choice, the list echoed, all under a MAC",
        "s11" => "softswitch -> AuC: authenticated, and where it registered",
        "confirm" => "terminal -> proxy: the first protected message, so the key works this way",
        "confirmed" => "proxy -> terminal: a protected answer, so the key works both ways; the session is active",
        "again" => "terminal -> proxy: the same once more, no answer came in time",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_words_and_its_protocols_own_message() {
        let seen = [
            Step::S1,
            Step::Cookie,
            Step::Stale,
            Step::S6,
            Step::S7,
            Step::S10,
            Step::Confirm,
            Step::Confirmed,
            Step::Again,
        ];
        for step in seen.map(Step::name).into_iter().chain(BEHIND_THE_PROXY.map(|(name, _)| name)) {
            let (parties, what) = words(step).split_once(": ").expect("who and what");
            assert!(parties.contains(" -> ") && !what.is_empty(), "{step}");
            let protected = ["confirm", "confirmed", "again"].contains(&step);
            for protocol in [Protocol::Sip, Protocol::Mgcp, Protocol::H248, Protocol::Ras] {
                assert_eq!(message(step, protocol).is_empty(), protected, "{step} in {protocol:?}");
            }
        }
        assert_eq!((message("s1", Protocol::Ras), message("s10", Protocol::Ras)), ("GRQ", "RCF"));
    }
}
