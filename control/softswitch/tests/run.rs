//! The loop over real sockets on loopback.

mod common;

use common::{config, header};
use portunus_aaa::client::Limits;
use portunus_aaa::net::RunnerConfig;
use portunus_softswitch::{PeerConfig, run};
use std::net::UdpSocket;
use std::time::Duration;

#[test]
fn answers_its_neighbours_over_udp_and_stops() {
    let sp = UdpSocket::bind("127.0.0.1:0").unwrap();
    sp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut config = config();
    config.own = "127.0.0.1:0".parse().unwrap();
    config.peers = vec![PeerConfig { addr: sp.local_addr().unwrap(), idsps: vec!["sp1.example.test".into()] }];
    // No AuC at all: it says so.
    let aaa = RunnerConfig {
        servers: vec![],
        nas_identifier: "ss1.example.test".into(),
        realms: "example.test".into(),
        limits: Limits::default(),
    };
    let handle = run::start(config, aaa).unwrap();
    let own = handle.address();

    let port = sp.local_addr().unwrap().port();
    let options = |n: u32| {
        format!(
            "OPTIONS sip:{own} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:sp1.example.test>;tag=a\r\nTo: <sip:{own}>\r\nCall-ID: c{n}\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    let mut buf = [0; 4096];
    for n in 0..100 {
        sp.send_to(options(n).as_bytes(), own).unwrap();
        let (len, from) = sp.recv_from(&mut buf).unwrap();
        assert_eq!(from, own);
        let answer = String::from_utf8_lossy(&buf[..len]).into_owned();
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
        assert_eq!(header(&answer, "Call-ID"), [format!("c{n}")]);
    }
    stranger.send_to(options(0).as_bytes(), own).unwrap();
    assert!(stranger.recv_from(&mut buf).is_err());

    let register = common::Bench::new(common::config()).s2(1, "alice");
    sp.send_to(register.as_bytes(), own).unwrap();
    let (len, _) = sp.recv_from(&mut buf).unwrap();
    assert!(buf[..len].starts_with(b"SIP/2.0 503 "));
    assert!(handle.is_running());
    handle.stop().unwrap();
}

#[test]
fn a_configuration_that_cannot_be_used_does_not_start() {
    let mut bad = config();
    bad.own = "127.0.0.1:0".parse().unwrap();
    bad.retries = 9;
    let aaa = RunnerConfig {
        servers: vec![],
        nas_identifier: "ss1".into(),
        realms: "example.test".into(),
        limits: Limits::default(),
    };
    let error = run::start(bad, aaa).unwrap_err();
    assert!(error.to_string().contains("retries"), "{error}");
}
