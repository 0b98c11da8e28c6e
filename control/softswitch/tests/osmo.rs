//! A media gateway that nobody here wrote, osmo-mgw (package `osmo-mgw`), answers the call agent over real sockets. It
//! knows no registration, so that is played for it; what follows is between the two of them. It cannot notify, and has
//! no analogue lines: what it answers is audits, requests and connections.

mod common;

use common::*;
use portunus_aaa::AaaAnswer;
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::params::Quoted;
use portunus_keydist::steps::{S2, S8};
use portunus_mgcp::view::{Message, Name, Verb};
use portunus_mgcp::write::{command, line};
use portunus_signalling::Protocol;
use portunus_softswitch::{Peer, Upstream};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const GW: &str = "gw1.example.test";
const ENDPOINT: &str = "rtpbridge/1";

/// osmo-mgw on a port of its own; ended when it goes out of scope.
struct Mgw {
    child: Child,
    socket: UdpSocket,
}

impl Drop for Mgw {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Mgw {
    fn start() -> Self {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mgw-{}.cfg", address.port()));
        // Its control interfaces have ports of their own, always the same: an address of its own keeps tests apart.
        let rtp = 40_000 + address.port() % 1000 * 20;
        let text = format!(
            "line vty\n bind {own}\nctrl\n bind {own}\nmgcp\n domain {GW}\n bind ip 127.0.0.1\n bind port {port}\n \
             rtp port-range {rtp} {}\n rtp net-bind-ip 127.0.0.1\n number endpoints 3\n no rtp keep-alive\n",
            rtp + 18,
            port = address.port(),
            own = std::net::Ipv4Addr::from(0x7f4d_0000 | u32::from(address.port())),
        );
        std::fs::write(&file, text).unwrap();
        let child = Command::new("osmo-mgw").arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|e| panic!("osmo-mgw is needed for this test (package osmo-mgw): {e}"));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mgw = Self { child, socket };
        let until = Instant::now() + Duration::from_secs(10);
        while mgw.ask(&written(Verb::Auep, 1, ENDPOINT, &[])).is_none() {
            assert!(Instant::now() < until, "osmo-mgw does not answer");
        }
        mgw
    }

    fn ask(&self, message: &str) -> Option<String> {
        let mut buf = [0u8; 2048];
        self.socket.send(message.as_bytes()).ok()?;
        let len = self.socket.recv(&mut buf).ok()?;
        Some(String::from_utf8(buf[..len].to_vec()).unwrap())
    }
}

fn written(verb: Verb, transaction: u32, local: &str, lines: &[(&str, &str)]) -> String {
    let mut buf = [0u8; 1024];
    let mut w = portunus_codec::Writer::new(&mut buf);
    command(verb, transaction, local.as_bytes(), GW.as_bytes(), &mut w);
    lines.iter().for_each(|(name, value)| line(name, value.as_bytes(), &mut w));
    String::from_utf8(w.written().to_vec()).unwrap()
}

/// What the softswitch wants sent.
fn say(bench: &mut Bench, message: &str) -> Vec<String> {
    bench.say(Protocol::Mgcp, lane(), message.as_bytes());
    core::mem::take(&mut bench.sent).into_iter().map(|(_, text)| text).collect()
}

fn lane() -> Peer {
    peer("192.0.2.1:30001")
}

