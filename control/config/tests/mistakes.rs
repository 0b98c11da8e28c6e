//! Every mistake of a file is found at once, with its place and what to write instead.

use portunus_config::{Mistakes, parse};
use std::path::Path;

const LAB: &str = include_str!("../../../tuning/lab.toml");

fn mistakes(text: &str) -> Vec<String> {
    match parse("test.toml", text, Path::new("/etc/portunus")) {
        Ok(_) => Vec::new(),
        Err(Mistakes(found)) => found.iter().map(ToString::to_string).collect(),
    }
}

/// The laboratory's file with one text replaced by another.
fn lab_with(from: &str, to: &str) -> Vec<String> {
    assert!(LAB.contains(from), "{from}");
    mistakes(&LAB.replacen(from, to, 1))
}

#[test]
fn the_laboratory_has_none() {
    assert_eq!(mistakes(LAB), Vec::<String>::new());
}

#[test]
fn nor_has_the_border_of_somebody_elses_core() {
    let text = include_str!("../../../tuning/behind.toml");
    assert_eq!(mistakes(text), Vec::<String>::new());
    let config = parse("behind.toml", text, Path::new("/etc/portunus")).expect("no mistake").config;
    let softswitch = config.softswitch.expect("a softswitch");
    assert_eq!(softswitch.registrars.iter().map(|r| r.weight).collect::<Vec<_>>(), [2, 1]);
    let [registrars, call_agents, controllers] =
        [&softswitch.registrars, &softswitch.call_agents, &softswitch.controllers].map(Vec::len);
    assert_eq!((registrars, call_agents, controllers), (2, 1, 2));
    assert!(softswitch.direct.is_some());
}

#[test]
fn diameter_has_peers_with_names_and_no_secrets() {
    const SOFTSWITCH: &str = "[softswitch.aaa]\ntransport = \"diameter-tcp\"";
    const DIAMETER: &str = include_str!("../../../tuning/diameter.toml");
    assert_eq!(mistakes(DIAMETER), Vec::<String>::new());
    for (from, to, expected) in [
        ("window = 4096", "lanes = 2", "softswitch.aaa.lanes: Diameter has one connection to a peer; remove"),
        ("[\"127.0.0.1\"]", "[]", "auc.listen[0].clients: nobody may connect here; write"),
        ("clients = [\"127.0.0.1\"]", "", "auc.listen[0].clients: missing"),
        ("transport = \"diameter-tcp\"", "transport = \"diameter\"", "auc.listen[0].transport: "),
        ("identity = \"auc.example.test\"", "", "auc.listen[0].identity: missing"),
        ("0.1:3869\"", "0.1:3869\"\nsecret = \"x\"", "softswitch.aaa.server[0].secret: "),
        (SOFTSWITCH, &SOFTSWITCH.replace("tcp", "tls"), "softswitch.aaa.server[0].name: missing"),
        (SOFTSWITCH, &SOFTSWITCH.replace("tcp", "tls"), "softswitch.aaa.certificate: missing"),
    ] {
        assert!(DIAMETER.contains(from), "{from}");
        let found = mistakes(&DIAMETER.replacen(from, to, 1));
        assert!(found.iter().any(|m| m.contains(expected)), "{to}: {found:?}");
    }
}

#[test]
fn a_database_has_servers_and_a_guarded_way_there() {
    const AUC: &str = include_str!("../../../tuning/auc.toml");
    assert_eq!(mistakes(AUC), Vec::<String>::new());
    let config = parse("auc.toml", AUC, Path::new("/etc/portunus")).expect("no mistake").config;
    let database = config.auc.and_then(|auc| auc.database).expect("a database");
    assert_eq!(database.servers[1], ("db2.example.test".to_owned(), 5432));
    assert_eq!(database.tls.expect("guarded").ca, Path::new("/etc/portunus/database-ca.pem"));
    for (from, to, expected) in [
        ("tls = \"verify-full\"", "tls = \"off\"", "auc.database.tls: the way to the database in clear; remove"),
        ("tls = \"verify-full\"", "tls = \"prefer\"", "auc.database.tls: "),
        ("ca = \"database-ca.pem\"", "", "auc.database.ca: missing"),
        ("# certificate = ", "certificate = ", "auc.database: half of a certificate; add `key = "),
        (":5432\", \"", ":0\", \"", "auc.database.servers: "),
        ("[\"db1.example.test:5432\", \"db2.example.test:5432\"]", "[]", "auc.database.servers: no server; write"),
        ("secret_file", "password_file", "auc.database.password_file: unknown key"),
        ("secret_file", "secret", "auc.database.secret: a secret in the configuration itself"),
        ("pool = 4", "pool = 0", "auc.database.pool: 0 is out of range"),
        ("timeout = \"5s\"", "timeout = \"5ms\"", "auc.database.timeout: "),
    ] {
        assert!(AUC.contains(from), "{from}");
        let found = mistakes(&AUC.replacen(from, to, 1));
        assert!(found.iter().any(|m| m.contains(expected)), "{to}: {found:?}");
    }
}

