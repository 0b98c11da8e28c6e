//! Topology hiding and header rules: what a terminal sees of the core, and what the core sees of what it gives back.

mod common;

use common::*;
use portunus_keydist::Idc;
use portunus_keydist::proxy::Veil;
use portunus_signalling::{
    Border, Crossing, Fault, FaultKind, FromTerminal, Hop, Names, Noticed, Rules, SessionRef, Signalling, Transport, Up,
};
use portunus_sip::Sip;
use portunus_sip::carriage::core::{self, Forward};
use portunus_sip::view::{Message, Name, Uri};
use proptest::prelude::*;
use std::cell::Cell;

fn border() -> Border {
    let rules = Rules {
        hide: true,
        strip_up: Names::of(["P-Preferred-Identity", "X-PKD-*"]).unwrap(),
        strip_down: Names::of(["Server", "Warning"]).unwrap(),
    };
    Border { veil: Some(Veil::new(&key().prk())), rules }
}

/// Alice's and bob's sessions at one proxy, and the softswitch behind it.
struct Town {
    w: World,
    border: Border,
    noticed: Cell<Noticed>,
}

const BOB: &str = "sip:bob@192.168.7.7:5062;ob";

impl Town {
    fn new(w: World) -> Self {
        Self { w, border: border(), noticed: Cell::default() }
    }

    fn crossing(&self) -> Crossing<'_> {
        Crossing { border: &self.border, noticed: Some(&self.noticed) }
    }

    fn alice(&self) -> (Hop<'static>, SessionRef<'_>) {
        (self.w.hop(), SessionRef { crossing: self.crossing(), ..self.w.session() })
    }

    fn bob(&self) -> (Hop<'static>, SessionRef<'_>) {
        let idc = Idc::new("bob@example.test").unwrap();
        let hop = Hop { salt: 0x0b0b, ticket: portunus_signalling::Ticket(0x0300_0000_0000_0b0b), ..self.w.hop() };
        (hop, SessionRef { idc, binding: BOB.as_bytes(), keyed: true, crossing: self.crossing() })
    }

    fn up(&self, who: (Hop<'_>, SessionRef<'_>), msg: &str) -> String {
        let out = write(|o| {
            assert_eq!(Sip.relay_up(&who.0, &who.1, msg.as_bytes(), o)?, Up::Forward);
            Ok::<_, Fault>(())
        });
        parsed(out)
    }

    fn refused(&self, who: (Hop<'_>, SessionRef<'_>), msg: &str) -> (Fault, Noticed) {
        let mut buf = [0u8; 8192];
        self.noticed.set(Noticed::default());
        let fault = Sip.relay_up(&who.0, &who.1, msg.as_bytes(), &mut portunus_codec::Writer::new(&mut buf));
        (fault.expect_err(msg), self.noticed.get())
    }

    /// What a terminal is sent holds no address of the core's.
    fn down(&self, who: (Hop<'_>, SessionRef<'_>), msg: &str) -> String {
        let out = parsed(write(|o| Sip.relay_down(&who.0, &who.1, msg.as_bytes(), o)));
        for secret in [self.w.core.ip().to_string(), self.w.softswitch.ip().to_string()] {
            assert!(!out.contains(&secret), "{secret} in {out}");
        }
        out
    }

    /// The softswitch passes a request on, as its route says.
    fn switch(&self, msg: &str, uri: Option<&str>, route: Option<&str>, pop: usize) -> String {
        let msg = Message::parse(msg.as_bytes()).unwrap();
        let via =
            format!("SIP/2.0/UDP {};branch=z9hG4bKss.{}", self.w.softswitch, String::from_utf8_lossy(msg.call_id()));
        let record = format!("<sip:{};lr>", self.w.softswitch);
        let forward = Forward {
            uri: uri.map(str::as_bytes),
            via: via.as_bytes(),
            source: self.w.core,
            route: route.map(str::as_bytes),
            pop_routes: pop,
            record_route: msg.method().forms_dialog().then_some(record.as_bytes()),
            asserted: None,
        };
        parsed(write(|o| core::forward_request(&msg, &forward, o)))
    }

    fn answer(&self, msg: &str) -> String {
        parsed(write(|o| core::forward_response(&Message::parse(msg.as_bytes()).unwrap(), o)))
    }

    fn token(&self, user: &str) -> String {
        format!("<sip:{user}%40example.test@{};lr>", self.w.core)
    }
}

fn parsed(octets: Vec<u8>) -> String {
    Message::parse(&octets).unwrap_or_else(|f| panic!("{f:?} in {}", String::from_utf8_lossy(&octets)));
    String::from_utf8(octets).unwrap()
}

