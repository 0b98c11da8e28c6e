//! What fuzzing once tried stays tried: the kept seeds of the fuzz target `radius`.

#[path = "../../../dataplane/fuzz/src/seeds.rs"]
mod seeds;

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("radius", portunus_aaa::fuzz::radius) >= 4);
}
