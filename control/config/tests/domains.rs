//! Several domains and softswitches: what a file says, and every mistake with its place.

use portunus_config::{Mistakes, parse};
use std::path::Path;

const DOMAINS: &str = include_str!("../../../tuning/domains.toml");

fn mistakes(text: &str) -> Vec<String> {
    match parse("test.toml", text, Path::new("/etc/portunus")) {
        Ok(_) => Vec::new(),
        Err(Mistakes(found)) => found.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_explained_files_are_good_and_mean_what_they_say() {
    assert_eq!(mistakes(include_str!("../../../tuning/domains-other.toml")), Vec::<String>::new());
    assert_eq!(mistakes(DOMAINS), Vec::<String>::new());
    let config = parse("domains.toml", DOMAINS, Path::new("/etc/portunus")).expect("no mistake").config;
    let (proxy, softswitch) = (config.proxy.expect("a proxy"), config.softswitch.expect("a softswitch"));
    assert_eq!(proxy.named_realms(), ["example.test", "other.test", "other.test"]);
    let route = &proxy.core.routes[0];
    assert_eq!((route.realm.as_deref(), route.prefix.as_deref()), (Some("other.test"), None));
    assert_eq!(proxy.core.peers(portunus_config::model::ListenProtocol::Sip).len(), 2);
    assert_eq!(softswitch.neighbours[0].domains, ["other.test"]);
    let realms: Vec<_> = softswitch.aaa.servers.iter().map(|s| s.realms.clone()).collect();
    assert_eq!(realms, [["example.test"], ["other.test"]], "RADIUS servers have realms as Diameter's have");
}

#[test]
fn mistakes_say_where_they_are() {
    for (from, to, expected) in [
        (
            "weights = [1]",
            "weights = [1, 2]",
            "proxy.core.weights: 2 weights for 1 softswitches; write one a softswitch",
        ),
        ("weights = [1]", "weights = [0]", "proxy.core.weights: a weight is 1 to 1000"),
        (
            "softswitches = [\"127.0.0.1:5070\"]",
            "softswitches = [\"127.0.0.1:5070\", \"127.0.0.1:5070\"]",
            "proxy.core.softswitches: 127.0.0.1:5070 is there already",
        ),
        ("realm = \"other.test\"\nsoftswitches", "softswitches", "proxy.core.route[0]: a route for everybody"),
        (
            "realm = \"other.test\"\nsoftswitches = [\"127.0.0.1:5170\"]",
            "realm = \"other.test\"",
            "proxy.core.route[0]: a route that leads nowhere",
        ),
        (
            "realm = \"other.test\"\nsoftswitches",
            "prefix = \"+49\"\nsoftswitches",
            "proxy.core.route[0].prefix: the `+` of a number does not count",
        ),
        ("silent_after = \"1200ms\"", "silent_after = \"1ms\"", "proxy.core.silent_after: "),
        (
            "address = \"127.0.0.1:5170\"\ndomains = [\"other.test\"]",
            "address = \"127.0.0.1:5170\"\ndomains = []",
            "softswitch.neighbour[0].domains: no domain",
        ),
        (
            "address = \"127.0.0.1:5170\"\ndomains",
            "address = \"127.0.0.1:5070\"\ndomains",
            "softswitch.neighbour[0].address: 127.0.0.1:5070 is the softswitch's own",
        ),
        ("realms = [\"other.test\"]\n\n[proxy.key]", "realms = [\"other test\"]\n\n[proxy.key]", "proxy.realms"),
    ] {
        assert!(DOMAINS.contains(from), "{from}");
        let found = mistakes(&DOMAINS.replacen(from, to, 1));
        assert!(found.iter().any(|m| m.contains(expected)), "{to}: {found:?}");
    }
}

const GUESTS: &str = r#"
[auc]
realms = ["a.test"]
[[auc.listen]]
transport = "radsec"
address = "127.0.0.1:2083"
certificate = "auc.pem"
key = "auc.key"
ca = "ca.pem"
[[auc.partner]]
client = "auc.b.test"
device = "auc.b.test"
[[auc.foreign]]
realms = ["b.test"]
identity = "auc.a.test"
certificate = "auc.pem"
key = "auc.key"
ca = "ca.pem"
[auc.foreign.shared_key]
file = "between.key"
[[auc.foreign.server]]
address = "192.0.2.20:2083"
name = "auc.b.test"
"#;

#[test]
fn centres_know_each_other() {
    assert_eq!(mistakes(GUESTS), Vec::<String>::new());
    let auc = parse("auc.toml", GUESTS, Path::new("/etc/portunus")).expect("no mistake").config.auc.expect("an AuC");
    assert_eq!(
        (auc.foreign[0].realms.as_slice(), auc.foreign[0].identity.as_str()),
        (&["b.test".to_owned()][..], "auc.a.test")
    );
    assert_eq!(auc.partners[0].client, "auc.b.test");
    for (from, to, expected) in [
        ("[auc.foreign.shared_key]\nfile = \"between.key\"\n", "", "auc.foreign[0]: no key shared with it"),
        ("realms = [\"b.test\"]", "realms = []", "auc.foreign[0].realms: no realm"),
        (
            "[[auc.foreign.server]]\naddress = \"192.0.2.20:2083\"\nname = \"auc.b.test\"\n",
            "",
            "auc.foreign[0]: no AuC",
        ),
        ("device = \"auc.b.test\"", "", "auc.partner[0].device: missing"),
    ] {
        assert!(GUESTS.contains(from), "{from}");
        let found = mistakes(&GUESTS.replacen(from, to, 1));
        assert!(found.iter().any(|m| m.contains(expected)), "{to}: {found:?}");
    }
}
