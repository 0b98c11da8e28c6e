//! What an independent reader says of every message: tshark must call each MGCP and have nothing to remark.

mod common;

use common::{Sent, Shown, World, everything};

fn clean(name: &str, sent: &[Sent]) {
    // The lanes are ports like any other: which protocol they carry has to be said.
    let lanes = ["-d", "udp.port==30001,mgcp"];
    let place = (env!("CARGO_TARGET_TMPDIR"), name);
    let (shown, _) = Shown::clean(place, sent, |_| false, ("mgcp", &["mgcp.transid"], &lanes));
    // The extension and the package are seen as what they are.
    let parameters = shown.tshark(&["-Y", "mgcp.param.extension || mgcp.param.signalreq", "-V"]);
    assert!(parameters.contains("X-PKD: v=1;idsp=") && parameters.contains("x-pkd/chal("), "{name}: {parameters}");
}

#[test]
fn every_message_over_ipv4() {
    clean("mgcp-udp4", &everything(&World::v4()));
}

#[test]
fn every_message_over_ipv6() {
    clean("mgcp-udp6", &everything(&World::v6()));
}