#[test]
fn an_interface_for_administrators_is_secured_or_a_laboratorys_own() {
    const AUC: &str = "[[auc.listen]]";
    let api = |more: &str| lab_with(AUC, &format!("[auc.api]\n{more}\n[[auc.listen]]"));
    assert_eq!(api("address = \"127.0.0.1:8443\""), Vec::<String>::new());
    let tls = "certificate = \"auc.pem\"\nkey = \"auc.key\"";
    assert_eq!(api(&format!("address = \"192.0.2.1:443\"\n{tls}\nca = \"ca.pem\"\nrate = 9")), Vec::<String>::new());
    for (more, expected) in [
        ("address = \"192.0.2.1:8443\"", "auc.api: administrators and their tokens would be in clear; add"),
        ("address = \"127.0.0.1:8443\"\ncertificate = \"auc.pem\"", "auc.api: administrators"),
        ("address = \"127.0.0.1:8443\"\nca = \"ca.pem\"", "auc.api: administrators"),
        ("address = \"127.0.0.1:5060\"", "127.0.0.1:5060 is already used by"),
        ("rate = 0", "auc.api.rate: 0 is out of range; write 1 to 10000"),
        ("import_max = 5", "auc.api.import_max: not a value"),
        ("", "auc.api.address: missing"),
        ("tokens = \"x\"", "auc.api.tokens: unknown key"),
    ] {
        let found = api(more);
        assert!(found.iter().any(|m| m.contains(expected)), "{more}: {found:?}");
    }
    let text =
        LAB.replacen("lab = true", "", 1).replacen(AUC, "[auc.api]\naddress = \"127.0.0.1:8443\"\n[[auc.listen]]", 1);
    assert!(mistakes(&text).iter().any(|m| m.contains("auc.api: administrators")), "a laboratory's alone");
    let redeem = |more: &str| lab_with(AUC, &format!("[auc.redeem]\n{more}\n[[auc.listen]]"));
    assert_eq!(redeem("address = \"127.0.0.1:5090\"\nrate = 1000"), Vec::<String>::new());
    for (more, expected) in [
        ("address = \"127.0.0.1:1812\"", "127.0.0.1:1812 is already used by"),
        ("rate = 200", "auc.redeem.address: missing"),
        ("address = \"127.0.0.1:5090\"\nrate = 0", "auc.redeem.rate: 0 is out of range"),
    ] {
        let found = redeem(more);
        assert!(found.iter().any(|m| m.contains(expected)), "{more}: {found:?}");
    }
}

#[test]
fn all_are_found_in_the_order_of_the_file() {
    let text = "\
[log]
level = \"loud\"

[proxy]
identitty = \"sp1.example.test\"
realm = \"example.test\"
workers = 0

[proxy.key]
hex = \"12\"

[proxy.core]
listen = \"0.0.0.0:5080\"
softswitches = [\"ss1:5070\"]

[[proxy.listener]]
protocol = \"sipp\"
address = \"127.0.0.1:5060\"

[proxy.sealed]
address = \"127.0.0.1:5065\"

[proxy.policy]
clock_window = 30
key_life = \"1y\"

[colour]
";
    let found = mistakes(text);
    let expected = [
        "test.toml:2:9: log.level: not a value for this key (it is a string); write \"error\", \"warn\", \"info\", ",
        "test.toml:4:1: proxy.identity: missing; add `identity = ...`: write 1 to 63 characters",
        "test.toml:5:1: proxy.identitty: unknown key; did you mean `identity`?",
        "test.toml:7:11: proxy.workers: 0 is out of range; write 1 to 128",
        "test.toml:10:7: proxy.key.hex: not a key; write 64 lower-case hex digits",
        "test.toml:13:10: proxy.core.listen: an unspecified address cannot be put into messages",
        "test.toml:14:16: proxy.core.softswitches: not a value for this key (it is an array)",
        "test.toml:17:12: proxy.listener[0].protocol: not a value for this key (it is a string); write \"sip\", \"mgcp\", \"h248\"",
        "test.toml:24:16: proxy.policy.clock_window: not a value for this key (it is an integer); write a duration",
        "test.toml:25:12: proxy.policy.key_life: not a value for this key",
        "test.toml:27:2: colour: unknown key; known here: agent, auc, lab, log, policy, proxy, softswitch",
    ];
    let all = found.join("\n");
    for (n, start) in expected.iter().enumerate() {
        assert!(found.get(n).is_some_and(|m| m.starts_with(start)), "{n}: {start}\n{all}");
    }
    assert_eq!(found.len(), expected.len(), "{all}");
}

#[test]
fn syntax_is_reported_with_its_place_beside_the_rest() {
    let found = lab_with("level = \"info\"", "level = info");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("test.toml:13:9: ") && found[0].ends_with("put text in double quotes"), "{found:?}");
}

