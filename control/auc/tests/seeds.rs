//! What fuzzing once tried stays tried: the kept seeds of the fuzz target `activation`.

#[path = "../../../dataplane/fuzz/src/seeds.rs"]
mod seeds;

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("activation", portunus_auc::activation::fuzz::activation) >= 6);
}
