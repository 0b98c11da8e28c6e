//! The running kernel as a peer. What needs privileges or a module that it lacks says so and ends: the same code passed
//! wherever it could be run.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use portunus_io::xfrm::{Answer, Association, Direction, Netlink, Policy, Request, SaId, encapsulate};

/// No such algorithm, no such protocol: a kernel without AES-GCM or without ESP.
const ENOSYS: i32 = 38;
const EPROTONOSUPPORT: i32 = 93;
const REQID: u32 = 0x506b_6474;

/// The kernel's answer to one request.
fn done(netlink: &mut Netlink, request: &Request<'_>) -> i32 {
    let asked = netlink.ask(request).expect("sent");
    let mut outcome = None;
    for _ in 0..20 {
        if netlink.wait(Duration::from_millis(100)).expect("a wait") {
            let each = |answer| match answer {
                Answer::Done { number, error } if number == asked => outcome = Some(error),
                _ => {}
            };
            netlink.hear(each).expect("heard");
        }
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
    panic!("the kernel did not answer {request:?}");
}

/// Runs one test of this file again in a network of its own, whose loopback obeys policies as other devices do; true in
/// the test that is to do its work there.
fn alone(name: &str) -> bool {
    const INSIDE: &str = "PORTUNUS_XFRM_ALONE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let prepare = "ip link set lo up && cd /proc/sys/net/ipv4/conf/lo && echo 0 > disable_xfrm && echo 0 > disable_policy && \
                   cd - > /dev/null && exec \"$0\" --exact \"$1\" --nocapture";
    let test = std::env::current_exe().unwrap();
    let run = Command::new("unshare").args(["-n", "sh", "-c", prepare]).arg(test).arg(name).env(INSIDE, "1").output();
    let Ok(run) = run else {
        eprintln!("not run: no unshare here");
        return false;
    };
    let said = String::from_utf8_lossy(&run.stderr);
    eprint!("{said}");
    assert!(run.status.success() || !said.contains("panicked"), "{said}");
    if !run.status.success() {
        eprintln!("not run: a network of its own needs CAP_SYS_ADMIN, and CAP_NET_ADMIN inside");
    }
    false
}

fn netlink() -> Option<Netlink> {
    match Netlink::open() {
        Ok(netlink) => Some(netlink),
        Err(error) => {
            eprintln!("not run: this kernel has no xfrm_user ({error})");
            None
        }
    }
}

#[test]
fn policies_are_demanded_seen_by_others_and_released() {
    if !alone("policies_are_demanded_seen_by_others_and_released") {
        return;
    }
    let Some(mut netlink) = netlink() else { return };
    let local: SocketAddr = "127.77.0.1:15066".parse().unwrap();
    let policies = [Direction::In, Direction::Out].map(|direction| Policy { direction, local, reqid: REQID });
    for policy in policies {
        assert_eq!(done(&mut netlink, &Request::Demand(policy)), 0, "{policy:?}");
    }
    if let Ok(shown) = Command::new("ip").args(["xfrm", "policy", "list"]).output() {
        // Without a table of protocols it shows numbers.
        let shown = String::from_utf8_lossy(&shown.stdout).replace('\t', " ").replace("proto 17", "proto udp");
        let reqid = format!("proto esp reqid {REQID} mode transport");
        for line in [
            "src 0.0.0.0/0 dst 127.77.0.1/32 proto udp dport 15066",
            "src 127.77.0.1/32 dst 0.0.0.0/0 proto udp sport 15066",
            &reqid,
        ] {
            assert!(shown.contains(line), "{line} not in\n{shown}");
        }
    }
    // Nothing leaves unprotected, and nothing arrives so.
    let ours = std::net::UdpSocket::bind(local).unwrap();
    let peer = std::net::UdpSocket::bind("127.77.0.2:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let _ = ours.send_to(b"in the clear", peer.local_addr().unwrap());
    let _ = peer.send_to(b"in the clear", local);
    let mut room = [0; 64];
    assert!(peer.recv(&mut room).is_err() && ours.recv(&mut room).is_err());
    for policy in policies {
        assert_eq!(done(&mut netlink, &Request::Release(policy)), 0);
    }
    ours.send_to(b"in the clear", peer.local_addr().unwrap()).unwrap();
    assert_eq!(peer.recv(&mut room).unwrap(), 12);
}

/// Where the kernel has ESP: both directions installed, seen, and removed. Where it lacks it, the refusal is the one that a
/// well-formed request gets, and nothing is left.
#[test]
fn associations_are_installed_where_the_kernel_has_esp() {
    if !alone("associations_are_installed_where_the_kernel_has_esp") {
        return;
    }
    let Some(mut netlink) = netlink() else { return };
    let key = [7; 36];
    let (here, there) = ("127.77.0.1".parse().unwrap(), "127.77.0.3".parse().unwrap());
    let inward = Association {
        id: SaId { to: here, spi: 0x0a0b_0c0d },
        from: there,
        ports: (5070, 5066),
        encapsulation: (4500, 4501),
        key: &key,
        reqid: REQID,
        window: 1024,
    };
    let outward = Association {
        id: SaId { to: there, spi: 0x0a0b_0c0e },
        from: here,
        ports: (5066, 5070),
        encapsulation: (4501, 4500),
        window: 0,
        ..inward
    };
    for sa in [inward, outward] {
        match done(&mut netlink, &Request::Add(sa)) {
            0 => {}
            error @ (ENOSYS | EPROTONOSUPPORT) => {
                eprintln!("installing was not run: this kernel has no ESP, or no AES-GCM (errno {error})");
                assert_eq!(done(&mut netlink, &Request::Remove(sa.id)), 3, "ESRCH: it is not there");
                continue;
            }
            error => panic!("{error}"),
        }
        let moved = Association { encapsulation: (41_000, 4501), ..sa };
        assert_eq!(done(&mut netlink, &Request::Update(moved)), 0);
        let asked = netlink.ask(&Request::List).unwrap();
        let (mut seen, mut ended) = (false, false);
        while !ended && netlink.wait(Duration::from_secs(2)).unwrap() {
            let each = |answer| match answer {
                Answer::Found { id, reqid } => seen |= id == sa.id && reqid == REQID,
                Answer::End { number } => ended |= number == asked,
                _ => {}
            };
            netlink.hear(each).unwrap();
        }
        assert!(seen && ended);
        assert_eq!(done(&mut netlink, &Request::Remove(sa.id)), 0);
    }
}

#[test]
fn a_socket_hands_its_esp_to_the_kernel() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    match encapsulate(&socket) {
        Ok(()) => {
            let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            // A keep-alive, and ESP that no association knows: the kernel takes both.
            peer.send_to(&[0xff], socket.local_addr().unwrap()).unwrap();
            peer.send_to(&[7; 64], socket.local_addr().unwrap()).unwrap();
            peer.send_to(&[0, 0, 0, 0, 9], socket.local_addr().unwrap()).unwrap();
            let mut room = [0; 128];
            assert_eq!(socket.recv(&mut room).unwrap(), 5, "only what has a zero SPI is ours");
        }
        Err(error) => eprintln!("not run: {error}"),
    }
}