#[test]
fn contradictions_between_sections_are_found() {
    let one = |from: &str, to: &str, start: &str| {
        let found = lab_with(from, to);
        assert!(found.iter().any(|m| m.contains(start)), "{start}: {found:?}");
    };
    one(
        "address = \"127.0.0.1:5065\"",
        "address = \"127.0.0.1:5060\"",
        "proxy.sealed.address: 127.0.0.1:5060 is already",
    );
    one("address = \"127.0.0.1:5065\"", "address = \"[::1]:5065\"", "proxy.listener[0].address: 127.0.0.1:5060 and");
    one(
        "address = \"127.0.0.1:4500\"",
        "address = \"127.0.0.1:5065\"",
        "proxy.ipsec.address: 127.0.0.1:5065 is already",
    );
    let kernel = |address: &str, ports: u32| {
        format!("address = \"127.0.0.1:4500\"\n[proxy.ipsec.kernel]\naddress = \"{address}\"\nports = {ports}\n")
    };
    let esp = "address = \"127.0.0.1:4500\"\n";
    one(esp, &kernel("127.0.0.1:4500", 6000), "proxy.ipsec.kernel.address: 127.0.0.1:4500 is already");
    one(esp, &kernel("0.0.0.0:4501", 6000), "proxy.ipsec.kernel.address: nobody is reached at");
    one(esp, &kernel("127.0.0.1:4501", 5059), "proxy.ipsec.kernel.ports: 127.0.0.1:5060 is already");
    one(esp, &kernel("127.0.0.1:4501", 65_534), "proxy.ipsec.kernel.ports: ");
    one("address = \"127.0.0.1:4500\"", "address = \"[::1]:4500\"", "127.0.0.1:5060 and proxy.ipsec, [::1]:4500");
    one(
        "[proxy.ipsec]\naddress = \"127.0.0.1:4500\"\n",
        "",
        "proxy: no place for datagrams of ipsec-man, which the policy",
    );
    one("[proxy.sealed]\naddress = \"127.0.0.1:5065\"\n", "", "add [proxy.sealed] with `address`");
    one(
        "mechanisms = [\"x-pkd-sealed\", \"ipsec-man\", \"tls\"]",
        "mechanisms = []",
        "write one or more of \"x-pkd-sealed\", \"ipsec-man\" and",
    );
    one("address = \"127.0.0.1:5061\"", "address = \"[::1]:5061\"", "[::1]:5061 is of a version of IP that no SIP");
    one(
        "address = \"127.0.0.1:5061\"",
        "address = \"127.0.0.1:2944\"",
        "proxy.tls[0].address: 127.0.0.1:2944 is already",
    );
    one(
        "[[proxy.tls]]\nprotocol = \"sip\"",
        "[[proxy.tls]]\nprotocol = \"ras\"",
        "RAS is not carried over TCP, and so",
    );
    one("identities = [\"sp1.example.test\"]", "identities = []", "does not trust this proxy");
    one("address = \"127.0.0.1:5080\"", "address = \"127.0.0.1:5081\"", "does not trust this proxy");
    one("identities = [\"sp1.", "identities = [\"ss1.example.test\", \"sp1.", "own identity among its proxies");
    one("sessions = 10000", "request = \"8KiB\"", "`request` is larger");
    one("lab = true", "lab = false", "a secret in the configuration itself");
    one(
        "realm = \"example.test\"\n\n[proxy.key]",
        "realm = \"other.test\"\n\n[proxy.key]",
        "proxy.realm: not the softswitch's",
    );
}

