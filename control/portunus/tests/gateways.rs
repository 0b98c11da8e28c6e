//! `portunus agent` beside media gateways that know nothing of PKD1, as processes over real sockets: what they say is
//! heard by their call agent or controller, and nothing of it is plain on the access network.

mod lab;

use lab::megaco::Controller;
use lab::{Lab, bounded, free_port, needs};
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

const GATEWAY: &str = "gw1.example.test";
const PATIENCE: Duration = Duration::from_secs(15);

/// An agent's file for one gateway.
fn file(lab: &Lab, protocol: &str, listen: SocketAddr, server: SocketAddr, mechanism: &str) -> String {
    format!(
        "lab = true\n[agent]\nproxy = \"{}\"\nrealm = \"example.test\"\nsign_of_life = \"1s\"\n[agent.{protocol}]\n\
         server = \"{server}\"\nlisten = [\"{listen}\"]\nmechanisms = [\"{mechanism}\"]\n[[agent.{protocol}.gateway]]\n\
         id = \"{GATEWAY}\"\nkey_file = \"subscribers.csv\"\n",
        lab.proxy_id()
    )
}

/// A gateway of somebody else's and a controller of somebody else's, with everything of ours between them.
fn served(mechanism: &str) {
    let (controller, at, place) = (free_port(), free_port(), free_port());
    let mut mgc = Controller::start(controller);
    let lab = Lab::plan().with_controller(controller).start();
    let access = lab.capture_access();
    let _agent = lab.agent_of("agent", &file(&lab, "h248", place, lab.h248, mechanism));
    let mut mg = Controller::gateway(GATEWAY, at, place);
    // It takes the proxy for its controller.
    mg.until("served sp1.example.test", PATIENCE, || ());
    for said in ["restart", "audited", "asked"] {
        let lines = if said == "audited" { " aaln/1,aaln/2" } else { "" };
        mgc.until(&format!("{said} {GATEWAY}{lines}"), PATIENCE, || ());
    }
    mg.until("asked aaln/2 al/of", PATIENCE, || ());
    mg.tell("lift");
    mgc.until(&format!("notified {GATEWAY} aaln/1 al/of"), PATIENCE, || ());
    mg.until("notified", PATIENCE, || ());
    mgc.until(&format!("tone {GATEWAY} aaln/1"), PATIENCE, || ());
    mg.until("tone aaln/1", PATIENCE, || ());
    mg.tell("leave");
    mgc.until(&format!("forced {GATEWAY}"), PATIENCE, || ());
    mg.until("left", PATIENCE, || ());
    let seen = access.finish();
    let plain = seen.frames(&format!("udp.port == {} && frame contains \"aaln\"", lab.h248.port()));
    assert!(plain.is_empty(), "{mechanism}: in the clear:\n{}", plain.join("\n"));
}

#[test]
fn an_unmodified_gateway_and_an_unmodified_controller_meet_through_agent_and_proxy() {
    needs(&["escript", "tshark"]);
    for mechanism in ["x-pkd-sealed", "ipsec-man", "tls"] {
        served(mechanism);
    }
}

/// A plain MGCP gateway that answers nothing by itself.
struct Plain {
    socket: UdpSocket,
    agent: SocketAddr,
}

impl Plain {
    fn new(agent: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self { socket, agent }
    }

    fn say(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.agent).expect("sent");
    }

    fn hears(&self) -> String {
        let mut room = [0; 4_096];
        let (len, from) = self.socket.recv_from(&mut room).expect("something is said");
        assert_eq!(from, self.agent);
        String::from_utf8(room[..len].to_vec()).expect("text")
    }

    /// The next command of this verb; whatever else comes is answered as it comes.
    fn asked(&self, verb: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.hears();
            if said.starts_with(verb) {
                return said;
            }
            assert!(Instant::now() < until, "no {verb} but {said}");
        }
    }

    fn answer(&self, command: &str, more: &str) {
        let transaction = command.split(' ').nth(1).expect("a transaction");
        self.say(&format!("200 {transaction} OK\r\n{more}"));
    }
}

