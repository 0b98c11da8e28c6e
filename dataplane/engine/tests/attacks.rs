//! Whatever is sent, in whatever order: nothing panics, nobody gets in who should not, memory stays within its limits.
//! The same scripts are fuzzed (`dataplane/fuzz`); its kept seeds are replayed here.
mod common;

use common::script::{Deed, deeds, play};
use proptest::prelude::*;

fn deed() -> impl Strategy<Value = Deed> {
    let flip = || prop::option::of(any::<usize>());
    prop_oneof![
        4 => Just(Deed::Step),
        4 => (any::<usize>(), 0u8..4, flip(), any::<bool>())
            .prop_map(|(which, from, flip, cut)| Deed::Again { which, from, flip, cut }),
        2 => (any::<usize>(), flip()).prop_map(|(which, flip)| Deed::Core { which, flip }),
        1 => (prop::collection::vec(any::<u8>(), 0..300), 0u8..6)
            .prop_map(|(octets, listener)| Deed::Noise { octets, listener }),
        1 => (0u64..6_000).prop_map(Deed::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_honest_terminal_alone_gets_a_session(deeds in prop::collection::vec(deed(), 1..60)) {
        play(&deeds);
    }
}

#[test]
fn undisturbed_it_registers() {
    let count = play(&deeds(&[0; 12]));
    assert_eq!((count.sessions_active, count.sealed_confirmations), (1, 10));
}

#[test]
fn kept_seeds_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/engine");
    let mut confirmed = 0;
    let mut files = 0;
    for file in std::fs::read_dir(folder).expect("the folder of kept seeds") {
        let path = file.expect("a file").path();
        println!("seed {}", path.display());
        confirmed += play(&deeds(&std::fs::read(&path).expect("readable"))).sessions_confirmed;
        files += 1;
    }
    assert!(files >= 4 && confirmed > 0, "{files} seeds, {confirmed} sessions confirmed");
}
