//! Registrars of somebody else's behind the softswitch: what they see is plain SIP from a proxy that they trust.

mod common;

use common::{Bench, OWN, SP1, config, header, peer, vector};
use portunus_aaa::AaaAnswer;
use portunus_keydist::steps::Registration;
use portunus_softswitch::{LocalProxy, Peer, Upstream};

const R1: &str = "192.0.2.201:5060";
const R2: &str = "192.0.2.202:5062";

/// The engine of this process before the softswitch, registrars behind it.
struct World(Bench);

impl core::ops::Deref for World {
    type Target = Bench;
    fn deref(&self) -> &Bench {
        &self.0
    }
}

impl core::ops::DerefMut for World {
    fn deref_mut(&mut self) -> &mut Bench {
        &mut self.0
    }
}

/// An answer to a request of the softswitch's.
fn answer(request: &str, status: &str, more: &str) -> String {
    let line = |name: &str| header(request, name).iter().map(|v| format!("{name}: {v}\r\n")).collect::<String>();
    let to = line("To").replace("\r\n", ";tag=r\r\n");
    let rest: String = ["Via", "From", "Call-ID", "CSeq"].map(line).concat();
    format!("SIP/2.0 {status}\r\n{rest}{to}{more}Content-Length: 0\r\n\r\n")
}

/// A request of a terminal's as the engine sends it on.
fn asked(method: &str, uri: &str, branch: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {SP1};branch={branch}\r\n\
         Via: SIP/2.0/UDP 10.0.0.9:5062;branch=z9hG4bKa;received=198.51.100.7;rport=40000\r\n\
         Max-Forwards: 69\r\n\
         From: <sip:alice@example.test>;tag=a\r\n\
         To: <sip:bob@example.test>\r\n\
         Call-ID: call-1\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:alice@10.0.0.9:5062>\r\n\
         {more}Content-Length: 0\r\n\r\n"
    )
}

impl World {
    fn new(registrars: &[&str]) -> Self {
        let mut c = config();
        c.local = Some(LocalProxy { idss: "ss1.example.test".into(), core: SP1.parse().unwrap() });
        c.peers.clear();
        let upstream = |addr: &&str| Upstream::at(addr.parse().unwrap());
        c.behind.registrars = registrars.iter().map(upstream).collect();
        let mut world = Self(Bench::new(c));
        world.pass(0);
        world.living();
        world
    }

    /// Every registrar that is asked for a sign of life gives one.
    fn living(&mut self) {
        self.alive(|_| true);
    }

    /// So do those that `who` holds of; the others are silent.
    fn alive(&mut self, who: impl Fn(Peer) -> bool) {
        let (signs, rest) = core::mem::take(&mut self.sent).into_iter().partition(|(_, m)| m.starts_with("OPTIONS "));
        self.sent = rest;
        let signs: Vec<(Peer, String)> = signs;
        for (from, question) in signs.into_iter().filter(|(from, _)| who(*from)) {
            self.sip(from, &answer(&question, "200 OK", ""));
        }
    }

    fn direct(message: &str) -> String {
        message.replace("sp1.example.test", "ss1.example.test")
    }

    /// s2 to s8; what goes to a registrar.
    fn proven(&mut self, user: &str, n: u8) -> (Peer, String) {
        let s2 = Self::direct(&self.s2(1, user));
        self.sip(Peer::LocalProxy, &s2);
        let (id, _) = self.question();
        self.aaa(id, Ok(AaaAnswer::Vector(vector(n))));
        assert!(self.one().1.starts_with("SIP/2.0 401 "));
        let s8 = Self::direct(&self.s8(1, user, [n; 16], [n; 32], "600"));
        self.sip(Peer::LocalProxy, &s8);
        // It comes again before anybody has answered.
        self.sip(Peer::LocalProxy, &s8);
        self.one()
    }

    /// The only thing said to the terminal; its status line.
    fn told(&mut self) -> String {
        let (to, text) = self.one();
        assert_eq!(to, Peer::LocalProxy);
        text
    }

