//! Several controllers and call agents of somebody else's behind the project's authentication: one of them dies, and its
//! gateways are the other's without noticing it.

mod lab;

use lab::line::Line;
use lab::megaco::Controller;
use lab::{Lab, free_port, needs};
use portunus_keydist::SystemRandom;
use portunus_signalling::Protocol;
use portunus_terminal::Event;
use portunus_terminal::h248::H248;
use portunus_terminal::mgcp::Mgcp;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const GATEWAY: &str = "gw1.example.test";
const PATIENCE: Duration = Duration::from_secs(20);

fn done(id: u32) -> impl Fn(&Event) -> bool {
    move |e| matches!(e, Event::Response { id: of, status: 200 } if *of == id)
}

/// Waits until a counter of the softswitch has this value.
fn counted(lab: &Lab, name: &str, value: u64, mut meanwhile: impl FnMut()) {
    let until = Instant::now() + PATIENCE;
    while lab.counter("softswitch", name) != value {
        assert!(Instant::now() < until, "{name} is never {value}: {}", lab.counters());
        meanwhile();
    }
}

#[test]
fn a_gateway_of_a_megaco_controller_that_dies_is_the_others() {
    needs(&["escript"]);
    let places = [free_port(), free_port()];
    let mut both = places.map(|at| Some(Controller::start(at)));
    let lab = Lab::plan().direct().with_controllers(&places).watchful().start();
    // Questions for signs of life are answered with an error, and that will do.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(lab.counter("softswitch", "softswitch_upstream_down"), 0);
    let agent = H248::new(1, &mut SystemRandom::new());
    let mut gateway = Line::start(Protocol::H248, lab.h248, lab.proxy_id(), (GATEWAY, &lab.key_of(GATEWAY)), agent);
    gateway.active();
    // It prefers one of the two; which, is in their names.
    let until = Instant::now() + PATIENCE;
    let first = loop {
        gateway.turn();
        let told = both.iter_mut().flatten().position(|c| c.heard(&format!("restart {GATEWAY}")));
        match told {
            Some(first) => break first,
            None => assert!(Instant::now() < until, "nobody was told of it"),
        }
    };
    let mut dying = both[first].take().expect("one of two");
    let mut other = both[1 - first].take().expect("the other");
    dying.until(&format!("asked {GATEWAY}"), PATIENCE, || gateway.turn());
    dying.kill();
    counted(&lab, "softswitch_controllers", 1, || gateway.turn());
    for said in ["failover", "audited", "asked"] {
        let lines = if said == "audited" { " aaln/1,aaln/2" } else { "" };
        other.until(&format!("{said} {GATEWAY}{lines}"), PATIENCE, || gateway.turn());
    }
    let now = gateway.now();
    let lifted = gateway.terminal.hook(now, &mut gateway.rng, "aaln/2", true).expect("off-hook is asked for");
    other.until(&format!("notified {GATEWAY} aaln/2 al/of"), PATIENCE, || gateway.turn());
    gateway.until("the Notify is replied to", done(lifted), || ());
    // The other one's transactions bear the numbers of the first one's, and are carried out all the same.
    other.until(&format!("tone {GATEWAY} aaln/2"), PATIENCE, || gateway.turn());
    // The first one is back, and the gateway stays.
    let _again = Controller::start(places[first]);
    counted(&lab, "softswitch_controllers", 2, || gateway.turn());
    assert!(gateway.events.iter().all(|e| !matches!(e, Event::Failed { .. })), "{:#?}", gateway.events);
    assert_eq!(gateway.events.iter().filter(|e| matches!(e, Event::Active(_))).count(), 1);
    let now = gateway.now();
    assert!(gateway.terminal.deregister(now, &mut gateway.rng));
    other.until(&format!("forced {GATEWAY}"), PATIENCE, || gateway.turn());
    gateway.until("it is out of service", |e| *e == Event::Deregistered, || ());
    let count = |name: &str| lab.counter("softswitch", &format!("softswitch_{name}"));
    assert_eq!(["upstream_down", "upstream_up", "gateway_failover"].map(count), [1, 1, 1]);
}

/// A call agent that is played: commands and responses of RFC 3435.
struct CallAgent {
    socket: UdpSocket,
    /// From where its gateway's messages come.
    gateway: Option<SocketAddr>,
    heard: Vec<String>,
}

