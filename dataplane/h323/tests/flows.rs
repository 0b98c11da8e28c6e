//! The registration s1 to s10 through every writer and reader, with the real key schedule; and what the steps must and
//! must not carry.

mod common;

use common::*;

#[test]
fn dump() {
    let mut out = String::new();
    for w in [World::v4(), World::v6(), World::digits()] {
        for s in everything(&w) {
            out += &format!(
                "{} {}\n",
                s.name.replace(' ', "_"),
                s.octets.iter().map(|o| format!("{o:02x}")).collect::<String>()
            );
        }
    }
    std::fs::write("/tmp/ras.dump", out).unwrap();
}
