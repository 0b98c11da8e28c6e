//! The same in the protocols with lanes: a gateway or endpoint that registers by another lane is audited there, and is
//! where it was until it answers or speaks.

use super::call;
use super::common::{Bench, config, peer, vector};
use core::net::SocketAddr;
use portunus_aaa::AaaAnswer;
use portunus_codec::Writer;
use portunus_h323::view::{Element, Kind, Message};
use portunus_h323::write::{self, Endpoint, Registering, Tok};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::params::Quoted;
use portunus_keydist::steps::{Registration, S2, S8};
use portunus_signalling::Protocol;
use portunus_softswitch::Peer;

/// Who registers; in RAS also somebody whom SIP knows.
const GW: &str = "gw1.example.test";
const ALICE: &str = "alice@example.test";
/// What a gateway or endpoint, and the proxy before it, say in a protocol with lanes.
struct Dialect {
    protocol: Protocol,
    scheme: &'static str,
    /// s2 and s8 of an identity through a proxy; `id` is the transaction's.
    s2: fn(id: u16, idc: &str, idsp: &str) -> Vec<u8>,
    s8: fn(id: u16, idc: &str, idsp: &str, n: u8) -> Vec<u8>,
    /// The terminal's answer to a message, should it be an audit.
    answer: fn(&str, &[u8]) -> Option<Vec<u8>>,
    /// What the proxy says to a message while no session of the terminal's is active, if it says anything.
    proxy: fn(&[u8]) -> Option<Vec<u8>>,
    /// A request of the terminal's, which is answered.
    own: fn(id: u16, idc: &str) -> Vec<u8>,
}

fn n1a() -> N1 {
    N1::from_bits(0xaa)
}