#[test]
fn what_a_protocol_cannot_have_is_found_where_it_stands() {
    let one = |from: &str, to: &str, start: &str| {
        let found = lab_with(from, to);
        assert!(!found.is_empty() && found[0].contains(start), "{start}: {found:?}");
    };
    one(
        "protocol = \"mgcp\"",
        "protocol = \"mgcp\"\ntransport = \"tcp\"",
        "proxy.listener[2].transport: MGCP is not carried over TCP; write \"udp\"",
    );
    one(
        "protocol = \"ras\"",
        "protocol = \"ras\"\nstock_phones = true",
        "].stock_phones: RAS has no terminals without",
    );
    one(
        "controllers = [\"127.0.0.1:2954\"]\n",
        "",
        "proxy.listener[3].protocol: the core side names no `controllers` for H.248; add `controllers = [\"ADDRESS",
    );
    one("gatekeepers = [\"127", "gatekeepers = [\"[::1]:1729\", \"127", "proxy.core.gatekeepers: [::1]:1729 and");
    one("gatekeepers = [\"127.0.0.1:1729\"]", "gatekeepers = []", "proxy.core.gatekeepers: no address; write at");
    one(
        "listen_ras = \"127.0.0.1:1729\"",
        "listen_ras = \"127.0.0.1:5070\"",
        "softswitch.listen_ras: 127.0.0.1:5070 is",
    );
    one("listen_mgcp = \"127.0.0.1:2737\"", "listen_mgcp = \"0.0.0.0:2737\"", "softswitch.listen_mgcp: an unspecified");
    one("lanes = 1024", "lanes = 5", "proxy.core.lanes: 5 is out of range; write 16 to 65536");
}

#[test]
fn controllers_and_call_agents_behind_the_softswitch_are_others_with_gateways() {
    for (kind, own, protocol) in [("controller", 2954, "h248"), ("call_agent", 2737, "mgcp")] {
        let several = |addresses: &[&str]| {
            let each = addresses.iter().map(|at| format!("[[softswitch.{kind}]]\naddress = \"{at}\"\nweight = 2\n\n"));
            format!("{}[[softswitch.peer]]", each.collect::<String>())
        };
        let with = |addresses: &[&str]| lab_with("[[softswitch.peer]]", &several(addresses));
        assert_eq!(with(&["127.0.0.1:2955", "127.0.0.1:2956"]), Vec::<String>::new());
        let word = kind.replace('_', " ");
        for (addresses, problem) in [
            (&[format!("127.0.0.1:{own}")][..], format!("[0].address: 127.0.0.1:{own} is the softswitch's own; write")),
            (&["0.0.0.0:2944".into()], "[0].address: nobody is reached at 0.0.0.0:2944; write".into()),
            (&["127.0.0.1:0".into()], "[0].address: nobody is reached at 127.0.0.1:0; write".into()),
            (
                &["127.0.0.1:2955".into(), "127.0.0.1:2955".into()],
                format!("[1].address: 127.0.0.1:2955 is there already; write each {word} once; `weight` is its share"),
            ),
            (
                &["127.0.0.1:2955".into(), "[::1]:2955".into()],
                "[1].address: [::1]:2955 and 127.0.0.1:2955 are not of one version of IP; write".into(),
            ),
        ] {
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            let (found, expected) = (with(&addresses), format!("softswitch.{kind}{problem}"));
            assert!(found.iter().any(|m| m.contains(&expected)), "{expected}: {found:?}");
        }
        let named = several(&["127.0.0.1:2955", "127.0.0.1:2956"]).replace("weight = 2", "name = \"one.example.test\"");
        let found = lab_with("[[softswitch.peer]]", &named);
        let expected = format!("softswitch.{kind}[1].name: \"one.example.test\" is another one's name already; write");
        assert!(found.len() == 1 && found[0].contains(&expected), "{found:?}");
        let (from, to) = (format!("listen_{protocol} = \"127.0.0.1:{own}\"\n"), several(&["127.0.0.1:2955"]));
        let lab = include_str!("../../../tuning/lab.toml").replace(&from, "").replace("[[softswitch.peer]]", &to);
        let found = mistakes(&lab);
        let expected = format!("softswitch.{kind}[0].address: no ");
        let write = format!("`protocol = \"{protocol}\"`, or `listen_{protocol}` for proxies");
        assert!(found.iter().any(|m| m.contains(&expected) && m.contains(&write)), "{expected}: {found:?}");
    }
}

