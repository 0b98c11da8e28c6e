//! A gateway's whole life on a made-up clock: registered through the proxy's real carriage, and then audited, modified,
//! notifying and changing its service inside its session.

use core::net::SocketAddr;
use portunus_channel::sealed::{SEQ_MAX, Sealed};
use portunus_channel::{Flow, Keys, Mechanism as _, Sequence};
use portunus_codec::Writer;
use portunus_h248::H248;
use portunus_h248::view::{Message, Method};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::mech::{Mech, Sel};
use portunus_keydist::schedule::{For, WrapCtx, message_mac};
use portunus_keydist::steps::{Refusal, S6, S7, S10};
use portunus_keydist::{Key, Now, Random as _, SessionKey, SystemRandom, TrafficCtx};
use portunus_signalling::{FromTerminal, Hop, Marks, Own, Protocol, Signalling, Ticket};
use portunus_terminal::h248::{H248 as Agent, H248Terminal};
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
    terminal: H248Terminal,
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
    fn new(terminations: u16) -> Self {
        let mut rng = SystemRandom::new();
        let profile = Profile::new(addr(2944), Transport::Udp, IDSP, "example.test", MECHS).unwrap();
        let profile = Arc::new(profile.speaking(Protocol::H248));
        let agent = Agent::new(1, &mut rng).with_terminations(terminations);
        let terminal = H248Terminal::with(agent, profile, IDC, &kc(), addr(2945), 1).unwrap();
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

    fn registered(terminations: u16) -> Self {
        let mut w = Self::new(terminations);
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
                    assert_eq!(out.to, addr(2944));
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
        self.terminal.on_datagram(self.now, &mut self.rng, addr(2944), &mut octets);
    }

    fn on_clear(&mut self, octets: &[u8]) {
        self.clear.push(String::from_utf8(octets.to_vec()).unwrap());
        let own = Own { idsp: idsp(), realm: "example.test", access: addr(2944), core: addr(2945) };
        let hop = Hop {
            own,
            source: addr(2945),
            transport: Transport::Udp,
            ticket: Ticket(0),
            salt: self.rng.next_u64(),
            marks: &Marks::NONE,
        };
        let mut buf = [0u8; 2048];
        let mut w = Writer::new(&mut buf);
        let read = H248.read_terminal(octets).unwrap();
        let n1 = match &read {
            FromTerminal::S1(s1) => s1.n1,
            FromTerminal::S7(s7) => s7.n1,
            _ => return,
        };
        H248.acknowledge(&hop, octets, &mut w);
        self.down(w.written().to_vec());
        w.truncate(0);
        if let Some(refusal) = self.refuse {
            H248.write_refusal(&hop, octets, &refusal, Some(&n1), &mut w).unwrap();
            return self.down(w.written().to_vec());
        }
        match read {
            FromTerminal::S1(s1) => {
                self.n1a = Some(s1.n1);
                let s6 = S6 { idsp: idsp(), n1: s1.n1, n2: b"token", ts: self.now.wall_ms, rand: RAND };
                H248.write_s6(&hop, octets, b"", &s6, &mut w).unwrap();
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
        let ekc = kc().prk().wrap(For::Terminal, &ctx, &key);
        let secret = key.secret(&RAND);
        self.kid += 1;
        let (sel, n2) = (Sel::sealed(self.kid, 5065), N1::from_bits(self.rng.next_u64()));
        let (ts, mechs) = (self.now.wall_ms, s7.mechs.as_str());
        let s10 = S10 { idsp: idsp(), n1: s7.n1, n2, ts, life: 3600, ekc, sel: sel.as_str(), mechs };
        let field = H248.write_s10(hop, octets, b"", &s10, w).unwrap();
        let mac = message_mac(&secret.mac_key(), w.written(), field.clone(), H248.mac_placeholder()).unwrap();
        H248.put_mac(&mut w.written_mut()[field], &mac);
        let token = Mech::Sealed.token();
        let ctx = TrafficCtx { idc: idc(), idsp: idsp(), n1b: &s7.n1, n2b: &n2, token };
        self.session = Some((Sealed.derive(&secret, &ctx), Sequence::new()));
    }

    fn on_sealed(&mut self, octets: &mut [u8]) {
        assert!(handles(octets).any(|handle| handle == self.kid));
        let (Some((keys, _)), flow) = (&self.session, Flow::plain(self.kid, Protocol::H248 as u8)) else { return };
        let content = Sealed.open(&keys.c2s, &flow, octets).unwrap().content.to_vec();
        match content.is_empty() {
            true => self.seal(b""),
            false => self.inside.push(String::from_utf8(content).unwrap()),
        }
    }

    fn seal(&mut self, text: &[u8]) {
        let (keys, seq) = self.session.as_mut().unwrap();
        let mut out = vec![0u8; Sealed.sealed_len(text.len())];
        let (seq, flow) = (seq.take(SEQ_MAX).unwrap(), Flow::plain(self.kid, Protocol::H248 as u8));
        Sealed.seal(&keys.s2c, &flow, seq, text, &mut Writer::new(&mut out)).unwrap();
        self.down(out);
    }

    /// The controller says this inside the session; what the gateway says then.
    fn core(&mut self, text: &str) -> Vec<String> {
        self.seal(text.as_bytes());
        self.settle();
        core::mem::take(&mut self.inside)
    }
}

/// The transaction of a message of one.
fn id(text: &str) -> u32 {
    let msg = Message::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?} {text}"));
    msg.transactions().next().unwrap().id
}

/// A request of the controller's.
fn ask(id: u32, actions: &str) -> String {
    format!("!/2 <sp1.example.test> T={id}{{{actions}}}")
}

/// The gateway's reply.
fn reply(id: u32, actions: &str) -> String {
    format!("!/2 <gw1.example.test> P={id}{{{actions}}}")
}

#[test]
fn a_gateway_registers_and_replies_to_every_step() {
    let w = World::registered(2);
    assert!(w.clear[0].starts_with("!/1 <gw1.example.test> T="), "{}", w.clear[0]);
    assert!(w.clear[0].contains("{C=-{SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\",V=2,X-PKD=\"v=1;"), "{}", w.clear[0]);
    let s7 = w.clear.iter().find(|m| m.contains("N=ROOT")).unwrap();
    assert!(s7.starts_with("!/2 ") && s7.contains("{OE=1{portunus/resp{n1=\""), "{s7}");
    assert_eq!(w.clear.iter().filter(|m| m.ends_with("{C=-{MF=ROOT}}")).count(), 2, "s6 and s10");
    assert!(w.inside.is_empty());
}

#[test]
fn audits_modifications_and_notifications() {
    let mut w = World::registered(2);
    let pg = "PG{al-1,cg-1,dd-1}";
    for (n, asked, replied) in [
        (1, "C=-{AV=*{AT{PG}}}", format!("C=-{{AV=aaln/1{{{pg}}},AV=aaln/2{{{pg}}}}}")),
        (2, "C=-{W-AV=*{AT{PG}}}", format!("C=-{{AV=*{{{pg}}}}}")),
        (3, "C=-{AV=ROOT{AT{}}}", "C=-{AV=ROOT}".to_owned()),
        (4, "C=-{AV=ROOT{AT{Packages}}}", "C=-{AV=ROOT{PG{root-2,it-1,portunus-1}}}".to_owned()),
        (5, "C=-{AC=aaln/2{AT{M,E}}}", "C=-{AC=aaln/2{M{TS{SI=IV}}}}".to_owned()),
    ] {
        assert_eq!(w.core(&ask(n, asked)), [reply(n, &replied)], "{asked}");
    }
    assert_eq!(w.terminal.hook(w.now, &mut w.rng, "aaln/2", true), None, "nobody asked");
    w.terminal.hook(w.now, &mut w.rng, "aaln/2", false);
    let want = ask(7, "C=-{MF=aaln/2{E=27{al/of{strict=\"state\"}}}}");
    assert_eq!(w.core(&want), [reply(7, "C=-{MF=aaln/2}")]);
    // At most once: the same again gets the same reply, though the termination was asked something else since.
    assert_eq!(w.core(&ask(8, "C=-{MF=aaln/2{E=28{al/on}}}")), [reply(8, "C=-{MF=aaln/2}")]);
    assert_eq!(w.core(&want), [reply(7, "C=-{MF=aaln/2}")]);
    assert_eq!(w.core(&ask(9, "C=-{AV=aaln/2{AT{E}}}")), [reply(9, "C=-{AV=aaln/2{E=28{al/on}}}")]);
    assert_eq!(w.core(&want.replace("T=7", "T=10")), [reply(10, "C=-{MF=aaln/2}")]);
    let number = w.terminal.hook(w.now, &mut w.rng, "aaln/2", true).unwrap();
    w.settle();
    let notify = w.inside.pop().unwrap();
    assert!(notify.ends_with("{C=-{N=aaln/2{OE=27{al/of}}}}"), "{notify}");
    // Repeated until it is replied to.
    w.pass(600);
    assert_eq!((w.inside.len(), &w.inside[0]), (1, &notify));
    w.inside.clear();
    w.events.clear();
    let tone = format!(
        "!/2 <sp1.example.test> P={}{{IA,C=-{{N=aaln/2}}}}T=11{{C=-{{MF=aaln/2{{SG{{cg/dt}},E=29{{al/on}}}}}}}}",
        id(&notify)
    );
    let said = w.core(&tone);
    assert_eq!(said[0], format!("!/2 <gw1.example.test> K{{{}}}", id(&notify)));
    assert_eq!(said[1..], [reply(11, "C=-{MF=aaln/2}")]);
    w.pass(5_000);
    assert!(w.inside.is_empty());
    assert!(w.events.contains(&Event::Response { id: number, status: 200 }));
    let heard = |e: &Event| matches!(e, Event::Request { method, body, status: 200, .. } if method == "Modify" && body == b"cg/dt");
    assert!(w.events.iter().any(heard), "{:?}", w.events);
    // A reply that has arrived is forgotten.
    w.core("!/2 <sp1.example.test> K{11}");
    w.events.clear();
    assert_eq!(w.core(&ask(11, "C=-{MF=aaln/2{SG{cg/dt}}}")), [reply(11, "C=-{MF=aaln/2}")]);
    assert!(!w.events.is_empty(), "done again");
}

#[test]
fn an_idle_gateway_says_that_it_is_there() {
    let mut w = World::registered(2);
    let want = ask(1, "C=-{MF=ROOT{E=9{it/ito{mit=\"1000\"}}}}");
    assert_eq!(w.core(&want), [reply(1, "C=-{MF=ROOT}")]);
    assert_eq!(w.core(&ask(2, "C=-{AV=ROOT{AT{E}}}")), [reply(2, "C=-{AV=ROOT{E=9{it/ito{mit=\"1000\"}}}}")]);
    let mut said = 0;
    for _ in 0..30 {
        w.pass(1_000);
        for notify in core::mem::take(&mut w.inside) {
            assert!(notify.ends_with("{C=-{N=ROOT{OE=9{it/ito}}}}"), "{notify}");
            said += 1;
            w.core(&format!("!/2 <sp1.example.test> P={}{{C=-{{N=ROOT}}}}", id(&notify)));
        }
    }
    assert!((2..=3).contains(&said), "{said}");
    assert!(!w.events.iter().any(|e| matches!(e, Event::Response { .. })));
    // Until it is asked otherwise.
    assert_eq!(w.core(&ask(3, "C=-{MF=ROOT{E}}")), [reply(3, "C=-{MF=ROOT}")]);
    assert_eq!(w.core(&ask(4, "C=-{MF=ROOT{E=1{root/x}}}")), [reply(4, "C=-{MF=ROOT}")]);
    w.pass(60_000);
    assert!(w.inside.is_empty(), "{:?}", w.inside);
}

#[test]
fn what_a_gateway_does_not_do_gets_its_error() {
    let mut w = World::registered(2);
    let error = |code: u16, text: &str| format!("ER={code}{{\"{text}\"}}");
    let (unknown, package) = (error(430, "Unknown TerminationID"), error(440, "Unsupported or unknown Package"));
    let not = error(501, "Not implemented");
    for (n, asked, replied) in [
        (1, "C=-{AV=aaln/3{AT{}}}", format!("C=-{{AV=aaln/3{{{unknown}}}}}")),
        (
            2,
            "C=-{AV=trunk/*{AT{}}}",
            format!("C=-{{AV=trunk/*{{{}}}}}", error(431, "No TerminationID matched a wildcard")),
        ),
        (3, "C=-{A=aaln/1}", format!("C=-{{A=aaln/1{{{not}}}}}")),
        (4, "C=-{MF=aaln/1{SG{foo/bar}}}", format!("C=-{{MF=aaln/1{{{package}}}}}")),
        (5, "C=-{MF=ROOT{E=1{al/of}}}", format!("C=-{{MF=ROOT{{{package}}}}}")),
        (6, "C=-{O-MF=aaln/3,MF=aaln/1}", format!("C=-{{MF=aaln/3{{{unknown}}},MF=aaln/1}}")),
        (7, "C=-{MF=aaln/3,MF=aaln/1}", format!("C=-{{MF=aaln/3{{{unknown}}}}}")),
        (8, "C=7{S=aaln/1}", format!("C=7{{{}}}", error(411, "The transaction refers to an unknown ContextID"))),
        (9, "C=$ {A=$}", format!("C=${{{}}}", error(411, "The transaction refers to an unknown ContextID"))),
    ] {
        assert_eq!(w.core(&ask(n, asked)), [reply(n, &replied)], "{asked}");
    }
    assert!(w.core("hello").is_empty() && w.core("!/2 <sp1.example.test> P=4711{C=-{N=ROOT}}").is_empty());
    assert_eq!(w.core("!/2 <sp1.example.test> T=10{C=-"), [reply(10, "ER=400{\"Syntax error in message\"}")]);
    // Outside the session nothing of it is obeyed, and nobody is answered.
    w.down(ask(12, "C=-{AV=*{AT{}}}").into_bytes());
    w.down(ask(13, "C=-{MF=aaln/1{E=1{al/of}}}").into_bytes());
    w.clear.clear();
    w.settle();
    assert!(w.clear.is_empty() && w.inside.is_empty());
}

#[test]
fn hundreds_of_terminations_behind_one_terminal() {
    let mut w = World::registered(240);
    let names = w.core(&ask(1, "C=-{AV=*{AT{}}}")).remove(0);
    let msg = Message::parse(names.as_bytes()).unwrap();
    assert_eq!(msg.transactions().flat_map(|t| t.actions()).flat_map(|a| a.commands()).count(), 240);
    assert_eq!(w.core(&ask(2, "C=-{W-MF=*{E=7{al/of}}}")), [reply(2, "C=-{MF=*}")]);
    assert!(w.terminal.hook(w.now, &mut w.rng, "aaln/163", true).is_some());
    assert!(w.terminal.hook(w.now, &mut w.rng, "aaln/241", true).is_none());
    w.settle();
    assert!(w.inside[0].ends_with("{C=-{N=aaln/163{OE=7{al/of}}}}"), "{}", w.inside[0]);
    // One whose names do not fit says so.
    let mut w = World::registered(2000);
    assert_eq!(w.core(&ask(1, "C=-{AV=*{AT{}}}")), [reply(1, "ER=533{\"Response too large\"}")]);
}

#[test]
fn service_changes_and_the_end() {
    let mut w = World::registered(2);
    let why = "904 Termination malfunctioning";
    let number = w.terminal.service_change(w.now, &mut w.rng, "aaln/2", Method::Graceful, why, Some(300)).unwrap();
    w.settle();
    let change = w.inside.remove(0);
    assert!(change.ends_with(&format!("{{C=-{{SC=aaln/2{{SV{{MT=GR,RE=\"{why}\",DL=300}}}}}}}}")), "{change}");
    w.core(&format!("!/2 <sp1.example.test> P={}{{C=-{{SC=aaln/2}}}}", id(&change)));
    assert!(w.events.contains(&Event::Response { id: number, status: 200 }));
    w.terminal.deregister(w.now, &mut w.rng);
    w.settle();
    let change = w.inside.remove(0);
    assert!(change.ends_with("{C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}}"), "{change}");
    w.core(&format!("!/2 <sp1.example.test> P={}{{C=-{{SC=ROOT}}}}", id(&change)));
    assert!(w.events.contains(&Event::Deregistered) && !w.terminal.is_active());
    w.pass(100_000);
    assert!(w.inside.is_empty());
}

#[test]
fn whoever_is_forgotten_or_sent_elsewhere_registers_anew() {
    for how in ["ER=402{\"Unauthorized\"}", "C=-{SC=ROOT{SV{MG=<ss2.example.test>}}}"] {
        let mut w = World::registered(2);
        let why = "900 Service Restored";
        w.terminal.service_change(w.now, &mut w.rng, "ROOT", Method::Disconnected, why, None).unwrap();
        w.settle();
        let change = w.inside.remove(0);
        w.clear.clear();
        w.core(&format!("!/2 <sp1.example.test> P={}{{{how}}}", id(&change)));
        w.settle();
        assert!(w.clear.iter().any(|m| m.contains("X-PKD=")), "{how}: {:?}", w.clear);
        assert!(w.terminal.is_active());
    }
    let mut w = World::registered(2);
    w.clear.clear();
    let handoff = "C=-{SC=ROOT{SV{MT=HO,RE=\"903 MGC Directed Change\",MG=<ss2.example.test>}}}";
    assert_eq!(w.core(&ask(1, handoff)), [reply(1, "C=-{SC=ROOT}")]);
    w.settle();
    assert!(w.clear.iter().any(|m| m.contains("X-PKD=")), "{:?}", w.clear);
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