fn values(msg: &str, name: Name) -> Vec<String> {
    let view = Message::parse(msg.as_bytes()).unwrap();
    view.items(name).map(|v| String::from_utf8(v.to_vec()).unwrap()).collect()
}

fn uri_of(msg: &str, name: Name) -> String {
    values(msg, name)[0].split(['<', '>']).nth(1).unwrap().to_owned()
}

fn request(method: &str, uri: &str, from: &str, to: &str, lines: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK{method}{from};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{from}@example.test>;tag=f\r\nTo: {to}\r\nCall-ID: call-1\r\n\
         CSeq: 7 {method}\r\n{lines}Content-Length: 0\r\n\r\n"
    )
}

fn response(to: &str, status: &str, lines: &str) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for (name, spelled) in [(Name::Via, "Via"), (Name::RecordRoute, "Record-Route")] {
        for value in values(to, name) {
            out += &format!("{spelled}: {value}\r\n");
        }
    }
    let view = Message::parse(to.as_bytes()).unwrap();
    for (name, spelled) in [(Name::From, "From"), (Name::To, "To"), (Name::CallId, "Call-ID"), (Name::CSeq, "CSeq")] {
        let tag = if name == Name::To && view.to().tag().is_none() { ";tag=t" } else { "" };
        out += &format!("{spelled}: {}{tag}\r\n", std::str::from_utf8(view.value(name).unwrap()).unwrap());
    }
    out + lines + "Content-Length: 0\r\n\r\n"
}

/// A call from alice to bob; gives what each saw: the INVITE at bob's, the 200 at alice's.
fn called(town: &Town) -> (String, String) {
    let lines = "Contact: <sip:alice@10.0.0.7:40000>\r\n";
    let invite = request("INVITE", "sip:bob@example.test", "alice", "<sip:bob@example.test>", lines);
    let up = town.up(town.alice(), &invite);
    assert_eq!(values(&up, Name::RecordRoute), [town.token("alice")]);
    let to_bob = town.token("bob");
    let uri = to_bob.trim_start_matches('<').trim_end_matches(";lr>");
    let rings = town.down(town.bob(), &town.switch(&up, Some(uri), Some(&to_bob), 0));
    let view = Message::parse(rings.as_bytes()).unwrap();
    assert_eq!((view.uri(), view.vias().count(), view.items(Name::RecordRoute).count()), (BOB.as_bytes(), 1, 1));
    assert!(!rings.contains("10.0.0.7"), "nor does bob learn where alice is: {rings}");
    let ok = response(&rings, "200 OK", &format!("Contact: <{BOB}>;+sip.instance=\"<urn:uuid:1>\"\r\n"));
    let ok_up = town.up(town.bob(), &ok);
    let routes = [town.token("bob"), format!("<sip:{};lr>", town.w.softswitch), town.token("alice")];
    assert_eq!(values(&ok_up, Name::RecordRoute), routes, "the core sees its own");
    assert_eq!(values(&ok_up, Name::Via).len(), 3);
    assert!(ok_up.contains(&format!("Contact: <{BOB}>;+sip")));
    let answered = town.down(town.alice(), &town.answer(&ok_up));
    assert_eq!(values(&answered, Name::Via).len(), 1);
    assert!(answered.contains(">;+sip.instance=\"<urn:uuid:1>\""));
    (rings, answered)
}

#[test]
fn a_call_shows_no_terminal_anything_of_the_core_and_its_dialog_works_both_ways() {
    for w in [World::v4(), World { transport: Transport::Tcp, ..World::v4() }] {
        let town = Town::new(w);
        let (rings, answered) = called(&town);
        // Alice's ACK takes the way that the 200 had hidden.
        let route = format!("Route: {}\r\n", values(&answered, Name::RecordRoute)[0]);
        let target = uri_of(&answered, Name::Contact);
        let ack = town.up(town.alice(), &request("ACK", &target, "alice", "<sip:bob@example.test>;tag=t", &route));
        assert!(ack.starts_with(&format!("ACK {BOB} SIP/2.0\r\n")), "{ack}");
        let softswitch = format!("<sip:{};lr>", town.w.softswitch);
        assert_eq!(values(&ack, Name::Route), [softswitch.clone(), town.token("bob")]);
        let ack = town.down(town.bob(), &town.switch(&ack, None, None, 1));
        assert!(ack.starts_with(&format!("ACK {BOB} SIP/2.0\r\n")) && values(&ack, Name::Route).is_empty(), "{ack}");
        // Bob hangs up.
        let route = format!("Route: {}\r\n", values(&rings, Name::RecordRoute)[0]);
        let target = uri_of(&rings, Name::Contact);
        let bye = town.up(town.bob(), &request("BYE", &target, "bob", "<sip:alice@example.test>;tag=f", &route));
        assert!(bye.starts_with("BYE sip:alice@10.0.0.7:40000 SIP/2.0\r\n"), "{bye}");
        assert_eq!(values(&bye, Name::Route), [softswitch, town.token("alice")]);
        let bye = town.down(town.alice(), &town.switch(&bye, None, None, 1));
        assert!(bye.starts_with("BYE sip:alice@10.0.0.7:40000 SIP/2.0\r\n"), "{bye}");
        let back = town.down(town.bob(), &town.answer(&town.up(town.alice(), &response(&bye, "200 OK", ""))));
        assert_eq!(values(&back, Name::Via).len(), 1);
        assert_eq!(town.noticed.get(), Noticed::default());
    }
}

