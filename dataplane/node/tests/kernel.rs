//! A proxy whose ESP the host's kernel is to do, started on whatever kernel there is.

use portunus_channel::esp::Esp;
use portunus_engine::{ListenerKind, Policy};
use portunus_keydist::Key;
use portunus_keydist::mech::Mech;
use portunus_node::{Cpus, KernelEsp, ListenerConfig, Node, NodeConfig, StartError, Topology, UdpConfig, UdpUpstream};
use portunus_signalling::{Protocol, Transport};
use portunus_sip::Sip;
use std::net::SocketAddr;
use std::process::Command;

static SIP: Sip = Sip;
const ROWS: u16 = 16_460;

fn config() -> NodeConfig {
    let at =
        |port: u16, kind| ListenerConfig { bind: SocketAddr::from(([127, 0, 0, 1], port)), advertised: None, kind };
    let row = |row| ListenerKind::Kernel { signalling: &SIP, outer: 16_459, row };
    NodeConfig {
        topology: Topology { cpus: Cpus::Unpinned(2), ..Topology::default() },
        idsp: "sp1.example.test".into(),
        realm: "example.test".into(),
        routes: Default::default(),
        device: Key::new([7; 32]).prk().into(),
        listeners: vec![
            at(0, ListenerKind::Access { signalling: &SIP, transport: Transport::Udp, stock_phones: false }),
            at(0, ListenerKind::Protected(&Esp)),
            at(ROWS, row(0)),
            at(ROWS, row(1)),
        ],
        capacity: portunus_engine::Capacity::for_terminals(64),
        kernel: Some(KernelEsp { outer: SocketAddr::from(([127, 0, 0, 1], 16_459)), sessions: 64 }),
        policy: Policy { mechanisms: [Mech::Esp].into_iter().collect(), ..Policy::default() },
        middleware: None,
    }
}

/// The kernel's policies for the proxy's inner ports, as somebody else lists them.
fn policies() -> Option<usize> {
    let shown = Command::new("ip").args(["xfrm", "policy", "list"]).output().ok()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let ours = |line: &&str| (ROWS..ROWS + 4).any(|port| line.contains(&format!("port {port}")));
    Some(shown.lines().filter(ours).count())
}

#[test]
fn a_kernel_with_esp_closes_the_ports_and_one_without_is_said_at_start() {
    let core = SocketAddr::from(([127, 0, 0, 1], 0));
    let link = || Box::new(UdpUpstream::new(UdpConfig::new(Protocol::Sip, core, vec!["127.0.0.1:9".parse().unwrap()])));
    match Node::start(config(), link()) {
        Ok(node) => {
            assert_eq!(node.listeners()[2..], [ROWS, ROWS + 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port))));
            assert_eq!(policies().unwrap_or(8), 8, "two rows, two workers, both ways");
            node.stop().unwrap();
            assert_eq!(policies().unwrap_or(0), 0);
        }
        Err(StartError::Kernel(error)) => {
            eprintln!("ESP in the kernel was not run: {error}");
            let said = StartError::Kernel(error).to_string();
            assert!(said.contains("esp4") && said.contains("CAP_NET_ADMIN") && said.contains("[proxy.ipsec.kernel]"));
            assert_eq!(policies().unwrap_or(0), 0, "nothing is demanded any more");
        }
        Err(other) => panic!("{other}"),
    }
}