#[test]
fn keys_of_before_are_told_by_their_present_name() {
    for (line, expected) in [
        (
            "h248_controller = \"127.0.0.1:2964\"",
            "softswitch.h248_controller: this key has another name now; there may be several: write \
             [[softswitch.controller]] with `address`",
        ),
        (
            "[softswitch.registrar_health]\ndown_after = 3",
            "softswitch.registrar_health: this key has another name now; it holds for call agents and controllers too: \
             write [softswitch.health]",
        ),
        (
            "[softswitch.capacity]\ncontroller_ports = 9",
            "softswitch.capacity.controller_ports: this key has another name now; call agents have them too: write \
             `gateway_ports`",
        ),
    ] {
        let own = "listen_ras = \"127.0.0.1:1729\"";
        let found = lab_with(own, &format!("{own}\n{line}"));
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}

/// A softswitch that faces terminals itself.
const DIRECT: &str = "\
lab = true
[softswitch]
identity = \"ss1.example.test\"
realm = \"example.test\"
listen = \"127.0.0.1:5070\"
[[softswitch.registrar]]
address = \"127.0.0.1:5090\"
[[softswitch.registrar]]
address = \"127.0.0.1:5091\"
weight = 3
[softswitch.health]
answer_within = \"1s\"
[softswitch.aaa]
transport = \"udp\"
[[softswitch.aaa.server]]
address = \"127.0.0.1:1812\"
secret = \"s\"
[[softswitch.direct.listener]]
protocol = \"sip\"
address = \"127.0.0.1:5060\"
[softswitch.direct.sealed]
address = \"127.0.0.1:5065\"
[softswitch.direct.key]
file = \"kss\"
";

#[test]
fn registrars_behind_the_softswitch_are_others_with_a_way_back() {
    assert_eq!(mistakes(DIRECT), Vec::<String>::new());
    for (from, to, expected) in [
        ("1:5091", "1:5090", "softswitch.registrar[1].address: 127.0.0.1:5090 is there already; write each registrar"),
        ("1:5091", "1:5070", "softswitch.registrar[1].address: 127.0.0.1:5070 is the softswitch's own; write the"),
        (
            "127.0.0.1:5091",
            "[::1]:5091",
            "softswitch.registrar[1].address: [::1]:5091 and softswitch.listen are not of",
        ),
        ("1:5091", "1:0", "softswitch.registrar[1].address: nobody is reached at 127.0.0.1:0; write"),
        ("weight = 3", "weight = 0", "softswitch.registrar[1].weight: 0 is out of range; write 1 to 1000"),
        ("\"sip\"", "\"mgcp\"", "softswitch.registrar[0].address: no SIP terminal can register here; add"),
        (
            "listen = \"127.0.0.1:5070\"\n",
            "",
            "softswitch.registrar[0].address: a registrar cannot reach the softswitch;",
        ),
        ("\"1s\"", "\"3s\"", "health.answer_within: a second registrar could not be asked before"),
        ("answer_within", "answer_in", "softswitch.health.answer_in: unknown key; did you mean `answer_within`?"),
    ] {
        assert!(DIRECT.contains(from), "{from}");
        let found = mistakes(&DIRECT.replacen(from, to, 1));
        assert!(found.iter().any(|m| m.contains(expected)), "{expected}: {found:?}");
    }
}

#[test]
fn registrars_serve_the_terminals_of_proxies_too() {
    // The laboratory's three roles, with a registrar behind its softswitch.
    let lab = include_str!("../../../tuning/lab.toml");
    let behind = lab.replace(
        "[[softswitch.peer]]",
        "[[softswitch.registrar]]\naddress = \"127.0.0.1:5090\"\n\n[[softswitch.peer]]",
    );
    assert_eq!(mistakes(&behind), Vec::<String>::new());
    let hasty = behind.replace("[proxy.policy]", "[proxy.policy]\ncore_timeout = \"2s\"");
    let found = mistakes(&hasty);
    assert!(found.iter().any(|m| m.contains("at or below half of proxy.policy.core_timeout")), "{found:?}");
    // One whose neighbours register nobody.
    let nobody = behind.replace("identities = [\"sp1.example.test\"]", "identities = []");
    let found = mistakes(&nobody);
    assert!(found.iter().any(|m| m.contains("no SIP terminal can register here")), "{found:?}");
}

#[test]
fn a_file_without_a_role_is_refused() {
    assert!(mistakes("").iter().any(|m| m.contains("no role")));
}

#[test]
fn an_agent_says_who_its_phones_are_and_where() {
    const AGENT: &str = include_str!("../../../tuning/agent.toml");
    assert_eq!(mistakes(AGENT), Vec::<String>::new());
    for (from, to, start) in [
        ("id = \"alice@example.test\"", "id = \"alice\"", "agent.phone[0].id: not a value"),
        ("id = \"bob@example.test\"", "id = \"alice@example.test\"", "agent.phone[1].id: a phone before it"),
        ("[\"x-pkd-sealed\"]", "[]", "agent.mechanisms: "),
        ("listen = [\"127.0.0.1:5160\"]", "listen = []", "agent.listen: 0 addresses"),
        ("listen = [\"127.0.0.1:5160\"]", "listen = [\"192.0.2.1:5160\"]", "agent.phone[1]: others than this host"),
        ("listen = [\"127.0.0.1:5160\"]", "listen = [\"0.0.0.0:5160\"]", "agent.listen: an unspecified address"),
        ("key_file = \"lab-subscribers.csv\"", "key = 1", "agent.phone[0]: no key"),
        ("id = \"gw1.example.test\"", "id = \"gw 1\"", "agent.h248.gateway[0].id: not a value"),
        ("listen = [\"127.0.0.1:2946\"]", "listen = [\"192.0.2.1:2946\"]", "agent.h248.gateway[0]: others than this"),
        (
            "listen = [\"127.0.0.1:2946\"]",
            "listen = [\"127.0.0.1:5160\"]",
            "agent.h248.listen: 127.0.0.1:5160 is already",
        ),
        ("[agent.h248]", "[agent.h323]", "agent.h323: unknown key"),
    ] {
        assert!(AGENT.contains(from), "{from}");
        let found = mistakes(&AGENT.replacen(from, to, 1));
        assert!(found.iter().any(|m| m.contains(start)), "{start}: {found:?}");
    }
}

#[test]
fn a_master_key_in_a_token_has_a_uri_and_no_pin_in_the_file() {
    const MASTER: &str = "file = \"lab-state/auc.master\"\ncreate = true\n";
    const URI: &str = "pkcs11:token=t;object=k?module-path=/m.so&pin-source=file:/pin";
    let good = format!("pkcs11 = \"{URI}\"\npkcs11_folders = [\"tokens\"]\n");
    assert_eq!(lab_with(MASTER, &good), Vec::<String>::new());
    let other = |uri: &str| format!("pkcs11 = \"{uri}\"\n");
    for (to, expected) in [
        (format!("{good}create = true\n"), "auc.master_key: `create` makes no key in a token; remove it"),
        (format!("{good}{MASTER}"), "auc.master_key: both `pkcs11` and `file`; keep one of them"),
        (other("pkcs11:token=t?module-path=/m.so"), "auc.master_key.pkcs11: no key: neither object= nor id="),
        (other("/usr/lib/m.so"), "auc.master_key.pkcs11: no pkcs11: URI; write it like"),
        (other(&URI.replace("source=file:/pin", "value=1234")), "pin-value: a PIN stands in no configuration"),
        ("pkcs11_folders = [\"tokens\"]\nfile = \"m\"\n".to_owned(), "auc.master_key.pkcs11_folders: unknown key"),
    ] {
        let found = lab_with(MASTER, &to);
        assert!(found.iter().any(|m| m.contains(expected)), "{to}: {found:?}");
        assert!(!found.iter().any(|m| m.contains("1234")), "{found:?}");
    }
}

#[test]
fn a_device_may_hold_a_second_key_which_is_told_as_the_first_is() {
    const KEY: &str = "[proxy.key]\nfile = \"lab-subscribers.csv\"\n";
    let other = |more: &str| format!("{KEY}[proxy.key.other]\n{more}\n");
    assert_eq!(lab_with(KEY, &other("credential = \"sp1.next\"")), Vec::<String>::new());
    for (to, expected) in [
        (other(""), "proxy.key.other: no key; add one of"),
        (other("file = \"a\"\ncredential = \"b\""), "proxy.key.other: more than one place for one key"),
        (other("hex = \"00\""), "proxy.key.other.hex: "),
    ] {
        let found = lab_with(KEY, &to);
        assert!(found.iter().any(|m| m.contains(expected)), "{to}: {found:?}");
    }
}
