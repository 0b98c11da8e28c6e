//! The interface on a socket: HTTP as it arrives, in pieces, too long, too slow, too often.

mod lab;

use lab::{KEY, Lab};
use portunus_api::records::Records;
use portunus_api::server::{ServerConfig, ServerHandle, start};
use portunus_api::service::{Service, ServiceConfig};
use portunus_auc::tokens::Scope;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

fn serving(lab: &Lab, connections: usize) -> ServerHandle {
    let config = ServiceConfig { rate: 1_000, import_max: 4 << 20 };
    let watch = Box::new(|| json!({ "running": true }));
    let service = Service::new(config, Records::new(lab.store.clone()), None, watch);
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    start(ServerConfig { address, tls: None, connections }, service).expect("it starts")
}

fn connect(server: &ServerHandle) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream
}

/// Sends octets and reads to the end of the connection.
fn exchange(server: &ServerHandle, request: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(request).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64
}

#[test]
fn requests_are_answered_over_a_socket_and_the_connection_stays() {
    let lab = Lab::new();
    let server = serving(&lab, 8);
    let ops = lab.token(&Scope::ALL);
    let body = format!("{{\"key\":\"{KEY}\"}}");
    let put = format!(
        "PUT /v1/subscribers/alice@example.test HTTP/1.1\r\nHost: auc\r\nAuthorization: Bearer {ops}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let get = format!(
        "GET /v1/subscribers/alice@example.test HTTP/1.1\r\nHost: auc\r\nAuthorization: Bearer {ops}\r\n\
         Connection: close\r\n\r\n"
    );
    let answers = exchange(&server, format!("{put}{get}").as_bytes());
    let lower = answers.to_ascii_lowercase();
    assert!(answers.starts_with("HTTP/1.1 201 ") && answers.contains("HTTP/1.1 200 "), "{answers}");
    assert!(lower.contains("cache-control: no-store") && lower.matches("etag: \"").count() == 2, "{answers}");
    let refused = exchange(&server, b"GET /v1/subscribers HTTP/1.1\r\nHost: auc\r\n\r\n").to_ascii_lowercase();
    assert!(refused.starts_with("http/1.1 401 ") && refused.contains("www-authenticate: bearer"), "{refused}");
    assert!(refused.contains("application/problem+json") && refused.contains("connection: close"), "{refused}");
    server.stop();
}

#[test]
fn a_csv_arrives_in_chunks_and_one_that_breaks_off_stores_whole_batches_only() {
    let lab = Lab::new();
    let server = serving(&lab, 8);
    let ops = lab.token(&[Scope::SubscribersWrite]);
    let head = format!(
        "POST /v1/imports HTTP/1.1\r\nHost: auc\r\nAuthorization: Bearer {ops}\r\nContent-Type: text/csv\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let rows: String = (0..2_500).map(|n| format!("t{n:04}@example.test,{KEY}\n")).collect();
    let mut whole = head.clone().into_bytes();
    for piece in rows.as_bytes().chunks(7_001) {
        whole.extend(format!("{:x}\r\n", piece.len()).bytes());
        whole.extend(piece);
        whole.extend(b"\r\n");
    }
    // Without the last chunk the body is not whole, and its last batch not either.
    let mut broken = connect(&server);
    broken.write_all(&whole).expect("sent");
    broken.shutdown(std::net::Shutdown::Both).expect("closed");
    let until = Instant::now() + Duration::from_secs(10);
    let count = || lab.store.count(portunus_auc::store::Space::Subscriber).expect("count");
    while count() < 2_000 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(count(), 2_000);
    whole.extend(b"0\r\n\r\n");
    let answer = exchange(&server, &whole);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"added\":500,"), "{answer}");
    assert_eq!(count(), 2_500);
}

#[test]
fn what_is_too_long_is_refused_and_what_is_too_many_is_closed() {
    let lab = Lab::new();
    let server = serving(&lab, 2);
    let ops = lab.token(&Scope::ALL);
    let long = format!("GET /v1/health HTTP/1.1\r\nHost: auc\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert!(!exchange(&server, long.as_bytes()).starts_with("HTTP/1.1 200 "));
    let many = format!("GET /v1/health HTTP/1.1\r\nHost: auc\r\n{}\r\n", "X: y\r\n".repeat(80));
    assert!(!exchange(&server, many.as_bytes()).starts_with("HTTP/1.1 200 "));
    let big = format!(
        "PUT /v1/subscribers/a HTTP/1.1\r\nHost: auc\r\nAuthorization: Bearer {ops}\r\n\
         Content-Type: application/json\r\nContent-Length: 9000000\r\n\r\n{}",
        "x".repeat(90_000)
    );
    assert!(exchange(&server, big.as_bytes()).starts_with("HTTP/1.1 413 "));
    let idle = [connect(&server), connect(&server)];
    std::thread::sleep(Duration::from_millis(300));
    let mut third = connect(&server);
    let mut octet = [0u8];
    assert!(matches!(third.read(&mut octet), Ok(0) | Err(_)), "closed at once");
    assert_eq!(server.refused(), 1);
    // Whoever says nothing is not waited for: the places are free again.
    drop(idle);
    std::thread::sleep(Duration::from_millis(300));
    let health = b"GET /v1/health HTTP/1.1\r\nHost: auc\r\nConnection: close\r\n\r\n";
    assert!(exchange(&server, health).starts_with("HTTP/1.1 200 "));
}

#[test]
fn who_is_silent_or_slow_is_cut_off() {
    let lab = Lab::new();
    let server = serving(&lab, 8);
    let begun = Instant::now();
    let mut silent = connect(&server);
    let mut slow = connect(&server);
    let mut after = connect(&server);
    slow.write_all(b"GET /v1/health HTTP/1.1\r\nHost: a").expect("sent");
    after.write_all(b"GET /v1/health HTTP/1.1\r\nHost: auc\r\n\r\n").expect("sent");
    for stream in [&mut silent, &mut slow, &mut after] {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok() || begun.elapsed() < Duration::from_secs(19), "{ended:?}");
    }
    let took = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(18)).contains(&took), "{took:?}");
    // A token whose time is over is one that never was.
    let scopes = [Scope::SubscribersRead].into_iter().collect();
    let added = lab.store.add_token((0, now() - 1), "old", scopes, &mut portunus_keydist::SystemRandom::new());
    let request = format!(
        "GET /v1/subscribers HTTP/1.1\r\nHost: auc\r\nAuthorization: Bearer {}\r\n\r\n",
        added.expect("a token").1.as_str()
    );
    assert!(exchange(&server, request.as_bytes()).starts_with("HTTP/1.1 401 "));
}
