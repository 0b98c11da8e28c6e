//! Policies with a name, the terms of all of them, and the border: read, inherited, and what is wrong with them.

use portunus_config::model::{Mechanism, Terms};
use portunus_config::{Loaded, Mistakes, Size, difference, parse};
use std::path::Path;

const LAB: &str = include_str!("../../../tuning/lab.toml");
const PLACE: &str = "[proxy.policy]\n";

/// The laboratory's file with other policies: `named` in the place of its own sections, `base` added to its rules.
fn lab(named: &str, base: &str) -> Result<Loaded, Vec<String>> {
    let text = LAB.replacen(PLACE, &format!("{named}\n{PLACE}{base}\n"), 1);
    assert_ne!(text, LAB);
    parse("lab.toml", &text, Path::new("/etc"))
        .map_err(|Mistakes(found)| found.iter().map(ToString::to_string).collect())
}

fn good(named: &str, base: &str) -> Loaded {
    lab(named, base).unwrap_or_else(|found| panic!("{found:?}"))
}

fn at_listener(name: &str) -> String {
    let listener = "[[proxy.listener]]\nprotocol = \"sip\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:5070\"\n";
    format!("{listener}policy = \"{name}\"\n")
}

#[test]
fn what_a_policy_does_not_say_is_as_in_the_access_sides_own() {
    let named = "[[policy]]\nname = \"gold\"\nfloor = \"ipsec-man\"\nrate = 50\nterminals = [\"gw*\", \"a@b\"]\n\
        [[policy]]\nname = \"old\"\nmechanisms = [\"x-pkd-sealed\"]\nplain = false\ndigest = false\nmessage = \"1KiB\"\n";
    let loaded = good(&format!("{named}{}", at_listener("old")), "floor = \"ipsec-man\"\nburst = 7\n");
    let edge = loaded.config.proxy.expect("a proxy").edge;
    let base = Terms { floor: Some(Mechanism::Ipsec), plain: true, digest: true, rate: 200, burst: 7, message: None };
    assert_eq!(edge.policy.terms, base);
    let (mechanisms, gold) = edge.policies[0].at(&edge);
    assert_eq!((mechanisms.len(), gold), (3, Terms { rate: 50, ..base }));
    assert_eq!(edge.policies[0].terminals, ["gw*", "a@b"]);
    let (mechanisms, old) = edge.policies[1].at(&edge);
    let wanted = Terms { floor: None, plain: false, digest: false, message: Some(Size(1024)), ..base };
    assert_eq!((&mechanisms[..], old), (&[Mechanism::Sealed][..], wanted), "the floor is not one of its own list");
    assert_eq!(edge.listeners.iter().map(|l| edge.policy_of(l)).sum::<usize>(), 2);
}

#[test]
fn the_border_hides_and_strips_unless_told_otherwise() {
    let edge = good("", "").config.proxy.expect("a proxy").edge;
    assert!(edge.border.hide && edge.border.strip_up.iter().any(|n| n == "X-PKD-*"));
    assert!(edge.border.strip_down.iter().any(|n| n == "Server"));
    let told = "[proxy.border]\nhide = false\nstrip_up = []\nstrip_down = [\"X-Core-*\"]\n";
    let border = good(told, "").config.proxy.expect("a proxy").edge.border;
    assert!(!border.hide && border.strip_up.is_empty() && border.strip_down == ["X-Core-*"]);
}

/// What the explained files say to be the default is.
#[test]
fn the_explained_files_say_the_defaults() {
    let edge = good("", "").config.proxy.expect("a proxy").edge;
    for text in [
        include_str!("../../../tuning/edge-2core.toml"),
        include_str!("../../../tuning/edge-16core.toml"),
        include_str!("../../../tuning/edge-64core.toml"),
    ] {
        let explained =
            parse("edge.toml", text, Path::new("/etc")).expect("no mistake").config.proxy.expect("a proxy").edge;
        assert_eq!(explained.border, edge.border);
        let message = Some(explained.capacity.message);
        assert_eq!(explained.policy.terms, Terms { message, ..edge.policy.terms });
        // With the comments taken off what is only shown.
        let shown = ["[[policy]]", "name = ", "terminals = ", "policy = ", "floor = ", "mechanisms = "];
        let line = |l: &str| match l.strip_prefix("# ").filter(|l| shown.iter().any(|s| l.starts_with(s))) {
            Some(bare) => format!("{bare}\n"),
            None => format!("{l}\n"),
        };
        let whole: String = text.lines().map(line).collect();
        let whole = parse("edge.toml", &whole, Path::new("/etc")).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(whole.config.proxy.expect("a proxy").edge.policies.len(), 1);
    }
}