    /// A refresh inside the session; what goes to a registrar.
    fn refreshed(&mut self, user: &str, expires: &str) -> (Peer, String) {
        let refresh = Self::direct(&self.refresh(1, user, expires));
        self.sip(Peer::LocalProxy, &refresh);
        self.one()
    }

    fn registered(&mut self, user: &str, n: u8) {
        let (at, register) = self.proven(user, n);
        let contact = format!("Contact: {}\r\n", header(&register, "Contact")[0]);
        self.sip(at, &answer(&register, "200 OK", &contact));
        assert!(self.told().starts_with("SIP/2.0 200 "));
        self.records();
    }
}

#[test]
fn an_authenticated_registration_is_an_ordinary_one_at_the_registrar() {
    let mut w = World::new(&[R1]);
    let (at, register) = w.proven("alice", 3);
    assert_eq!(at, peer(R1));
    let via = header(&register, "Via")[0].to_owned();
    let expected = format!(
        "REGISTER sip:example.test SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.test>;tag=f\r\nTo: <sip:alice@example.test>\r\n\
         P-Asserted-Identity: <sip:alice@example.test>\r\nCall-ID: reg-alice\r\nCSeq: 2 REGISTER\r\n\
         Path: <sip:{OWN};lr>\r\nPath: <sip:alice%40example.test@{SP1};lr>\r\n\
         Contact: <sip:alice%40example.test@{SP1}>;expires=600\r\nSupported: path\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(register, expected);
    assert!(via.starts_with(&format!("SIP/2.0/UDP {OWN};rport;branch=z9hG4bK")), "{via}");
    assert!(w.records().is_empty() && w.ss.bindings_of(w.now, "alice@example.test").is_empty(), "not yet");
    // Nobody else answers for it.
    let contact = format!("Contact: <sip:alice%40example.test@{SP1}>;expires=120\r\n");
    w.sip(Peer::LocalProxy, &answer(&register, "200 OK", &contact));
    w.sip(peer(R1), &answer(&register, "100 Trying", ""));
    w.silence();
    w.sip(peer(R1), &answer(&register, "200 OK", &contact));
    let s9 = w.told();
    assert!(s9.starts_with("SIP/2.0 200 ") && s9.contains("ekc=\"") && s9.contains("eksp=\""), "{s9}");
    assert_eq!(header(&s9, "Contact"), [format!("<sip:alice%40example.test@{SP1}>;expires=120")], "as it granted");
    assert!(matches!(&w.records()[..], [r] if r.event == Registration::Start && r.rand == [3; 16]));
    // The same answer again is nobody's.
    w.sip(peer(R1), &answer(&register, "200 OK", &contact));
    w.silence();
    w.pass(120_000);
    w.living();
    assert!(matches!(&w.records()[..], [r] if r.event == Registration::Stop), "it ends when the registrar's does");
    assert_eq!((w.ss.counters().registrar_asked, w.ss.counters().registrar_granted), (1, 1));
}

#[test]
fn refreshes_and_deregistrations_are_the_registrars_too() {
    let mut w = World::new(&[R1]);
    w.registered("alice", 1);
    let (at, refresh) = w.refreshed("alice", "600");
    assert!(!refresh.contains("integrity-protected") && !refresh.contains("Authorization"), "{refresh}");
    w.sip(at, &answer(&refresh, "423 Interval Too Brief", "Min-Expires: 900\r\n"));
    let refused = w.told();
    assert!(refused.starts_with("SIP/2.0 423 Interval Too Brief\r\n"), "{refused}");
    assert_eq!(header(&refused, "Min-Expires"), ["900"]);
    let (at, refresh) = w.refreshed("alice", "900");
    // One that says the time for all.
    let contact = format!("Contact: <sip:alice%40example.test@{SP1}>\r\nExpires: 901\r\n");
    w.sip(at, &answer(&refresh, "200 OK", &contact));
    assert!(header(&w.told(), "Contact")[0].ends_with("expires=900"), "never longer than asked");
    assert!(matches!(&w.records()[..], [r] if r.event == Registration::Refresh));
    let (at, gone) = w.refreshed("alice", "0");
    assert!(header(&gone, "Contact")[0].ends_with(";expires=0"), "{gone}");
    w.sip(at, &answer(&gone, "500 Not Now", ""));
    assert!(w.told().starts_with("SIP/2.0 500 Not Now"), "still registered");
    assert_eq!(w.ss.bindings_of(w.now, "alice@example.test").len(), 1);
    let (at, gone) = w.refreshed("alice", "0");
    w.sip(at, &answer(&gone, "200 OK", ""));
    let done = w.told();
    assert!(done.starts_with("SIP/2.0 200 ") && header(&done, "Contact").is_empty(), "{done}");
    assert!(matches!(&w.records()[..], [r] if r.event == Registration::Stop));
    assert_eq!(w.ss.counters().registrar_refused, 2);
}

#[test]
fn a_registrars_refusal_is_the_terminals_and_no_key_leaves() {
    let mut w = World::new(&[R1]);
    for (n, (status, told)) in [
        ("403 Barred", "SIP/2.0 403 Barred\r\n"),
        ("404 Not Found", "SIP/2.0 404 Not Found\r\n"),
        ("600 Busy Everywhere", "SIP/2.0 600 Busy Everywhere\r\n"),
        // Its configuration's fault, which is not the terminal's.
        ("401 Unauthorized", "SIP/2.0 503 Service Unavailable\r\n"),
        ("302 Moved", "SIP/2.0 503 Service Unavailable\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let (at, register) = w.proven(&format!("user{n}"), n as u8 + 1);
        w.sip(at, &answer(&register, status, ""));
        let answer = w.told();
        assert!(answer.starts_with(told) && !answer.contains("ekc"), "{answer}");
        assert_eq!(header(&answer, "Retry-After").is_empty(), !told.contains("503"), "{answer}");
    }
    assert!(w.records().is_empty());
    assert_eq!((w.ss.counters().registrar_refused, w.ss.counters().registrar_distrusts), (3, 2));
}

#[test]
fn silence_and_trouble_lead_to_the_next_one_while_the_terminal_waits() {
    let mut w = World::new(&[R1, R2]);
    let (first, register) = w.proven("alice", 1);
    let second = if first == peer(R1) { peer(R2) } else { peer(R1) };
    w.pass(500);
    assert_eq!(w.one(), (first, register.clone()), "repeated");
    w.pass(700);
    let (at, again) = w.one();
    assert_eq!(at, second);
    let line = |text: &str, name: &str| header(text, name)[0].to_owned();
    assert_ne!(line(&again, "Via"), line(&register, "Via"), "a transaction of its own");
    assert_eq!(line(&again, "Contact"), line(&register, "Contact"));
    // The first one wakes up: too late.
    w.sip(first, &answer(&register, "200 OK", ""));
    w.silence();
    w.sip(second, &answer(&again, "503 Full", ""));
    assert!(w.told().starts_with("SIP/2.0 503 Service Unavailable\r\n"), "there is no third");
    let c = w.ss.counters().clone();
    assert_eq!((c.registrar_asked, c.registrar_failover, c.registrar_none, c.stray_answer), (1, 2, 1, 1));
    // A terminal that both leave without an answer hears so before its proxy gives it up.
    w.proven("bob", 2);
    w.pass(3_500);
    w.sent.retain(|(to, _)| *to == Peer::LocalProxy);
    assert!(w.told().starts_with("SIP/2.0 503 "));
}

#[test]
fn one_that_is_down_is_asked_nothing_until_it_lives_again() {
    let mut w = World::new(&[R1, R2]);
    let users = ["ann", "ben", "cid", "dan", "eve", "fay"];
    let whose = |w: &mut World| {
        users.map(|user| {
            let (at, register) = w.refreshed(user, "600");
            w.sip(at, &answer(&register, "404 Not Found", ""));
            w.told();
            at
        })
    };
    let before = whose(&mut w);
    assert!(before.contains(&peer(R1)) && before.contains(&peer(R2)), "{before:?}");
    let gone = |from: Peer| from != peer(R1);
    while w.ss.gauges().registrars == 2 {
        assert!(w.now.mono_ms < 20_000);
        w.pass(100);
        w.alive(gone);
    }
    assert!((6_000..12_000).contains(&w.now.mono_ms), "three silences in a row: {}", w.now.mono_ms);
    assert!(whose(&mut w).iter().all(|at| *at == peer(R2)));
    let message = |user: &str| asked("MESSAGE", "sip:bob@example.test", "z9hG4bKm", "").replace("sip:alice@", user);
    for user in users {
        w.sip(Peer::LocalProxy, &message(&format!("sip:{user}@")));
        assert_eq!(w.one().0, peer(R2));
    }
    let from = w.now.mono_ms;
    while w.ss.gauges().registrars == 1 {
        assert!(w.now.mono_ms < from + 10_000);
        w.pass(100);
        w.living();
    }
    assert_eq!(whose(&mut w), before, "everybody is back where they were");
    assert_eq!((w.ss.counters().registrar_down, w.ss.counters().registrar_up), (1, 1));
    // Nobody is up: said at once, to all.
    while w.ss.gauges().registrars > 0 {
        w.pass(100);
        w.alive(|_| false);
    }
    let refresh = World::direct(&w.refresh(1, "ann", "600"));
    w.sip(Peer::LocalProxy, &refresh);
    assert!(w.told().starts_with("SIP/2.0 503 "));
    w.sip(Peer::LocalProxy, &message("sip:ann@"));
    assert!(w.told().starts_with("SIP/2.0 503 "));
}

#[test]
fn a_call_goes_by_the_registrar_both_ways() {
    let mut w = World::new(&[R1]);
    w.registered("alice", 1);
    w.registered("bob", 2);
    let record = format!("Record-Route: <sip:alice%40example.test@{SP1};lr>\r\n");
    let invite = asked("INVITE", "sip:bob@example.test", "z9hG4bKone", &record);
    w.sip(Peer::LocalProxy, &invite);
    let (at, up) = w.one();
    assert!(at == peer(R1) && up.starts_with("INVITE sip:bob@example.test SIP/2.0\r\n"), "{up}");
    assert_eq!(header(&up, "P-Asserted-Identity"), ["<sip:alice@example.test>"]);
    assert!(header(&up, "Route").is_empty() && header(&up, "Record-Route")[0] == format!("<sip:{OWN};lr>"), "{up}");
    // CANCEL and the ACK of a refusal follow.
    for method in ["CANCEL", "ACK"] {
        let other = asked(method, "sip:bob@example.test", "z9hG4bKone", "");
        let other = if method == "ACK" { other.replace("bob@example.test>", "bob@example.test>;tag=b") } else { other };
        w.sip(Peer::LocalProxy, &other);
        let (at, on) = w.one();
        assert_eq!((at, header(&on, "Via")[0]), (peer(R1), header(&up, "Via")[0]), "{on}");
    }
    // The registrar finds bob by the Path that he registered with.
    let path = format!("<sip:{OWN};lr>, <sip:bob%40example.test@{SP1};lr>");
    let down = up.replacen("sip:bob@example.test", &format!("sip:bob%40example.test@{SP1}"), 1).replacen(
        "Via:",
        &format!("Route: {path}\r\nVia: SIP/2.0/UDP {R1};branch=z9hG4bKreg\r\nVia:"),
        1,
    );
    w.sip(peer(R1), &down);
    let (to, on) = w.one();
    assert_eq!((to, header(&on, "Route")), (Peer::LocalProxy, vec![&*format!("<sip:bob%40example.test@{SP1};lr>")]));
    assert!(on.starts_with(&format!("INVITE sip:bob%40example.test@{SP1} SIP/2.0\r\n")), "{on}");
    // And the answer goes back by all of them.
    let ok = answer(&on, "200 OK", "Contact: <sip:bob@10.0.0.8>\r\n");
    w.sip(Peer::LocalProxy, &ok);
    let (at, back) = w.one();
    assert!(at == peer(R1) && header(&back, "Via")[0].contains("z9hG4bKreg"), "{back}");
    w.sip(peer(R1), &answer(&up, "200 OK", ""));
    assert_eq!(w.one().0, Peer::LocalProxy);
}

#[test]
fn in_a_dialog_the_routes_lead_and_nobody_begins_anything_past_the_registrar() {
    let mut w = World::new(&[R1]);
    let tagged = |text: String| text.replace("bob@example.test>", "bob@example.test>;tag=b");
    let bob = format!("sip:bob%40example.test@{SP1};lr");
    let bye = |routes: &str| tagged(asked("BYE", "sip:bob@10.0.0.8", "z9hG4bKbye", &format!("Route: {routes}\r\n")));
    // The registrar stayed in the dialog.
    w.sip(Peer::LocalProxy, &bye(&format!("<sip:{OWN};lr>, <sip:{R1};lr>, <sip:{OWN};lr>, <{bob}>")));
    let (at, on) = w.one();
    assert_eq!((at, header(&on, "Route")), (peer(R1), vec![&*format!("<sip:{R1};lr>, <sip:{OWN};lr>, <{bob}>")]));
    assert_eq!(header(&on, "P-Asserted-Identity"), ["<sip:alice@example.test>"]);
    // It did not: both of our own Routes come off, in one row or two.
    for between in [", ", "\r\nRoute: "] {
        w.sip(Peer::LocalProxy, &bye(&format!("<sip:{OWN};lr>{between}<sip:{OWN};lr>{between}<{bob}>")));
        let (at, on) = w.one();
        assert_eq!((at, header(&on, "Route")), (Peer::LocalProxy, vec![&*format!("<{bob}>")]), "{on}");
        assert!(header(&on, "P-Asserted-Identity").is_empty());
    }
    let direct = tagged(asked("BYE", &format!("sip:bob%40example.test@{SP1}"), "z9hG4bKbye", ""));
    w.sip(Peer::LocalProxy, &direct);
    assert_eq!(w.one().0, Peer::LocalProxy);
    // What begins goes to the registrar, wherever it says that it goes.
    let at_bob = format!("sip:bob%40example.test@{SP1}");
    for (uri, routes) in [
        (&*at_bob, String::new()),
        ("sip:bob@example.test", format!("Route: <sip:{OWN};lr>, <{bob}>\r\n")),
        ("sip:bob@elsewhere.test", String::new()),
        ("tel:+15550100", String::new()),
        ("sip:example.test", String::new()),
    ] {
        w.sip(Peer::LocalProxy, &asked("MESSAGE", uri, "z9hG4bKm", &routes));
        let (at, on) = w.one();
        assert!(at == peer(R1) && on.starts_with(&format!("MESSAGE {uri} SIP/2.0\r\n")), "{on}");
        assert!(header(&on, "Route").is_empty() && header(&on, "P-Asserted-Identity").len() == 1, "{on}");
    }
    // The registrar registers nobody here, and what it asks of us we answer.
    let register = World::direct(&w.s2(1, "alice"));
    w.sip(peer(R1), &register);
    assert!(w.one().1.starts_with("SIP/2.0 403 "));
    w.sip(peer(R1), &asked("OPTIONS", &format!("sip:{OWN}"), "z9hG4bKo", ""));
    assert!(w.one().1.starts_with("SIP/2.0 200 "));
    w.sip(peer(R1), &asked("MESSAGE", "sip:x@203.0.113.7", "z9hG4bKm", ""));
    assert!(w.one().1.starts_with("SIP/2.0 404 "), "we are no way out for it");
}
