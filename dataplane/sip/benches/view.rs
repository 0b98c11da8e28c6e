//! How long the view takes: a registration of 17 headers, indexed and checked.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portunus_sip::view::Message;
use std::hint::black_box;

/// s7 as a terminal behind another proxy would send it: 17 headers.
const REGISTER: &str = concat!(
    "REGISTER sip:example.test SIP/2.0\r\n",
    "Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK-7f3a9c51d0e2;rport\r\n",
    "Max-Forwards: 70\r\n",
    "From: <sip:alice@example.test>;tag=9fxced76sl\r\n",
    "To: <sip:alice@example.test>\r\n",
    "Call-ID: 3848276298220188511@192.0.2.7\r\n",
    "CSeq: 2 REGISTER\r\n",
    "Contact: <sip:alice@192.0.2.7:5060;transport=udp>;expires=3600\r\n",
    "Expires: 3600\r\n",
    "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, NOTIFY\r\n",
    "Supported: path, sec-agree\r\n",
    "Require: sec-agree\r\n",
    "Proxy-Require: sec-agree\r\n",
    "Security-Client: x-pkd-sealed;q=1.0, ipsec-man;q=0.5;spi-c=1193046;port-c=5062\r\n",
    "Authorization: Digest username=\"alice@example.test\", realm=\"example.test\", ",
    "nonce=\"_LbXKTlXMGIgUEFrU0M8cg\", uri=\"sip:example.test\", ",
    "response=\"04ebbf0027e7374e9ecdccb41a395c88e0fbbb82a60c69b69837929f1079cfb8\", ",
    "algorithm=PKD1-HMAC-SHA-256, idsp=\"sp1.example.test\", n1=\"0895c763ef0907e0\", ",
    "n2=\"kZ4xqk3hQ0yq8u1W9Xr2dTn5sVb7cYeMfLgHjKpRtUw\", ts=\"1763942400000\"\r\n",
    "User-Agent: portunus-terminal/0.1\r\n",
    "Date: Mon, 23 Nov 2026 23:00:00 GMT\r\n",
    "Content-Length: 0\r\n",
    "\r\n",
);

fn view(c: &mut Criterion) {
    let msg = REGISTER.as_bytes();
    assert_eq!(Message::parse(msg).map(|m| m.headers().count()), Ok(17));
    let mut group = c.benchmark_group("sip view, 17 headers");
    group.throughput(Throughput::Bytes(msg.len() as u64));
    group.bench_function("index", |b| b.iter(|| Message::index(black_box(msg)).map(|m| m.headers_end())));
    group.bench_function("index and check", |b| b.iter(|| Message::parse(black_box(msg)).map(|m| m.headers_end())));
    group.finish();
}

criterion_group!(benches, view);
criterion_main!(benches);