fn text(f: impl FnOnce(&mut portunus_codec::Writer<'_>)) -> String {
    let mut buf = [0u8; 1024];
    let mut w = portunus_codec::Writer::new(&mut buf);
    f(&mut w);
    String::from_utf8(w.written().to_vec()).unwrap()
}

/// Registers it as the proxy would.
fn register(bench: &mut Bench) {
    let (idc, idsp) = (Idc::new(GW).unwrap(), Idsp::new("sp1.example.test").unwrap());
    let s2 = text(|w| S2 { idc, idsp, n1: N1::from_bits(5) }.write_services(w));
    say(bench, &written(Verb::Rsip, 1, ENDPOINT, &[("RM", "restart"), ("X-PKD", &s2)]));
    let (id, _) = bench.question();
    bench.aaa(id, Ok(AaaAnswer::Vector(vector(7))));
    let (_, s5) = bench.one();
    assert!(s5.contains(" rtpbridge/1@gw1.example.test "), "{s5}");
    say(bench, &format!("200 {} OK\r\n", Message::alone(s5.as_bytes()).unwrap().transaction()));
    let s8 = S8 { idc, idsp, rand: [7; 16], auth_c: [7; 32], ipc: "203.0.113.7:2427".parse().unwrap() };
    let list = format!("x-pkd/resp({})", text(|w| Quoted::new(w).s8(&s8)));
    let sent = say(bench, &written(Verb::Ntfy, 2, ENDPOINT, &[("X", "1"), ("O", &list)]));
    say(bench, &format!("200 {} OK\r\n", Message::alone(sent[1].as_bytes()).unwrap().transaction()));
    bench.records();
}

#[test]
fn a_foreign_gateway_answers_what_follows_a_registration() {
    let mgw = Mgw::start();
    let mut bench = Bench::new(config());
    register(&mut bench);
    let mut heard = Vec::new();
    let mut pending: Vec<String> = Vec::new();
    // Ten minutes and more: the first audit, the request for off-hook, and a keep-alive, each answered by the gateway.
    for _ in 0..3_500 {
        bench.pass(200);
        pending.extend(core::mem::take(&mut bench.sent).into_iter().map(|(_, text)| text));
        while !pending.is_empty() {
            let command = pending.remove(0);
            let answer = mgw.ask(&command).unwrap_or_else(|| panic!("no answer to {command}"));
            let code = Message::alone(answer.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {answer}")).code();
            heard.push((command[..4].to_owned(), code.unwrap()));
            pending.extend(say(&mut bench, &answer));
        }
    }
    // It knows no wildcard here and says so; what registered is asked by its name.
    let expected = [("AUEP", 500), ("RQNT", 200), ("AUEP", 200), ("AUEP", 200)];
    assert_eq!(heard, expected.map(|(verb, code)| (verb.to_owned(), code)), "{heard:?}");
    assert_eq!(bench.ss.counters().command_given_up, 0);
}

#[test]
fn a_foreign_gateway_reads_what_is_written_and_is_read() {
    let mgw = Mgw::start();
    let x_pkd = "v=1;idsp=sp1.example.test;n1=64e6d05cb4c9b98f;ts=1";
    let mac = "0".repeat(64);
    let ask =
        |verb, transaction, local, lines: &[_]| mgw.ask(&written(verb, transaction, local, lines)).expect("an answer");
    // Lines of the extension disturb nobody who does not know them.
    let answer =
        ask(Verb::Crcx, 11, "rtpbridge/*", &[("C", "1"), ("M", "recvonly"), ("X-PKD", x_pkd), ("X-PKDMAC", &mac)]);
    let msg = Message::alone(answer.as_bytes()).unwrap();
    assert_eq!((msg.code(), msg.transaction()), (Some(200), 11));
    let connection = std::str::from_utf8(msg.value(Name::ConnectionId).unwrap()).unwrap();
    assert!(msg.value(Name::SpecificEndpoint).is_some() && msg.body().starts_with(b"v=0\r\n"), "{answer}");
    let local = std::str::from_utf8(msg.value(Name::SpecificEndpoint).unwrap()).unwrap().split('@').next().unwrap();
    let answer = ask(Verb::Mdcx, 12, local, &[("C", "1"), ("I", connection), ("M", "recvonly")]);
    assert_eq!(Message::alone(answer.as_bytes()).unwrap().code(), Some(200), "{answer}");
    let answer = ask(Verb::Dlcx, 13, local, &[("C", "1"), ("I", connection)]);
    let msg = Message::alone(answer.as_bytes()).unwrap();
    assert!(matches!(msg.code(), Some(200 | 250)) && msg.find(Name::ConnectionParameters).is_some(), "{answer}");
    // The proxy's own words: a challenge and a key are requests like any other to it.
    for (transaction, signal) in
        [(14, "x-pkd/chal(idsp=\"sp1\",n1=\"64e6d05cb4c9b98f\")"), (15, "x-pkd/key(idsp=\"sp1\")")]
    {
        let answer = ask(Verb::Rqnt, transaction, local, &[("X", "1b"), ("R", "x-pkd/resp(N)"), ("S", signal)]);
        let msg = Message::alone(answer.as_bytes()).unwrap();
        assert_eq!((msg.code(), msg.transaction()), (Some(200), transaction));
    }
    let answer = ask(Verb::Auep, 16, "aaln/9", &[]);
    assert_eq!(Message::alone(answer.as_bytes()).unwrap().code(), Some(500));
}

/// Time passes, and the gateway answers whatever it is asked, until its call agents are told something: what, and which.
fn passes(bench: &mut Bench, mgw: &Mgw, ms: u64) -> Vec<(u16, String)> {
    let (mut told, until) = (Vec::new(), bench.now.mono_ms + ms);
    while bench.now.mono_ms < until && told.is_empty() {
        bench.pass(100);
        while !bench.sent.is_empty() {
            match bench.sent.remove(0) {
                (Peer::Behind(_, nth), text) => told.push((nth, text)),
                (to, text) => {
                    assert_eq!(to, lane());
                    let answer = mgw.ask(&text).unwrap_or_else(|| panic!("no answer to {text}"));
                    bench.say(Protocol::Mgcp, lane(), answer.as_bytes());
                }
            }
        }
    }
    told
}

#[test]
fn a_foreign_gateway_is_obeyed_by_one_call_agent_after_the_other() {
    let mgw = Mgw::start();
    let mut config = config();
    let upstream = |n: u8| Upstream::at(([192, 0, 2, n], 2727).into());
    config.behind.call_agents = vec![upstream(201), upstream(202)];
    let mut bench = Bench::new(config);
    register(&mut bench);
    let from = |nth| Peer::Behind("192.0.2.1:30001".parse().unwrap(), nth);
    let takes = |bench: &mut Bench, told: Vec<(u16, String)>, method: &str| {
        assert!(told.len() == 1 && told[0].1.contains(&format!("RM: {method}\r\n")), "{told:?}");
        let transaction = Message::alone(told[0].1.as_bytes()).unwrap().transaction();
        bench.say(Protocol::Mgcp, from(told[0].0), format!("200 {transaction} OK\r\n").as_bytes());
        told[0].0
    };
    // The one answer that a call agent gets to a command.
    let asks = |bench: &mut Bench, nth, command: String| {
        bench.say(Protocol::Mgcp, from(nth), command.as_bytes());
        let mut answers = passes(bench, &mgw, 100);
        assert!(answers.len() == 1 && answers[0].0 == nth, "{answers:?}");
        answers.remove(0).1
    };
    let told = passes(&mut bench, &mgw, 1_000);
    let first = takes(&mut bench, told, "restart");
    let create = written(Verb::Crcx, 1, ENDPOINT, &[("C", "1"), ("M", "recvonly")]);
    let created = asks(&mut bench, first, create);
    let msg = Message::alone(created.as_bytes()).unwrap();
    assert_eq!((msg.code(), msg.transaction()), (Some(200), 1), "{created}");
    let connection = String::from_utf8(msg.value(Name::ConnectionId).unwrap().to_vec()).unwrap();
    bench.silent.push(first);
    let told = passes(&mut bench, &mgw, 10_000);
    let second = takes(&mut bench, told, "disconnected");
    assert_eq!(second, 1 - first);
    // The gateway knows what it answered to a transaction 1 of its endpoint. This is another one.
    let delete = written(Verb::Dlcx, 1, ENDPOINT, &[("C", "1"), ("I", &connection)]);
    let deleted = asks(&mut bench, second, delete);
    let msg = Message::alone(deleted.as_bytes()).unwrap();
    assert_eq!((msg.code(), msg.transaction()), (Some(250), 1), "{deleted}");
    assert!(msg.find(Name::ConnectionParameters).is_some(), "{deleted}");
}
