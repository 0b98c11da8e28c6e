//! A gateway's whole life on a made-up clock: registered through the proxy's real carriage, and then audited, asked,
//! notifying and restarting inside its session.

use core::net::SocketAddr;
use portunus_channel::sealed::{SEQ_MAX, Sealed};
use portunus_channel::{Flow, Keys, Mechanism as _, Sequence};
use portunus_codec::Writer;
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::mech::{Mech, Sel};
use portunus_keydist::schedule::{For, WrapCtx, message_mac};
use portunus_keydist::steps::{Refusal, S5, S6, S7, S9, S10};
use portunus_keydist::{Key, Now, Random as _, SessionKey, SystemRandom, TrafficCtx};
use portunus_mgcp::Mgcp;
use portunus_mgcp::carriage::core::{self as carriage, Txn};
use portunus_mgcp::view::{Endpoint, Message, Name};
use portunus_signalling::{FromTerminal, Hop, Marks, Own, Protocol, Signalling, Ticket};
use portunus_terminal::mgcp::{Mgcp as Agent, MgcpTerminal};
use portunus_terminal::{Event, MECHS, Path, Profile, Transport, handles};
use std::sync::Arc;

const IDC: &str = "gw1.example.test";
const IDSP: &str = "sp1.example.test";
const RAND: [u8; 16] = *b"0123456789abcdef";

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn kc() -> Key {
    Key::new([0x11; 32])
}

fn idc() -> Idc<'static> {
    Idc::new(IDC).unwrap()
}

fn idsp() -> Idsp<'static> {
    Idsp::new(IDSP).unwrap()
}

/// A proxy without checks, with one session at a time.
struct World {
    now: Now,
    rng: SystemRandom,
    terminal: MgcpTerminal,
    /// What the gateway sent in the clear, and inside its session.
    clear: Vec<String>,
    inside: Vec<String>,
    events: Vec<Event>,
    n1a: Option<N1>,
    kid: u64,
    session: Option<(Keys, Sequence)>,
    /// What the proxy does with an s1 and an s7.
    refuse: Option<Refusal>,
    lose: usize,
}

impl World {
    fn new(endpoints: u16) -> Self {
        let mut rng = SystemRandom::new();
        let profile = Profile::new(addr(2727), Transport::Udp, IDSP, "example.test", MECHS).unwrap();
        let profile = Arc::new(profile.speaking(Protocol::Mgcp));
        let agent = Agent::new(1, &mut rng).with_endpoints(endpoints);
        let terminal = MgcpTerminal::with(agent, profile, IDC, &kc(), addr(2427), 1).unwrap();
        let now = Now { mono_ms: 1_000, wall_ms: 1_800_000_000_000 };
        Self {
            now,
            rng,
            terminal,
            clear: vec![],
            inside: vec![],
            events: vec![],
            n1a: None,
            kid: 1 << 32,
            session: None,
            refuse: None,
            lose: 0,
        }
    }

    fn registered(endpoints: u16) -> Self {
        let mut w = Self::new(endpoints);
        w.terminal.start(w.now, &mut w.rng);
        w.settle();
        assert!(w.terminal.is_active(), "{:?}", w.events);
        w.events.clear();
        w
    }