/// What stands before a terminal on its own side (an agent, a private exchange) records itself too.
#[test]
fn what_a_terminals_own_side_recorded_stays_where_it_was() {
    let town = Town::new(World::v4());
    let lines = "Record-Route: <sip:10.0.0.1:5062;lr>\r\nContact: <sip:alice@10.0.0.7>\r\n";
    let invite = request("INVITE", "sip:bob@example.test", "alice", "<sip:bob@example.test>", lines);
    let up = town.up(town.alice(), &invite);
    let down = town.down(town.alice(), &response(&up, "200 OK", "Contact: <sip:bob@198.51.100.77>\r\n"));
    let routes = values(&down, Name::RecordRoute);
    assert!(routes.len() == 2 && routes[0].starts_with("<sip:pkd~") && routes[1] == "<sip:10.0.0.1:5062;lr>");
    assert!(!down.contains("198.51.100.77"), "a gateway's Contact: {down}");
    // The same before a called terminal: its Record-Route stands above the proxy's.
    let (rings, _) = called(&town);
    let ok = response(&rings, "200 OK", &format!("Contact: <{BOB}>\r\n"));
    let ok = ok.replacen("Record-Route: ", "Record-Route: <sip:10.0.0.2;lr>, ", 1);
    let routes = values(&town.up(town.bob(), &ok), Name::RecordRoute);
    assert_eq!((routes.len(), &routes[0][..], &routes[1]), (4, "<sip:10.0.0.2;lr>", &town.token("bob")));
}

#[test]
fn a_transfer_leads_to_the_third_party_without_naming_it() {
    let town = Town::new(World::v4());
    let (rings, answered) = called(&town);
    // Bob sends alice to the target that he knows as alice's, with a dialog to replace.
    let refer = format!("Refer-To: <{}?Replaces=a%3Bto-tag%3Db>\r\n", uri_of(&rings, Name::Contact));
    let refer = request("REFER", "sip:alice@example.test", "bob", "<sip:alice@example.test>", &refer);
    let up = town.up(town.bob(), &refer);
    assert_eq!(uri_of(&up, Name::ReferTo), "sip:alice@10.0.0.7:40000?Replaces=a%3Bto-tag%3Db");
    let down = town.down(town.alice(), &town.switch(&up, None, None, 0));
    let target = uri_of(&down, Name::ReferTo);
    assert!(target.starts_with("sip:pkd~") && target.ends_with("?Replaces=a%3Bto-tag%3Db"), "{target}");
    // What was hidden for bob is of no use to alice, nor the other way round.
    let mine = uri_of(&answered, Name::Contact);
    for (who, foreign) in [(town.alice(), uri_of(&rings, Name::Contact)), (town.bob(), mine)] {
        let name = if who.1.idc == town.w.idc { "alice" } else { "bob" };
        let (fault, noticed) =
            town.refused(who, &request("OPTIONS", &foreign, name, "<sip:bob@example.test>;tag=t", ""));
        assert_eq!((fault.kind, fault.what, noticed.forged), (FaultKind::Forbidden, "Request-URI", true));
    }
}

