//! What fuzzing once tried stays tried: the kept seeds of the fuzz target `config`.

#[path = "../../../dataplane/fuzz/src/seeds.rs"]
mod seeds;

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("config", |octets| _ = portunus_config::fuzz(octets)) >= 4);
}