fn octets<E: core::fmt::Debug>(f: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Vec<u8> {
    let mut room = [0; 4096];
    let mut w = Writer::new(&mut room);
    f(&mut w).unwrap();
    w.written().to_vec()
}

fn text(f: impl FnOnce(&mut Writer<'_>)) -> String {
    let written = octets(|w| {
        f(w);
        Ok::<_, ()>(())
    });
    String::from_utf8(written).unwrap()
}

fn services(idc: &str, idsp: &str) -> String {
    let s2 = S2 { idc: Idc::new(idc).unwrap(), idsp: Idsp::new(idsp).unwrap(), n1: n1a() };
    text(|w| s2.write_services(w))
}

fn word(idc: &str, idsp: &str, n: u8) -> String {
    let (idc, idsp) = (Idc::new(idc).unwrap(), Idsp::new(idsp).unwrap());
    let s8 = S8 { idc, idsp, rand: [n; 16], auth_c: [n; 32], ipc: "203.0.113.7:2427".parse().unwrap() };
    text(|w| Quoted::new(w).s8(&s8))
}

fn utf8(message: &[u8]) -> &str {
    core::str::from_utf8(message).unwrap()
}

/// The verb and the transaction of an MGCP command; none of a response.
fn mgcp_command(message: &[u8]) -> Option<(&str, &str)> {
    let mut words = utf8(message).split(' ');
    words.next().zip(words.next()).filter(|(verb, _)| verb.chars().all(|c| c.is_ascii_uppercase()))
}

const MGCP: Dialect = Dialect {
    protocol: Protocol::Mgcp,
    scheme: "mgcp",
    s2: |id, idc, idsp| {
        format!("RSIP {id} *@{idc} MGCP 1.0\r\nRM: restart\r\nX-PKD: {}\r\n", services(idc, idsp)).into()
    },
    s8: |id, idc, idsp, n| {
        format!("NTFY {id} aaln/1@{idc} MGCP 1.0\r\nX: 1\r\nO: x-pkd/resp({})\r\n", word(idc, idsp, n)).into()
    },
    answer: |idc, message| {
        let (_, id) = mgcp_command(message).filter(|(verb, _)| *verb == "AUEP")?;
        Some(format!("200 {id} OK\r\nZ: aaln/1@{idc}\r\n").into())
    },
    proxy: |message| {
        let (verb, id) = mgcp_command(message)?;
        Some(format!("{} {id}\r\n", if verb == "AUEP" { 501 } else { 200 }).into())
    },
    own: |id, idc| format!("NTFY {id} aaln/1@{idc} MGCP 1.0\r\nX: 1\r\nO: L/hu\r\n").into(),
};

/// The transaction of an H.248 request; none of a reply.
fn h248_request(message: &[u8]) -> Option<&str> {
    utf8(message).split_once(" T=")?.1.split('{').next()
}

const H248: Dialect = Dialect {
    protocol: Protocol::H248,
    scheme: "h248",
    s2: |id, idc, idsp| {
        let service = format!("MT=RS,RE=\"901 Cold Boot\",V=2,X-PKD=\"{}\"", services(idc, idsp));
        format!("!/1 <{idc}> T={id}{{C=-{{SC=ROOT{{SV{{{service}}}}}}}}}").into()
    },
    s8: |id, idc, idsp, n| {
        format!("!/2 <{idc}> T={id}{{C=-{{N=ROOT{{OE=1{{portunus/resp{{{}}}}}}}}}}}", word(idc, idsp, n)).into()
    },
    answer: |idc, message| {
        let id = h248_request(message).filter(|_| utf8(message).contains("{AV="))?;
        Some(format!("!/2 <{idc}> P={id}{{C=-{{AV=A1{{PG{{al-1}}}}}}}}").into())
    },
    proxy: |message| {
        let audit = utf8(message).contains("{AV=");
        let reply = if audit { "ER=503{\"Service unavailable\"}" } else { "C=-{MF=ROOT}" };
        Some(format!("!/2 <sp2.example.test> P={}{{{reply}}}", h248_request(message)?).into())
    },
    own: |id, idc| format!("!/2 <{idc}> T={id}{{C=-{{N=ROOT{{OE=2{{it/ito}}}}}}}}").into(),
};

fn described<R>(idc: &str, f: impl FnOnce(&Endpoint<'_>) -> R) -> R {
    let at = |port| SocketAddr::from(([10, 0, 0, 7], port));
    f(&Endpoint { aliases: &[idc], ras: at(1719), signal: at(1720), product: "test" })
}

const RAS: Dialect = Dialect {
    protocol: Protocol::Ras,
    scheme: "ras",
    s2: |id, idc, idsp| {
        let n1 = n1a();
        let elements = [(Element::N1, &n1.as_bytes()[..])];
        let tok =
            Tok { n: 1, time_stamp: 0, challenge: None, general_id: idsp.into(), senders_id: idc, elements: &elements };
        described(idc, |e| octets(|w| write::gatekeeper_request(id, e, Some(&tok), w)))
    },
    s8: |id, idc, idsp, n| {
        let elements = [(Element::AuthC, &[n; 32][..]), (Element::IpC, &b"203.0.113.7:40000"[..])];
        let (challenge, general_id, senders_id) = (Some(&[n; 16][..]), idsp, idc);
        let tok =
            Tok { n: 3, time_stamp: 0, challenge, general_id: general_id.into(), senders_id, elements: &elements };
        described(idc, |e| octets(|w| write::registration_request(id, e, 3_600, &Registering::Full(Some(&tok)), w)))
    },
    answer: |idc, message| {
        let msg = Message::parse(message).ok().filter(|msg| msg.kind() == Kind::InfoRequest)?;
        Some(described(idc, |e| octets(|w| write::info_request_response(msg.seq(), e, "x", false, w))))
    },
    // Silence.
    proxy: |_| None,
    own: |id, idc| described(idc, |e| octets(|w| write::info_request_response(id, e, "x", true, w))),
};

const ALL: [&Dialect; 3] = [&MGCP, &H248, &RAS];

struct World {
    bench: Bench,
    dialect: &'static Dialect,
    idc: &'static str,
    id: u16,
}

/// The lane of the terminal with a proxy, and the port from which that sends s2.
fn lane(sp: u8) -> Peer {
    peer(&format!("192.0.2.{sp}:30001"))
}

fn shared(sp: u8) -> Peer {
    peer(&format!("192.0.2.{sp}:30000"))
}

impl World {
    fn new(dialect: &'static Dialect, idc: &'static str) -> Self {
        let mut config = config();
        config.silent_s = 60;
        Self { bench: Bench::new(config), dialect, idc, id: 40 }
    }

    /// Registered through the first proxy and there; then it registers through the second.
    fn two_places(dialect: &'static Dialect) -> Self {
        let mut w = Self::new(dialect, GW);
        w.registered(1, 1);
        w.bench.pass(400);
        assert_eq!(w.tend(1), 1, "audited");
        w.registered(2, 2);
        let events: Vec<_> = w.bench.records().iter().map(|r| r.event).collect();
        assert_eq!(events, [Registration::Start, Registration::Start]);
        assert_eq!(w.places(), [w.at(1)]);
        w
    }

    fn say(&mut self, from: Peer, message: &[u8]) {
        self.bench.say(self.dialect.protocol, from, message);
    }

    fn id(&mut self) -> u16 {
        self.id += 1;
        self.id
    }

    /// What was sent since the last look.
    fn sent(&mut self) -> Vec<(Peer, Vec<u8>)> {
        let text = core::mem::take(&mut self.bench.sent).into_iter().map(|(to, text)| (to, text.into_bytes()));
        text.chain(core::mem::take(&mut self.bench.octets)).collect()
    }

    /// s2 to s9; the proxy takes what is sent to it.
    fn registered(&mut self, sp: u8, n: u8) {
        let (dialect, idc, idsp) = (self.dialect, self.idc, format!("sp{sp}.example.test"));
        let s2 = (dialect.s2)(self.id(), idc, &idsp);
        self.say(shared(sp), &s2);
        let at = self.bench.asked.len() - 1;
        let (id, _) = self.bench.asked.remove(at);
        self.bench.aaa(id, Ok(AaaAnswer::Vector(vector(n))));
        let s8 = (dialect.s8)(self.id(), idc, &idsp, n);
        self.say(lane(sp), &s8);
        for (to, message) in self.sent() {
            if let Some(answer) = (dialect.proxy)(&message) {
                self.say(to, &answer);
            }
        }
    }

    /// What goes to the terminal through the first proxy reaches it, and through the second too if it `answers` there;
    /// else that answers in its place. How many audits came to the lane of `sp`.
    fn tend_as(&mut self, sp: u8, answers: bool) -> usize {
        let mut audits = 0;
        for (to, message) in self.sent() {
            let own = (self.dialect.answer)(self.idc, &message);
            audits += usize::from(to == lane(sp) && own.is_some());
            let proxy = (self.dialect.proxy)(&message);
            let answer = if to == lane(1) || answers { own.or(proxy) } else { proxy };
            if let Some(answer) = answer {
                self.say(to, &answer);
            }
        }
        audits
    }

    fn tend(&mut self, sp: u8) -> usize {
        self.tend_as(sp, true)
    }

    /// A request of the terminal's through a proxy; true when it is answered as one of somebody who is there.
    fn speaks(&mut self, sp: u8) -> bool {
        let before = self.bench.ss.counters().unreachable;
        let own = (self.dialect.own)(self.id(), self.idc);
        self.say(lane(sp), &own);
        assert!(self.sent().iter().all(|(to, _)| *to == lane(sp)));
        self.bench.ss.counters().unreachable == before
    }

    fn at(&self, sp: u8) -> String {
        format!("{}:192.0.2.{sp}:30001", self.dialect.scheme)
    }

    fn places(&self) -> Vec<String> {
        self.bench.ss.bindings_of(self.bench.now, self.idc)
    }

    /// The proxies whose registrations ended since the last look.
    fn ended(&mut self) -> Vec<String> {
        let records = self.bench.records();
        let stops = records.iter().filter(|r| r.event == Registration::Stop);
        stops.map(|r| r.idsp.to_string()).collect()
    }
}

#[test]
fn a_registration_by_another_lane_that_nobody_confirms_moves_nobody() {
    for dialect in ALL {
        let mut w = World::two_places(dialect);
        let mut audits = 0;
        for _ in 0..100 {
            w.bench.pass(600);
            audits += w.tend_as(2, false);
            assert_eq!(w.places(), [w.at(1)], "{}", dialect.scheme);
        }
        assert!(audits >= 5, "{audits} in {}", dialect.scheme);
        assert_eq!(w.ended(), ["sp2.example.test"]);
        assert_eq!((w.bench.ss.counters().moved, w.bench.ss.gauges().bindings), (0, 1));
        // It is served where it is, and nothing more is said where it is not.
        assert!(w.speaks(1));
        w.bench.pass(60_000);
        assert!(w.sent().iter().all(|(to, _)| *to == lane(1)));
        assert!(!w.speaks(2));
    }
}

#[test]
fn a_terminal_that_answers_by_its_new_lane_is_there() {
    for dialect in ALL {
        let mut w = World::two_places(dialect);
        w.bench.pass(400);
        assert_eq!(w.tend(2), 1);
        assert_eq!((w.places(), w.ended()), (vec![w.at(2)], vec!["sp1.example.test".to_owned()]), "{}", dialect.scheme);
        assert_eq!((w.bench.ss.counters().moved, w.bench.ss.gauges().bindings), (1, 1));
        // It has all the time that it was granted, and keeps it.
        for _ in 0..20 {
            assert!(w.sent().iter().all(|(to, _)| *to == lane(2)));
            assert!(w.speaks(2));
            w.bench.pass(5_000);
        }
        assert_eq!(w.places(), [w.at(2)]);
        w.sent();
        assert!(!w.speaks(1));
    }
}

#[test]
fn a_terminal_that_speaks_by_its_new_lane_is_there() {
    for dialect in ALL {
        let mut w = World::two_places(dialect);
        assert!(w.speaks(1) && w.places() == [w.at(1)]);
        assert!(w.speaks(2) && w.places() == [w.at(2)], "{}", dialect.scheme);
        assert_eq!(w.ended(), ["sp1.example.test"]);
        assert!(!w.speaks(1));
    }
}

#[test]
fn a_lane_that_is_another_terminals_now_is_nobodys_place() {
    for dialect in ALL {
        let mut w = World::two_places(dialect);
        // The second proxy gives the lane to another: only what waited there is over.
        w.idc = "gw2.example.test";
        w.registered(2, 3);
        assert_eq!(w.ended(), ["sp2.example.test"]);
        assert_eq!(w.places(), [w.at(2)]);
        w.idc = GW;
        assert_eq!(w.places(), [w.at(1)]);
        // The first one does: the terminal is nowhere, and where it comes next it is at once.
        w.idc = "gw3.example.test";
        w.registered(1, 4);
        w.idc = GW;
        assert!(w.places().is_empty() && w.ended() == ["sp1.example.test"]);
        w.registered(2, 5);
        assert_eq!(w.places(), [w.at(2)]);
    }
}

#[test]
fn nothing_unconfirmed_moves_a_terminal_from_one_protocol_to_another() {
    let mut w = World::new(&RAS, ALICE);
    w.bench.registered(1, "alice", 1);
    w.registered(2, 2);
    assert!(call(&mut w.bench).contains("192.0.2.1"), "still in SIP");
    assert!(w.speaks(2));
    assert_eq!((w.places(), w.ended()), (vec![w.at(2)], vec!["sp1.example.test".to_owned()]));
    // And back: the proxy vouches for it.
    w.bench.registered(1, "alice", 3);
    assert_eq!(w.places()[0], w.at(2));
    let refresh = w.bench.refresh(1, "alice", "600");
    w.bench.sip(peer(super::SP1), &refresh);
    w.bench.sent.clear();
    assert!(call(&mut w.bench).contains("192.0.2.1"));
    assert_eq!((w.ended(), w.bench.ss.gauges().bindings), (vec!["sp2.example.test".to_owned()], 1));
    w.bench.octets.clear();
    assert!(!w.speaks(2));
}