impl CallAgent {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a time");
        Self { socket, gateway: None, heard: Vec::new() }
    }

    fn at(&self) -> SocketAddr {
        self.socket.local_addr().expect("its address")
    }

    /// Takes what has come: whoever it knows is answered 200, and whoever it does not, 500.
    fn turn(&mut self) {
        let mut room = [0; 4_096];
        while let Ok((len, from)) = self.socket.recv_from(&mut room) {
            let text = String::from_utf8(room[..len].to_vec()).expect("text");
            let words: Vec<&str> = text.split_whitespace().collect();
            if text.starts_with("RSIP") {
                self.gateway = Some(from);
            }
            let known = words[2].ends_with(GATEWAY) && self.gateway == Some(from);
            if !text.starts_with(|c: char| c.is_ascii_digit()) {
                let code = if known { "200" } else { "500" };
                self.socket.send_to(format!("{code} {} OK\r\n", words[1]).as_bytes(), from).expect("sent");
            }
            if !text.contains(" nobody@") {
                self.heard.push(text);
            }
        }
    }

    fn says(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.gateway.expect("a gateway")).expect("sent");
    }

    /// Waits until it has heard something that begins so and has this in it, and gives it.
    fn hears(&mut self, begin: &str, within: &str, mut meanwhile: impl FnMut()) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.heard.iter().position(|m| m.starts_with(begin) && m.contains(within)) {
                return self.heard.remove(at);
            }
            assert!(Instant::now() < until, "never heard {begin} {within} but {:#?}", self.heard);
            meanwhile();
            self.turn();
        }
    }
}

#[test]
fn a_gateway_of_a_call_agent_that_dies_is_the_others() {
    let mut both = [CallAgent::new(), CallAgent::new()].map(Some);
    let places = [0, 1].map(|n: usize| both[n].as_ref().expect("there").at());
    let lab = Lab::plan().with_call_agents(&places).watchful().start();
    let agent = Mgcp::new(1, &mut SystemRandom::new());
    let mut gateway = Line::start(Protocol::Mgcp, lab.h248, lab.proxy_id(), (GATEWAY, &lab.key_of(GATEWAY)), agent);
    let until = Instant::now() + PATIENCE;
    let first = loop {
        gateway.turn();
        both.iter_mut().flatten().for_each(CallAgent::turn);
        match both.iter().flatten().position(|ca| ca.gateway.is_some()) {
            Some(first) => break first,
            None => assert!(Instant::now() < until, "nobody was told of it: {:#?}", gateway.events),
        }
    };
    let (mut dying, mut other) = (both[first].take().expect("one"), both[1 - first].take().expect("the other"));
    let turn = |gateway: &mut Line<Mgcp>, ca: &mut CallAgent| {
        gateway.turn();
        ca.turn();
    };
    dying.hears("RSIP", &format!(" *@{GATEWAY} MGCP 1.0\r\nRM: restart\r\n"), || turn(&mut gateway, &mut other));
    // What there is, and off-hook wanted of one.
    dying.says(&format!("AUEP 1 *@{GATEWAY} MGCP 1.0\r\n"));
    let names = dying.hears("200 1 ", "", || turn(&mut gateway, &mut other));
    assert!(names.contains(&format!("Z: aaln/1@{GATEWAY}\r\nZ: aaln/2@{GATEWAY}\r\n")), "{names}");
    let wanted = |n: u32, what: &str| {
        format!("RQNT {n} aaln/1@{GATEWAY} MGCP 1.0\r\nN: ca@[127.0.0.1]:{}\r\nX: a{n}\r\n{what}", places[first].port())
    };
    dying.says(&wanted(2, "R: L/hd(N)\r\n"));
    dying.hears("200 2 ", "", || turn(&mut gateway, &mut other));
    let now = gateway.now();
    gateway.terminal.hook(now, &mut gateway.rng, "aaln/1", true).expect("off-hook is asked for");
    let notify = dying.hears("NTFY", "O: L/hd", || turn(&mut gateway, &mut other));
    // What the proxy hid from the gateway comes back as it was.
    let entity = format!("N: ca@[127.0.0.1]:{}\r\n", places[first].port());
    assert!(notify.contains("X: a2\r\n") && notify.contains(&entity), "{notify}");
    drop(dying);
    other.hears("RSIP", "RM: disconnected", || gateway.turn());
    // It counts from where the first one did, and is obeyed all the same.
    other.says(&format!("AUEP 1 aaln/1@{GATEWAY} MGCP 1.0\r\nF: X,R\r\n"));
    let audited = other.hears("200 1 ", "", || gateway.turn());
    assert!(audited.contains("X: a2\r\n") && !audited.contains("Z: "), "another's audit: {audited}");
    other.says(&format!("RQNT 2 aaln/1@{GATEWAY} MGCP 1.0\r\nX: b2\r\nR: L/hu(N)\r\nS: L/dl\r\n"));
    other.hears("200 2 ", "", || gateway.turn());
    let now = gateway.now();
    let down = gateway.terminal.hook(now, &mut gateway.rng, "aaln/1", false).expect("on-hook is asked for");
    // Whom it was told to notify is gone; who serves it hears of it.
    let notify = other.hears("NTFY", "O: L/hu", || gateway.turn());
    assert!(notify.contains("X: b2\r\n"), "{notify}");
    gateway.until("it is answered", done(down), || other.turn());
    let now = gateway.now();
    assert!(gateway.terminal.deregister(now, &mut gateway.rng));
    other.hears("RSIP", "RM: forced", || gateway.turn());
    gateway.until("it is out of service", |e| *e == Event::Deregistered, || other.turn());
    let count = |name: &str| lab.counter("softswitch", &format!("softswitch_{name}"));
    assert_eq!(["upstream_down", "gateway_failover", "call_agents"].map(count), [1, 1, 1]);
    counted(&lab, "behind_open", 0, || ());
}
