//! What fuzzing once tried stays tried: the kept seeds of the fuzz targets `radius` and `diameter`.

#[path = "../../../dataplane/fuzz/src/seeds.rs"]
mod seeds;

#[test]
fn kept_seeds_hold() {
    assert!(seeds::replay("radius", portunus_aaa::fuzz::radius) >= 4);
}

#[test]
fn kept_seeds_of_diameter_hold() {
    assert!(seeds::replay("diameter", portunus_aaa::fuzz::diameter) >= 6);
}