#[test]
fn a_plain_mgcp_gateway_is_served_through_its_agent() {
    for mechanism in ["x-pkd-sealed", "ipsec-man"] {
        let lab = Lab::plan().with_every_protocol().start();
        let place = free_port();
        let _agent = lab.agent_of("agent", &file(&lab, "mgcp", place, lab.mgcp(), mechanism));
        let gateway = Plain::new(place);
        // Its own form of every error: an unknown gateway, no MGCP that can be answered, a broken line, a wrong version.
        for (said, code) in [
            ("RSIP 7 *@gw9.example.test MGCP 1.0\r\nRM: restart\r\n", "500 7 "),
            ("RSIP 8 *@gw1.example.test MGCP 1.0\r\nnonsense\r\n", "510 8 "),
            ("RSIP 9 *@gw1.example.test MGCP 9.0\r\nRM: restart\r\n", "528 9 "),
        ] {
            gateway.say(said);
            let heard = gateway.hears();
            assert!(heard.starts_with(code), "{said:?}: {heard:?}");
        }
        gateway.say(&format!("RSIP 10 *@{GATEWAY} MGCP 1.0\r\nRM: restart\r\n"));
        let audit = gateway.asked("AUEP");
        gateway.answer(&audit, &format!("Z: aaln/1@{GATEWAY}\r\n"));
        let request = gateway.asked("RQNT");
        assert!(request.contains("aaln/1@") && request.contains("L/hd"), "{request}");
        gateway.answer(&request, "");
        gateway.say(&format!("NTFY 11 aaln/1@{GATEWAY} MGCP 1.0\r\nX: 1\r\nO: L/hd\r\n"));
        let until = Instant::now() + PATIENCE;
        // Dial tone follows off-hook; audits that the restart brought may come between.
        loop {
            let said = gateway.hears();
            if said.starts_with("RQNT") && said.contains("L/dl") {
                gateway.answer(&said, "");
                break;
            }
            if said.starts_with("AUEP") {
                gateway.answer(&said, &format!("Z: aaln/1@{GATEWAY}\r\n"));
            } else if said.starts_with("RQNT") {
                gateway.answer(&said, "");
            }
            assert!(Instant::now() < until, "no dial tone");
        }
        gateway.say(&format!("RSIP 12 *@{GATEWAY} MGCP 1.0\r\nRM: forced\r\n"));
        let until = Instant::now() + PATIENCE;
        while !gateway.hears().starts_with("200 12 ") {
            assert!(Instant::now() < until, "it is not let go");
        }
    }
}

#[test]
fn once_registers_gateways_too_and_a_wrong_key_is_told_in_the_protocols_form() {
    let lab = Lab::plan().with_every_protocol().start();
    let place = free_port();
    let good = file(&lab, "mgcp", place, lab.mgcp(), "x-pkd-sealed");
    let path = lab.config_file().with_file_name("agent.toml");
    std::fs::write(&path, &good).expect("a file");
    let mut once = Command::new(env!("CARGO_BIN_EXE_portunus"));
    let report = bounded(once.args(["agent", "--once", "--limit", "5", "--config"]).arg(&path), PATIENCE);
    assert!(report.ok && report.text.contains("1 of 1"), "{}", report.text);
    std::fs::write(path.with_file_name("wrong.key"), "00".repeat(32)).expect("a key");
    let _agent = lab.agent_of("wrong", &good.replace("subscribers.csv", "wrong.key"));
    let gateway = Plain::new(place);
    gateway.say(&format!("RSIP 10 *@{GATEWAY} MGCP 1.0\r\nRM: restart\r\n"));
    let heard = gateway.hears();
    assert!(heard.starts_with("501 10 "), "{heard}");
}
