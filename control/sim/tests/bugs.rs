//! The simulator is worth what it finds: bugs planted one at a time (`portunus_keydist::bugs`), each of which it must
//! find, and say what rule is broken.

use portunus_keydist::bugs::{Bug, wake};
use portunus_signalling::Protocol;
use portunus_sim::scenario::Scenario;
use portunus_sim::{replay_scenario, run_scenario};

/// Runs in which a bug must show at the latest.
const RUNS: u64 = 1_000;

/// What the model says of a bug that it found: one of these.
fn words(bug: Bug) -> &'static [&'static str] {
    match bug {
        Bug::PrefixCompared => {
            &["gets a key for an answer that the terminal with its Kc never gave", "although it never answered"]
        }
        Bug::ListUnchecked => &["echoes another list than its own"],
        Bug::MacUnchecked => &["accepted an s10 that no proxy made"],
        Bug::AddressUnbound => &["from another address than it was sent to"],
        Bug::UseUnmarked => {
            &["was accepted twice", "a challenge served twice", "one s7 got two keys", "share a vector"]
        }
        Bug::ChallengeEternal => &["after its time"],
        Bug::Unconfirmed => &["active before its terminal confirmed"],
        Bug::SourcelessCache => &["was sent to another", "went to another address"],
        Bug::SequenceRepeats | Bug::SequenceRestarts => &["used a nonce of a key twice"],
        Bug::MovedUnconfirmed => &["a registration that nobody confirmed moved"],
        // Of one proxy, or between two: then the AuC made it for the other.
        Bug::VectorShared => &["share a vector", "that the AuC did not make for it"],
        Bug::KeyPrinted => &["is visible in"],
        Bug::LaneShared => &["share a lane"],
        Bug::MacMisplaced => &["sends what is not Mgcp"],
        Bug::NameUnbound => &["is named on the lane of"],
        Bug::PlainAccepted => &["was accepted and passed to the core"],
        Bug::WindowShort => &["had an effect", "obeyed what is no fresh datagram"],
        Bug::MovedUnverified => &["and is sent something to"],
        Bug::WeakestChosen => &["is the strongest of", "is the strongest agreed"],
        Bug::ClearWithoutConnection => &["in the clear where connections of tls belong"],
    }
}

/// The worlds in which a bug must be found: those of all protocols, and those of the protocols with lanes alone.
fn worlds(bug: Bug) -> Vec<fn(u64) -> Scenario> {
    let lanes: fn(u64) -> Scenario = |seed| Scenario::draw_from(seed, &[Protocol::Mgcp, Protocol::H248, Protocol::Ras]);
    let sip: fn(u64) -> Scenario = |seed| Scenario::draw_from(seed, &[Protocol::Sip]);
    match bug {
        // A Contact waits otherwise than a lane does.
        Bug::MovedUnconfirmed => vec![Scenario::draw, lanes, sip],
        _ => vec![Scenario::draw, lanes],
    }
}

#[test]
fn every_planted_bug_is_found_and_named() {
    for (bug, draw) in Bug::ALL.into_iter().flat_map(|bug| worlds(bug).into_iter().map(move |draw| (bug, draw))) {
        wake(Some(bug));
        let found = (0..RUNS).find_map(|seed| run_scenario(draw(seed)).err());
        let Some(failure) = found else { panic!("{bug:?} was not found in {RUNS} runs") };
        let named = words(bug).iter().any(|w| failure.what.contains(w));
        assert!(named, "{bug:?} was found as something else: {failure}");
        // The number alone brings it back, with a picture; without the bug the same run is a good one.
        let (again, picture) = replay_scenario(draw(failure.seed), 40);
        assert_eq!(again, Err(failure.clone()));
        assert!(picture.lines().count() > 5);
        wake(None);
        assert!(run_scenario(draw(failure.seed)).is_ok());
        println!("{bug:?}: seed {}: {}", failure.seed, failure.what);
    }
}