    fn settle(&mut self) {
        loop {
            while let Some(event) = self.terminal.poll_event() {
                self.events.push(event);
            }
            let Some(mut out) = self.terminal.poll_transmit() else { return };
            match out.path {
                _ if self.lose > 0 => self.lose -= 1,
                Path::Signalling => {
                    assert_eq!(out.to, addr(2727));
                    self.on_clear(&out.octets);
                }
                Path::Sealed => self.on_sealed(&mut out.octets),
                Path::Secured { .. } => unreachable!("no session of tls"),
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        while let Some((due, _)) = self.terminal.next_deadline().filter(|(due, _)| *due <= until) {
            let gone = due.saturating_sub(self.now.mono_ms);
            self.now = Now { mono_ms: self.now.mono_ms + gone, wall_ms: self.now.wall_ms + gone };
            self.terminal.on_timer(self.now, &mut self.rng);
            self.settle();
        }
        self.now = Now { mono_ms: until, wall_ms: self.now.wall_ms + ms };
    }

    fn down(&mut self, mut octets: Vec<u8>) {
        self.terminal.on_datagram(self.now, &mut self.rng, addr(2727), &mut octets);
    }

    fn on_clear(&mut self, octets: &[u8]) {
        self.clear.push(String::from_utf8(octets.to_vec()).unwrap());
        let own = Own { idsp: idsp(), realm: "example.test", access: addr(2727), core: addr(2427) };
        let hop = Hop {
            own,
            source: addr(2427),
            transport: Transport::Udp,
            ticket: Ticket(0),
            salt: self.rng.next_u64(),
            marks: &Marks::NONE,
        };
        let mut buf = [0u8; 2048];
        let mut w = Writer::new(&mut buf);
        let read = Mgcp.read_terminal(octets).unwrap();
        let n1 = match &read {
            FromTerminal::S1(s1) => s1.n1,
            FromTerminal::S7(s7) => s7.n1,
            _ => return,
        };
        Mgcp.acknowledge(&hop, octets, &mut w);
        self.down(w.written().to_vec());
        w.truncate(0);
        if let Some(refusal) = self.refuse {
            Mgcp.write_refusal(&hop, octets, &refusal, Some(&n1), &mut w).unwrap();
            return self.down(w.written().to_vec());
        }
        match read {
            FromTerminal::S1(s1) => {
                self.n1a = Some(s1.n1);
                let s6 = S6 { idsp: idsp(), n1: s1.n1, n2: b"token", ts: self.now.wall_ms, rand: RAND };
                Mgcp.write_s6(&hop, octets, &core_msg(None), &s6, &mut w).unwrap();
            }
            FromTerminal::S7(s7) => self.grant(&hop, octets, &s7, &mut w),
            _ => {}
        }
        self.down(w.written().to_vec());
    }

    fn grant(&mut self, hop: &Hop<'_>, octets: &[u8], s7: &S7<'_>, w: &mut Writer<'_>) {
        assert_eq!(s7.auth_c, kc().prk().word(idc(), idsp(), &RAND));
        let n1a = self.n1a.unwrap();
        let ctx = WrapCtx { idc: idc(), idsp: idsp(), rand: &RAND, n1a: &n1a };
        let key = SessionKey::new([0x33; 32]);
        let s9 = S9 { ekc: kc().prk().wrap(For::Terminal, &ctx, &key), eksp: [0; 48] };
        let secret = key.secret(&RAND);
        self.kid += 1;
        let (sel, n2) = (Sel::sealed(self.kid, 5065), N1::from_bits(self.rng.next_u64()));
        let (ts, mechs) = (self.now.wall_ms, s7.mechs.as_str());
        let s10 = S10 { idsp: idsp(), n1: s7.n1, n2, ts, life: 3600, ekc: s9.ekc, sel: sel.as_str(), mechs };
        let field = Mgcp.write_s10(hop, octets, &core_msg(Some(&s9)), &s10, w).unwrap();
        let mac = message_mac(&secret.mac_key(), w.written(), field.clone(), Mgcp.mac_placeholder()).unwrap();
        Mgcp.put_mac(&mut w.written_mut()[field], &mac);
        let token = Mech::Sealed.token();
        let ctx = TrafficCtx { idc: idc(), idsp: idsp(), n1b: &s7.n1, n2b: &n2, token };
        self.session = Some((Sealed.derive(&secret, &ctx), Sequence::new()));
    }

    fn on_sealed(&mut self, octets: &mut [u8]) {
        assert!(handles(octets).any(|handle| handle == self.kid));
        let (Some((keys, _)), flow) = (&self.session, Flow::plain(self.kid, Protocol::Mgcp as u8)) else { return };
        let content = Sealed.open(&keys.c2s, &flow, octets).unwrap().content.to_vec();
        match content.is_empty() {
            true => self.seal(b""),
            false => self.inside.push(String::from_utf8(content).unwrap()),
        }
    }

    fn seal(&mut self, text: &[u8]) {
        let (keys, seq) = self.session.as_mut().unwrap();
        let mut out = vec![0u8; Sealed.sealed_len(text.len())];
        let (seq, flow) = (seq.take(SEQ_MAX).unwrap(), Flow::plain(self.kid, Protocol::Mgcp as u8));
        Sealed.seal(&keys.s2c, &flow, seq, text, &mut Writer::new(&mut out)).unwrap();
        self.down(out);
    }

    /// The call agent says this inside the session; what the gateway says then.
    fn core(&mut self, text: &str) -> Vec<String> {
        self.seal(text.as_bytes());
        self.settle();
        core::mem::take(&mut self.inside)
    }
}

/// s5 or s9, for its request identifier.
fn core_msg(s9: Option<&S9>) -> Vec<u8> {
    let mut buf = [0u8; 1024];
    let mut w = Writer::new(&mut buf);
    let t = Txn { transaction: 5, endpoint: Endpoint { local: b"aaln/1", domain: IDC.as_bytes() }, x: b"abc" };
    match s9 {
        Some(s9) => carriage::write_s9(&t, idsp(), &RAND, s9, &mut w).unwrap(),
        None => {
            let s5 = S5 { idc: idc(), idsp: idsp(), rand: RAND };
            carriage::write_s5(&t, &s5, &N1::from_bits(1), &mut w).unwrap();
        }
    }
    w.written().to_vec()
}

fn transaction(text: &str) -> u32 {
    Message::alone(text.as_bytes()).unwrap().transaction()
}

#[test]
fn a_gateway_registers_under_the_challenges_names() {
    let w = World::registered(2);
    assert!(
        w.clear[0].starts_with("RSIP ")
            && w.clear[0].contains(" *@gw1.example.test MGCP 1.0\r\nRM: restart\r\nX-PKD: v=1;")
    );
    let s7 = w.clear.iter().find(|m| m.starts_with("NTFY ")).unwrap();
    assert!(s7.contains(" aaln/1@gw1.example.test ") && s7.contains("\r\nX: abc\r\nO: x-pkd/resp(n1="), "{s7}");
    // Every command of the proxy's is received: s6 and s10.
    assert_eq!(w.clear.iter().filter(|m| m.starts_with("200 ")).count(), 2);
    assert!(w.inside.is_empty());
}

#[test]
fn audits_requests_and_notifications() {
    let mut w = World::registered(2);
    assert_eq!(
        w.core(&format!("AUEP 7001 *@{IDC} MGCP 1.0\r\n")),
        [format!("200 7001 OK\r\nZ: aaln/1@{IDC}\r\nZ: aaln/2@{IDC}\r\n")]
    );
    assert_eq!(w.terminal.hook(w.now, &mut w.rng, "aaln/2", true), None, "nobody asked");
    w.terminal.hook(w.now, &mut w.rng, "aaln/2", false);
    let rqnt = format!("RQNT 7002 aaln/2@{IDC} MGCP 1.0\r\nN: ca@ca1.example.test:2727\r\nX: 1b\r\nR: L/hd(N)\r\n");
    assert_eq!(w.core(&rqnt), ["200 7002 OK\r\n"]);
    // At most once: the same again gets the same answer, though the endpoint was asked something else since.
    let other = rqnt.replace("7002", "7003").replace("1b", "1c").replace("hd", "hu");
    assert_eq!(w.core(&other), ["200 7003 OK\r\n"]);
    assert_eq!(w.core(&rqnt), ["200 7002 OK\r\n"]);
    let audit = format!("AUEP 7004 aaln/2@{IDC} MGCP 1.0\r\nF: R, X,ES,N\r\n");
    assert_eq!(w.core(&audit), ["200 7004 OK\r\nR: L/hu(N)\r\nX: 1c\r\nES: L/hu\r\nN: ca@ca1.example.test:2727\r\n"]);
    assert_eq!(w.core(&rqnt.replace("7002", "7005")), ["200 7005 OK\r\n"]);
    let id = w.terminal.hook(w.now, &mut w.rng, "aaln/2", true).unwrap();
    w.settle();
    let ntfy = w.inside.pop().unwrap();
    assert!(
        ntfy.ends_with(" aaln/2@gw1.example.test MGCP 1.0\r\nN: ca@ca1.example.test:2727\r\nX: 1b\r\nO: L/hd\r\n"),
        "{ntfy}"
    );
    // Repeated until it is answered.
    w.pass(600);
    assert_eq!((w.inside.len(), &w.inside[0]), (1, &ntfy));
    w.inside.clear();
    w.events.clear();
    let tone = format!(
        "200 {} OK\r\n.\r\nRQNT 7006 aaln/2@{IDC} MGCP 1.0\r\nX: 2\r\nR: L/hu(N)\r\nS: L/dl\r\n",
        transaction(&ntfy)
    );
    assert_eq!(w.core(&tone), ["200 7006 OK\r\n"]);
    w.pass(5_000);
    assert!(w.inside.is_empty());
    assert!(w.events.contains(&Event::Response { id, status: 200 }));
    let heard = |e: &Event| matches!(e, Event::Request { method, body, status: 200, .. } if method == "RQNT" && body == b"L/dl");
    assert!(w.events.iter().any(heard), "{:?}", w.events);
}

#[test]
fn what_a_gateway_does_not_do_gets_its_code() {
    let mut w = World::registered(2);
    for (command, expected) in [
        (format!("AUEP 1 aaln/3@{IDC} MGCP 1.0\r\n"), "500 1 Endpoint unknown\r\n"),
        ("AUEP 2 *@gw2 MGCP 1.0\r\n".to_owned(), "500 2 Endpoint unknown\r\n"),
        (format!("CRCX 3 aaln/1@{IDC} MGCP 1.0\r\nC: 1\r\nM: recvonly\r\n"), "504 3 Unknown command\r\n"),
        (format!("DLCX 4 aaln/1@{IDC} MGCP 1.0\r\n"), "515 4 Error\r\n"),
        (format!("RQNT 5 aaln/1@{IDC} MGCP 1.0\r\nR: L/hd\r\n"), "510 5 Protocol error\r\n"),
        (format!("RQNT 6 aaln/1@{IDC} MGCP 1.0\r\nX: 1\r\nR: foo/hd\r\n"), "518 6 Unsupported package\r\n"),
        (format!("RQNT 7 aaln/1@{IDC} MGCP 1.0\r\nX: 1\r\nS: L/zz\r\n"), "522 7 No such event or signal\r\n"),
        (format!("RQNT 8 aaln/1@{IDC} MGCP 1.0\r\nX: 1\r\nX+FOO: 1\r\n"), "511 8 Unrecognized extension\r\n"),
        (format!("RQNT 9 aaln/1@{IDC} MGCP 2.0\r\nX: 1\r\n"), "528 9 Incompatible protocol version\r\n"),
        (
            format!("RQNT 10 aaln/1@{IDC} MGCP 1.0\r\nX: 1\r\nS: x-pkd/fail(cause=\"denied\")\r\n"),
            "518 10 Unsupported package\r\n",
        ),
        (format!("FUNY 11 aaln/1@{IDC} MGCP 1.0\r\n"), "504 11 Unknown command\r\n"),
    ] {
        assert_eq!(w.core(&command), [expected], "{command}");
    }
    assert!(w.core("hello").is_empty() && w.core("200 4711 OK\r\n").is_empty());
    assert_eq!(w.core("200 4712 OK\r\nK:\r\n"), ["000 4712\r\n"]);
    // Outside the session nothing of it is obeyed, and nobody is answered.
    w.down(format!("AUEP 12 *@{IDC} MGCP 1.0\r\n").into_bytes());
    w.down(format!("RQNT 13 aaln/1@{IDC} MGCP 1.0\r\nX: 1\r\nR: L/hd(N)\r\n").into_bytes());
    w.clear.clear();
    w.settle();
    assert!(w.clear.is_empty() && w.inside.is_empty());
}

#[test]
fn hundreds_of_endpoints_behind_one_terminal() {
    let mut w = World::registered(240);
    let names = w.core(&format!("AUEP 1 *@{IDC} MGCP 1.0\r\n")).remove(0);
    assert_eq!(
        Message::alone(names.as_bytes()).unwrap().lines().filter(|l| l.name == Name::SpecificEndpoint).count(),
        240
    );
    assert_eq!(w.core(&format!("RQNT 2 *@{IDC} MGCP 1.0\r\nX: 7\r\nR: hd\r\n")), ["200 2 OK\r\n"]);
    assert!(w.terminal.hook(w.now, &mut w.rng, "aaln/163", true).is_some());
    assert!(w.terminal.hook(w.now, &mut w.rng, "aaln/241", true).is_none());
    w.settle();
    assert!(w.inside[0].contains(" aaln/163@") && w.inside[0].contains("\r\nX: 7\r\nO: L/hd\r\n"));
    // One whose names do not fit says so.
    let mut w = World::registered(1000);
    assert_eq!(w.core(&format!("AUEP 1 *@{IDC} MGCP 1.0\r\n")), ["533 1 Response too large\r\n"]);
}

#[test]
fn restarts_and_the_end() {
    let mut w = World::registered(2);
    let id = w.terminal.restart(w.now, &mut w.rng, "aaln/2", "graceful", Some(300)).unwrap();
    w.settle();
    let rsip = w.inside.remove(0);
    assert!(rsip.ends_with(" aaln/2@gw1.example.test MGCP 1.0\r\nRM: graceful\r\nRD: 300\r\n"));
    w.core(&format!("200 {} OK\r\n", transaction(&rsip)));
    assert!(w.events.contains(&Event::Response { id, status: 200 }));
    w.terminal.deregister(w.now, &mut w.rng);
    w.settle();
    let rsip = w.inside.remove(0);
    assert!(rsip.ends_with(" *@gw1.example.test MGCP 1.0\r\nRM: forced\r\n"));
    w.core(&format!("200 {} OK\r\n", transaction(&rsip)));
    assert!(w.events.contains(&Event::Deregistered) && !w.terminal.is_active());
    w.pass(100_000);
    assert!(w.inside.is_empty());
}

#[test]
fn whoever_is_forgotten_registers_anew() {
    let mut w = World::registered(2);
    let id = w.terminal.probe(w.now, &mut w.rng).unwrap();
    w.settle();
    let ntfy = w.inside.remove(0);
    w.clear.clear();
    w.core(&format!("500 {} Endpoint unknown\r\n", transaction(&ntfy)));
    assert!(w.events.contains(&Event::Response { id, status: 500 }));
    w.settle();
    let s1 = w.clear.iter().find(|m| m.starts_with("RSIP ")).expect("s1");
    // Its endpoints were never out of service.
    assert!(s1.contains("RM: disconnected\r\n"), "{s1}");
    assert!(w.terminal.is_active());
}

#[test]
fn losses_and_refusals() {
    let mut w = World::new(2);
    w.lose = 2;
    w.terminal.start(w.now, &mut w.rng);
    w.settle();
    w.pass(4_000);
    assert!(w.terminal.is_active());
    for refusal in [Refusal::Denied, Refusal::Mechanism, Refusal::Busy { retry_after_s: 4 }, Refusal::Malformed] {
        let mut w = World::new(2);
        w.refuse = Some(refusal);
        w.terminal.start(w.now, &mut w.rng);
        w.settle();
        let failed = |e: &Event| matches!(e, Event::Failed { .. });
        assert!(w.events.iter().any(failed), "{refusal:?}: {:?}", w.events);
        w.refuse = None;
        w.pass(120_000);
        assert!(w.terminal.is_active(), "{refusal:?}");
    }
    let mut w = World::new(2);
    w.now.wall_ms -= 100_000;
    let wall_ms = w.now.wall_ms + 100_000;
    w.refuse = Some(Refusal::Stale { ts: wall_ms });
    w.terminal.start(w.now, &mut w.rng);
    w.settle();
    let clocks = w.clear.iter().filter(|m| m.contains(";ts=1800000000")).count();
    assert!(clocks > 0, "{:?}", w.clear);
}
