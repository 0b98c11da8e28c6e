//! How long the view takes: s7 of a gateway, and the reply to an audit.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portunus_h248::H248;
use portunus_h248::view::Message;
use std::hint::black_box;

const NOTIFY: &str = concat!(
    "!/2 <gw1.example.test> T=7{C=-{N=ROOT{OE=1{portunus/resp{n1=\"3f05e7b59536e12e\",",
    "n2=\"kZ4xqk3hQ0yq8u1W9Xr2dTn5sVb7cYeMfLgHjKpRtUw\",ts=\"1763942400000\",",
    "authc=\"f6f1434e395ca6be2cfb952d30d1bcbe0eb6ec6a5e44eaff2cb9d694e2eb0335\",",
    "mechs=\"x-pkd-sealed;q=0.9 ipsec-man;q=0.5;spi-c=1193046;port-c=2944\"}}}}}"
);

const AUDIT: &str = concat!(
    "MEGACO/2 [192.0.2.7]:2944\nReply = 9 {\n\tContext = - {\n\t\tAuditValue = A4444 {\n\t\t\tMedia {\n",
    "\t\t\t\tTerminationState { ServiceStates = InService, Buffer = OFF },\n\t\t\t\tStream = 1 {\n",
    "\t\t\t\t\tLocalControl { Mode = SendReceive, nt/jit = 40 },\n\t\t\t\t\tLocal {\nv=0\nc=IN IP4 192.0.2.7\n",
    "m=audio 1111 RTP/AVP 4\n\t\t\t\t\t}\n\t\t\t\t}\n\t\t\t},\n\t\t\tEvents = 2222 { al/of { strict = state } },\n",
    "\t\t\tPackages { al-1, cg-1, nt-1 }\n\t\t}\n\t}\n}\n"
);

fn view(c: &mut Criterion) {
    for (name, text) in [("s7", NOTIFY), ("audit reply", AUDIT)] {
        let msg = text.as_bytes();
        assert!(Message::parse(msg).is_ok());
        let mut group = c.benchmark_group(format!("h248 view, {name}"));
        group.throughput(Throughput::Bytes(msg.len() as u64));
        group.bench_function("check", |b| b.iter(|| Message::parse(black_box(msg)).map(|m| m.version())));
        group.bench_function("read", |b| b.iter(|| H248.read_terminal(black_box(msg)).is_ok()));
        group.finish();
    }
}

criterion_group!(benches, view);
criterion_main!(benches);
