//! `tls` against OpenSSL's own client, over a socket.

use portunus_channel::tls::{Connection, Ended, ID_LEN, Identity, Limits, Psk, Server, hello};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ID: Identity = Identity([0x0f; ID_LEN]);
const REQUEST: &[u8] = b"OPTIONS sip:example.test SIP/2.0\nContent-Length: 0\n\n";
const ANSWER: &[u8] = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";

/// `openssl s_client` towards `at` with this key, told nothing but what is named here.
fn s_client(at: &TcpListener, key: &str, more: &[&str]) -> Child {
    let address = at.local_addr().expect("bound").to_string();
    let id = String::from_utf8(ID.text().to_vec()).expect("ASCII");
    Command::new("openssl")
        .args(["s_client", "-tls1_3", "-connect", &address, "-psk_identity", &id, "-psk", key])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is missing: apt-get install openssl")
}

/// Serves one connection until a message has come; the message, or how it ended, and the socket.
fn serve(at: &TcpListener) -> (Result<Vec<u8>, Ended>, Option<Connection>, TcpStream) {
    let server = Server::new(Limits::default()).expect("an OpenSSL with TLS 1.3");
    let (mut socket, _) = at.accept().expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let (mut beginning, mut connection): (Vec<u8>, Option<Connection>) = (Vec::new(), None);
    let (mut octets, mut room) = ([0; 4096], [0; 4096]);
    loop {
        let count = socket.read(&mut octets).expect("octets");
        assert_ne!(count, 0, "s_client gave up");
        let mut shown = octets[..count].to_vec();
        if connection.is_none() {
            beginning.append(&mut shown);
            let Some(offer) = hello::read(&beginning).expect("a ClientHello") else { continue };
            assert_eq!(offer.id, Some(ID));
            connection = Some(server.connection(offer.id, Some(Psk::new([0xab; 32]))).expect("memory"));
            shown = core::mem::take(&mut beginning);
        }
        let mut out = Vec::new();
        let taken = connection.as_mut().expect("made").take(&shown, &mut room, &mut out);
        socket.write_all(&out).expect("sent");
        match taken {
            Ok(taken) if taken.plain > 0 => return (Ok(room[..taken.plain].to_vec()), connection, socket),
            Ok(_) => {}
            Err(ended) => return (Err(ended), connection, socket),
        }
    }
}

#[test]
fn s_client_completes_a_handshake_and_passes_sip() {
    let at = TcpListener::bind("127.0.0.1:0").expect("a socket");
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"] {
        let mut client = s_client(&at, &"ab".repeat(32), &["-brief", "-ciphersuites", suite]);
        let mut input = client.stdin.take().expect("piped");
        input.write_all(REQUEST).expect("it runs");
        let (request, connection, mut socket) = serve(&at);
        assert_eq!(request.as_deref(), Ok(REQUEST));
        let (mut connection, mut out) = (connection.expect("there"), Vec::new());
        connection.put(ANSWER, &mut out).expect("open");
        connection.close(&mut out);
        socket.write_all(&out).expect("sent");
        let done = client.wait_with_output().expect("it ends");
        drop(input);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.stdout.ends_with(ANSWER), "{:?}\n{said}", String::from_utf8_lossy(&done.stdout));
        for line in ["Protocol version: TLSv1.3", suite, "Server Temp Key: X25519"] {
            assert!(said.contains(line), "{line} in\n{said}");
        }
    }
}

#[test]
fn s_client_changes_its_key_and_asks_for_another() {
    let at = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let mut client = s_client(&at, &"ab".repeat(32), &[]);
    let mut input = client.stdin.take().expect("piped");
    let typing = std::thread::spawn(move || {
        // A line that begins with K, read by itself, is an order to s_client.
        for line in [&b"K\n"[..], REQUEST] {
            std::thread::sleep(Duration::from_millis(700));
            input.write_all(line).expect("it runs");
        }
        input
    });
    let (request, connection, mut socket) = serve(&at);
    assert_eq!(request.as_deref(), Ok(REQUEST));
    let (mut connection, mut out) = (connection.expect("there"), Vec::new());
    connection.put(ANSWER, &mut out).expect("open");
    connection.close(&mut out);
    socket.write_all(&out).expect("sent");
    let done = client.wait_with_output().expect("it ends");
    drop(typing.join().expect("typed"));
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("KEYUPDATE") || String::from_utf8_lossy(&done.stderr).contains("KEYUPDATE"), "{said}");
    assert!(said.contains("SIP/2.0 200 OK"), "{said}");
}

#[test]
fn s_client_with_a_wrong_key_gets_the_alert() {
    let at = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let client = s_client(&at, &"cd".repeat(32), &["-brief"]);
    let (ended, _, socket) = serve(&at);
    assert_eq!(ended, Err(Ended::Unproven));
    drop(socket);
    let done = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said.contains("alert number 51"), "{said}");
}