#[test]
fn every_mistake_says_what_to_write() {
    let of = |name: &str, lines: &str| format!("[[policy]]\nname = \"{name}\"\n{lines}");
    let own = "terminals = [\"a*\"]\n";
    for (named, base, says) in [
        (at_listener("gold"), "", "proxy.listener[6].policy: there is no policy \"gold\"; add [[policy]] with"),
        (of("gold", own) + &at_listener("golf"), "", "there is no policy \"golf\"; did you mean \"gold\"?"),
        (of("gold", ""), "", "policy[0].name: nobody has this policy; add `terminals`, or name it at a listener"),
        (of("go ld", own), "", "policy[0].name: not a name; write 1 to 32 letters"),
        (of("g", own) + &of("g", "terminals = [\"b\"]\n"), "", "policy[1].name: there is a policy \"g\" already"),
        (of("g", own) + &of("h", own), "", "policy[1].terminals: \"a*\" has the policy \"g\" already"),
        (of("g", "terminals = [\"a*b*\"]\n"), "", "\"a*b*\" is no identity, nor a pattern of them"),
        (
            of("g", "mechanisms = [\"x-pkd-sealed\"]\nfloor = \"tls\"\n") + own,
            "",
            "policy[0].floor: tls is not among the mechanisms of this policy; write one of \"x-pkd-sealed\"",
        ),
        (of("g", "rate = 1001\n") + own, "", "policy[0].rate: 1001 is out of range; write 0 to 1000"),
        (of("g", "burst = 0\n") + own, "", "policy[0].burst: 0 is out of range"),
        (of("g", "plain = false\n") + own, "", "policy[0].plain: stock phones would register, and nothing"),
        (of("g", "message = \"8KiB\"\n") + own, "", "policy[0].message: longer than proxy.capacity.message"),
        (String::new(), "plain = false", "proxy.policy.plain: stock phones would register"),
        (String::new(), "message = \"1MiB\"", "proxy.policy.message: 1MiB is out of range"),
        ("[proxy.border]\nstrip_up = [\"C*\"]\n".into(), "", "proxy.border.strip_up: no message goes without"),
        ("[proxy.border]\nstrip_down = [\"via\"]\n".into(), "", "no message goes without Via; leave it out"),
        ("[proxy.border]\nstrip_down = [\"a b\"]\n".into(), "", "\"a b\" is not the name of a header field"),
        ("[proxy.border]\nhid = true\n".into(), "", "proxy.border.hid: unknown key; did you mean `hide`?"),
    ] {
        let found = lab(&named, base).expect_err(&named);
        assert!(found.iter().any(|m| m.contains(says)), "{says}\n{found:#?}");
        assert_eq!(found.len(), 1, "{found:#?}");
    }
    let no_place = LAB.replace("[proxy.ipsec]\naddress = \"127.0.0.1:4500\"\n", "").replace("\"ipsec-man\", ", "");
    let named = of("g", "mechanisms = [\"ipsec-man\"]\n") + own;
    let Err(Mistakes(found)) = parse("f", &no_place.replace(PLACE, &(named + PLACE)), Path::new("/")) else {
        panic!("no mistake")
    };
    assert!(found[0].to_string().contains("policy[0].mechanisms: no place for ipsec-man at proxy; add [proxy.ipsec]"));
}

#[test]
fn policies_come_go_and_change_without_a_restart() {
    let own = "[[policy]]\nname = \"gold\"\nrate = 5\nterminals = [\"a*\"]\n";
    let (without, with) = (good("", ""), good(own, ""));
    for (running, new) in [(&without, &with), (&with, &without)] {
        let d = difference(running, new);
        assert!(d.live().count() >= 3 && d.restart().next().is_none(), "{d:?}");
    }
    let d = difference(&with, &good(&own.replace('5', "6"), "floor = \"tls\"\nrate = 3\n"));
    let live: Vec<_> = d.live().map(ToString::to_string).collect();
    assert!(live.contains(&"policy[0].rate: 5 -> 6: applied".to_owned()), "{live:?}");
    assert!(live.contains(&"proxy.policy.rate: 200 -> 3: applied".to_owned()));
    // A listener's policy, but no listener.
    let (tcp, named) = (at_listener("gold"), good(&(own.to_owned() + &at_listener("gold")), ""));
    let bare = good(&(own.to_owned() + &tcp.replace("policy = \"gold\"\n", "")), "");
    let d = difference(&bare, &named);
    assert_eq!(d.live().map(|c| c.key.as_str()).collect::<Vec<_>>(), ["proxy.listener[6].policy"]);
    assert!(difference(&with, &named).restart().any(|c| c.key == "proxy.listener[6].policy"));
}
