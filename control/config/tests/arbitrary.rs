//! Whatever the octets, reading ends, and every mistake has a place that exists.

use proptest::prelude::*;

const LAB: &str = include_str!("../../../tuning/lab.toml");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn octets(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        portunus_config::fuzz(&bytes);
    }

    #[test]
    fn damaged_files(at in 0..LAB.len(), with in ".{0,8}", drop in 0..40usize) {
        let (mut from, mut to) = (at, (at + drop).min(LAB.len()));
        while !LAB.is_char_boundary(from) { from -= 1; }
        while !LAB.is_char_boundary(to) { to += 1; }
        let text = format!("{}{with}{}", &LAB[..from], &LAB[to..]);
        portunus_config::fuzz(text.as_bytes());
    }
}