#[test]
fn what_was_altered_is_refused_wherever_it_comes_back() {
    let town = Town::new(World::v4());
    let (rings, answered) = called(&town);
    let flip = |text: &str, at: usize| {
        let mut octets = text.as_bytes().to_vec();
        octets[at] = if octets[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(octets).unwrap()
    };
    let begins = |text: &str, what: &str| text.find(what).unwrap() + what.len();
    let end = |text: &str, from: usize| text[from..].find(['@', ';', '\r']).unwrap() + from;
    let (contact, route) = (uri_of(&answered, Name::Contact), values(&answered, Name::RecordRoute)[0].clone());
    let request = |uri: &str, lines: &str| request("BYE", uri, "alice", "<sip:bob@example.test>;tag=t", lines);
    for at in begins(&contact, "pkd~")..end(&contact, begins(&contact, "pkd~")) {
        let (fault, noticed) = town.refused(town.alice(), &request(&flip(&contact, at), ""));
        assert!(fault.what == "Request-URI" && noticed.forged, "character {at}: {fault:?}");
    }
    for at in begins(&route, "pkd~")..end(&route, begins(&route, "pkd~")) {
        let (fault, noticed) =
            town.refused(town.alice(), &request(&contact, &format!("Route: {}\r\n", flip(&route, at))));
        assert!(fault.what == "Route" && noticed.forged, "character {at}: {fault:?}");
    }
    // One for another use is no better than none.
    let swapped = contact.replace("sip:", "<sip:") + ";lr>";
    assert!(town.refused(town.alice(), &request(&contact, &format!("Route: {swapped}\r\n"))).1.forged);
    let ok = response(&rings, "200 OK", &format!("Contact: <{BOB}>\r\n"));
    for name in [Name::Via, Name::RecordRoute] {
        let value = &values(&ok, name)[0];
        let from = begins(value, if name == Name::Via { ";pkd=" } else { "pkd~" });
        for at in (from..end(&format!("{value}\r"), from)).step_by(7) {
            let (fault, noticed) = town.refused(town.bob(), &ok.replacen(value, &flip(value, at), 1));
            assert!(fault.what == name.as_str() && noticed.forged, "{name:?}, character {at}: {fault:?}");
        }
    }
    // A Via without what it hid, or with another's, is an answer to nothing.
    let (via, hidden) = (values(&ok, Name::Via)[0].clone(), begins(&ok, ";pkd="));
    let bare = ok.replacen(&ok[hidden - 5..end(&ok, hidden)], "", 1);
    assert_eq!(town.refused(town.bob(), &bare).0.what, "Via", "{via}");
    let other = request("sip:bob@example.test", "").replace("call-1", "call-2");
    let other = town.down(town.bob(), &town.switch(&other, None, None, 0));
    let crossed = ok.replacen(
        &ok[hidden..end(&ok, hidden)],
        &other[begins(&other, ";pkd=")..end(&other, begins(&other, ";pkd="))],
        1,
    );
    assert_eq!(town.refused(town.bob(), &crossed).0.what, "Via");
}

#[test]
fn a_terminal_chooses_no_way_through_the_core() {
    let town = Town::new(World::v4());
    let of = |lines: &str| {
        town.noticed.set(Noticed::default());
        let invite = request("INVITE", "sip:bob@example.test", "alice", "<sip:bob@example.test>", lines);
        (values(&town.up(town.alice(), &invite), Name::Route), town.noticed.get().routed)
    };
    let proxy = format!("<sip:{};lr>", town.w.access);
    assert_eq!(of(&format!("Route: {proxy}\r\n")), (vec![], false), "its outbound proxy");
    assert_eq!(of(&format!("Route: {proxy}, <sip:198.51.100.9;lr>\r\n")), (vec![], true));
    assert_eq!(of("Route: <sip:198.51.100.9;lr>\r\n"), (vec![], true));
}

#[test]
fn fields_end_at_the_border_in_both_directions() {
    let town = Town::new(World::v4());
    let stripped = || town.noticed.replace(Noticed::default()).stripped;
    let lines = "p-preferred-identity: <sip:ceo@example.test>\r\nX-PKD-Key: 1\r\n\
        Proxy-Authorization: Digest username=\"x\", realm=\"elsewhere\", nonce=\"n\", uri=\"sip:x\", response=\"r\"\r\n\
        Subject: kept\r\n";
    let message = request("MESSAGE", "sip:bob@example.test", "alice", "<sip:bob@example.test>", lines);
    let up = town.up(town.alice(), &message);
    assert!(!up.contains("ceo") && !up.contains("X-PKD") && !up.contains("elsewhere") && up.contains("Subject: kept"));
    assert!(stripped());
    // A stock phone proves itself to the domain, and to nobody else.
    let (hop, session) = town.alice();
    let stock = SessionRef { keyed: false, ..session };
    assert!(!town.up((hop, stock), &message).contains("elsewhere"));
    let ours = message.replace("elsewhere", "example.test");
    assert!(town.up((hop, stock), &ours).contains("Proxy-Authorization: Digest username"));
    assert!(!town.up(town.alice(), &ours).contains("Proxy-Authorization"));
    // What only the core may assert is refused, as ever.
    let forged = message.replace("Subject: kept", "P-Asserted-Identity: <sip:ceo@example.test>");
    assert_eq!(town.refused(town.alice(), &forged).0.what, "P-Asserted-Identity");
    let answer =
        response(&up, "404 Not Found", "Server: kamailio\r\nWarning: 392 198.51.100.2:5060 \"x\"\r\nSubject: y\r\n");
    town.noticed.set(Noticed::default());
    let down = town.down(town.alice(), &answer);
    assert!(!down.contains("kamailio") && down.contains("Subject: y"));
    assert!(stripped());
}

/// What was hidden is shown whatever the rules say now.
#[test]
fn dialogs_outlive_a_reload_that_no_longer_hides() {
    let mut town = Town::new(World::v4());
    let (rings, answered) = called(&town);
    town.border.rules = Rules::OPEN;
    let route = format!("Route: {}\r\n", values(&answered, Name::RecordRoute)[0]);
    let target = uri_of(&answered, Name::Contact);
    let ack = town.up(town.alice(), &request("ACK", &target, "alice", "<sip:bob@example.test>;tag=t", &route));
    assert_eq!(values(&ack, Name::Route).len(), 2);
    let ok = town.up(town.bob(), &response(&rings, "200 OK", &format!("Contact: <{BOB}>\r\n")));
    assert_eq!((values(&ok, Name::Via).len(), values(&ok, Name::RecordRoute).len()), (3, 3));
    // A stock phone's answer finds its session by the handle, hidden Vias or not.
    let ok = response(&rings, "200 OK", "");
    assert!(matches!(Sip.read_terminal(ok.as_bytes()), Ok(FromTerminal::Response { ticket: Some(_) })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever Vias and routes the core has, it gets them back as they were.
    #[test]
    fn every_list_of_the_cores_comes_back(
        vias in proptest::collection::vec("198\\.51\\.100\\.[0-9]{1,2}:[1-9][0-9]{2,3};branch=z9hG4bK[a-z0-9.]{1,20}", 1..5),
        routes in proptest::collection::vec("198\\.51\\.100\\.[0-9]{1,2}(;transport=tcp)?;lr(;x=[a-z]{1,9})?", 0..5),
        apart in any::<bool>(),
    ) {
        let town = Town::new(World::v4());
        let line = |name: &str, all: Vec<String>| match (apart, all.len()) {
            (_, 0) => String::new(),
            (true, _) => all.iter().map(|v| format!("{name}: {v}\r\n")).collect(),
            (false, _) => format!("{name}: {}\r\n", all.join(" ,\r\n\t")),
        };
        let vias: Vec<_> = vias.iter().map(|v| format!("SIP/2.0/UDP {v}")).collect();
        let routes: Vec<_> = routes.iter().map(|r| format!("<sip:{r}>")).collect();
        let invite = request("INVITE", "sip:bob@192.168.7.7", "carol", "<sip:bob@example.test>", "Contact: <sip:c@198.51.100.3>\r\n");
        let top = format!("{}{}", line("Via", vias.clone()), line("Record-Route", routes.clone()));
        let invite = invite.replacen("Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bKINVITEcarol;rport\r\n", &top, 1);
        let down = town.down(town.bob(), &invite);
        prop_assert!(!down.contains("198.51.100"), "{}", down);
        let again = town.down(town.bob(), &invite);
        prop_assert_eq!(&down, &again, "a retransmission is one");
        let up = town.up(town.bob(), &response(&down, "200 OK", ""));
        prop_assert_eq!(values(&up, Name::Via), vias);
        let recorded = values(&up, Name::RecordRoute);
        prop_assert_eq!(&recorded[1..], &routes[..]);
        prop_assert_eq!(&recorded[0], &town.token("bob"));
        let target = uri_of(&down, Name::Contact);
        prop_assert!(Uri::parse(target.as_bytes()).is_some());
        let route = format!("Route: {}\r\n", values(&down, Name::RecordRoute)[0]);
        let bye = town.up(town.bob(), &request("BYE", &target, "bob", "<sip:carol@example.test>;tag=f", &route));
        prop_assert_eq!(values(&bye, Name::Route), routes);
        prop_assert!(bye.starts_with("BYE sip:c@198.51.100.3 SIP/2.0\r\n"));
    }
}
