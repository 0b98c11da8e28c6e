//! `[proxy]`, and what faces terminals, which `[softswitch.direct]` shares with it.

use super::{Place, count};
use crate::defaults as d;
use crate::model::{
    Capacity, Cookies, Edge, Io, KernelEsp, ListenProtocol, ListenTransport, Listener, Lockout, Mechanism, Overload,
    Policy, Protected, Proxy, Secured, Span,
};
use crate::read::Section;
use crate::value::{Device, OneOf, Realm, Word};
use core::net::SocketAddr;
use core::time::Duration;

impl Word for ListenProtocol {
    const WORDS: &'static [(&'static str, Self)] =
        &[("sip", Self::Sip), ("mgcp", Self::Mgcp), ("h248", Self::H248), ("ras", Self::Ras)];
}

impl Word for ListenTransport {
    const WORDS: &'static [(&'static str, Self)] = &[("udp", Self::Udp), ("tcp", Self::Tcp)];
}

impl Word for Mechanism {
    const WORDS: &'static [(&'static str, Self)] =
        &[("x-pkd-sealed", Self::Sealed), ("ipsec-man", Self::Ipsec), ("tls", Self::Tls)];
}

impl Word for Cookies {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("auto", Self::Auto), ("never", Self::Never)];
}

pub(super) fn proxy(mut s: Section<'_, '_, '_>, place: Place<'_>) -> Option<Proxy> {
    let identity = s.key::<Device>("identity").required();
    let realm = s.key::<Realm>("realm").required();
    let realms = s.key::<Vec<Realm>>("realms").optional();
    let core = match s.section("core") {
        Some(c) => super::core_side::core(c),
        None => {
            s.note("no core side", "add [proxy.core] with `listen` and `softswitches`");
            None
        }
    };
    let edge = edge(s, place);
    let realms = realms.into_iter().flatten().map(|r| r.0).collect();
    Some(Proxy { identity: identity?.0, realm: realm?.0, realms, core: core?, edge: edge? })
}

/// The address goes into Via, Path and Contact, so it must be one that others can use.
pub(super) fn specific(address: &SocketAddr) -> Result<(), (String, String)> {
    let problem = || {
        let write = "write the address that its neighbours reach it at";
        ("an unspecified address cannot be put into messages".to_owned(), write.to_owned())
    };
    if address.ip().is_unspecified() { Err(problem()) } else { Ok(()) }
}

/// Somebody else's address, to send to.
pub(super) fn reachable(address: &SocketAddr) -> Result<(), (String, String)> {
    let nowhere = address.ip().is_unspecified() || address.port() == 0;
    let problem =
        || (format!("nobody is reached at {address}"), "write the address and port where it listens".to_owned());
    if nowhere { Err(problem()) } else { Ok(()) }
}

/// Reads what faces terminals from a section that may hold other keys, which the caller has asked for.
pub(super) fn edge(mut s: Section<'_, '_, '_>, place: Place<'_>) -> Option<Edge> {
    let key = match s.section("key") {
        Some(mut k) => {
            let source = place.key_source(&mut k, true);
            let other = k.section("other").map(|mut o| {
                let other = place.key_source(&mut o, true);
                o.finish();
                other
            });
            k.finish();
            source.map(|source| (source, other.flatten()))
        }
        None => {
            s.note("no device key", format!("add [{}.key] with `file = \"PATH\"`", s.path));
            None
        }
    };
    let cores: Vec<usize> = s.key::<Vec<u64>>("cores").or(Vec::new()).into_iter().map(count).collect();
    // A pinned worker a core, where cores are named; else one worker.
    let workers = count(s.key("workers").within(1, 128).or(cores.len().clamp(1, 128) as u64));
    if !cores.is_empty() && cores.len() != workers {
        let problem = format!("{} cores for {workers} workers", cores.len());
        s.gather.note_at(&s.path_of("cores"), problem, "name one core a worker, or none");
    }
    let control_core = s.key::<u64>("control_core").optional().map(count);
    let listeners = listeners(&mut s);
    let mut kernel_esp = Some(None);
    let [sealed, ipsec] = Mechanism::DATAGRAMS.map(|mechanism| protected(&mut s, mechanism, &mut kernel_esp));
    let tls = tls(&mut s);
    let policy = policy(s.section_or_empty("policy"));
    let border = super::policy::border(s.section_or_empty("border"));
    for (mechanism, place) in [(Mechanism::Sealed, &sealed), (Mechanism::Ipsec, &ipsec)] {
        if matches!(place, Some(None)) && policy.mechanisms.contains(&mechanism) {
            let write = format!("add [{}.{}] with `address`", s.path, mechanism.section());
            s.note(format!("no place for datagrams of {}, which the policy allows", mechanism.word()), write);
        }
    }
    if tls.as_ref().is_some_and(Vec::is_empty) && policy.mechanisms.contains(&Mechanism::Tls) {
        let write = format!("add [[{}.tls]] with `protocol` and `address`", s.path);
        s.note("no place for connections of tls, which the policy allows", write);
    }
    let capacity = capacity(s.section_or_empty("capacity"));
    let overload = overload(s.section_or_empty("overload"));
    let lockout = lockout(s.section_or_empty("lockout"));
    let io = io(s.section_or_empty("io"));
    s.finish();
    let (key, other_key) = key?;
    Some(Edge {
        key,
        other_key,
        workers,
        cores,
        control_core,
        listeners: listeners?,
        sealed: sealed?,
        ipsec: ipsec?,
        kernel_esp: kernel_esp?,
        tls: tls?,
        policy,
        policies: place.policies.to_vec(),
        border,
        capacity,
        overload,
        lockout,
        io,
    })
}

/// Where the messages of a mechanism arrive; `None`: what stands there is wrong.
fn protected(
    s: &mut Section<'_, '_, '_>,
    mechanism: Mechanism,
    kernel: &mut Option<Option<KernelEsp>>,
) -> Option<Option<Protected>> {
    let Some(mut l) = s.section(mechanism.section()) else { return Some(None) };
    let address = l.key::<SocketAddr>("address").required();
    let advertised = l.key::<SocketAddr>("advertised").check(specific).optional();
    if mechanism == Mechanism::Ipsec {
        *kernel = l.section("kernel").map_or(Some(None), |k| kernel_esp(k).map(Some));
    }
    l.finish();
    Some(Some(Protected { address: address?, advertised }))
}

/// That the host's kernel does ESP.
fn kernel_esp(mut k: Section<'_, '_, '_>) -> Option<KernelEsp> {
    // Policies of the kernel are for an address, and its ports are counted from one.
    let address = k.key::<SocketAddr>("address").check(reachable).required();
    let ports = k.key("ports").within(1024, 65_000).required();
    let sessions = count(k.key("sessions").within(1, 1_000_000).or(d::KERNEL_SESSIONS));
    k.finish();
    Some(KernelEsp { address: address?, ports: u16::try_from(ports?).ok()?, sessions })
}

/// Where connections of mechanism `tls` arrive; `None`: what stands there is wrong.
fn tls(s: &mut Section<'_, '_, '_>) -> Option<Vec<Secured>> {
    let one = |mut l: Section<'_, '_, '_>| {
        let protocol = l.key::<OneOf<ListenProtocol>>("protocol").required();
        let address = l.key::<SocketAddr>("address").required();
        let advertised = l.key::<SocketAddr>("advertised").check(specific).optional();
        if let Some(OneOf(protocol)) = protocol.filter(|of| !streams(of.0)) {
            let problem = format!("{} is not carried over TCP, and so not inside TLS", protocol.name());
            l.gather.note_at(&l.path_of("protocol"), problem, "write \"sip\" or \"h248\"");
        }
        l.finish();
        Some(Secured { protocol: protocol?.0, address: address?, advertised })
    };
    let read: Vec<_> = s.sections("tls").into_iter().map(one).collect();
    read.into_iter().collect()
}

/// Protocols that TCP may carry.
const fn streams(protocol: ListenProtocol) -> bool {
    matches!(protocol, ListenProtocol::Sip | ListenProtocol::H248)
}

fn listeners(s: &mut Section<'_, '_, '_>) -> Option<Vec<Listener>> {
    let read: Vec<_> = s.sections("listener").into_iter().map(listener).collect();
    if read.is_empty() {
        let write = format!("add [[{}.listener]] with `protocol`, `transport` and `address`", s.path);
        s.note("no listener: terminals cannot reach it", write);
    }
    read.into_iter().collect()
}

fn listener(mut l: Section<'_, '_, '_>) -> Option<Listener> {
    let protocol = l.key::<OneOf<ListenProtocol>>("protocol").required();
    let transport = l.key("transport").or(OneOf(ListenTransport::Udp)).0;
    let address = l.key::<SocketAddr>("address").required();
    let advertised = l.key::<SocketAddr>("advertised").check(specific).optional();
    let stock_phones = l.key("stock_phones").or(false);
    let policy = l.key::<String>("policy").live().optional();
    if let Some(OneOf(protocol)) = protocol {
        if transport == ListenTransport::Tcp && !streams(protocol) {
            let problem = format!("{} is not carried over TCP", protocol.name());
            l.gather.note_at(&l.path_of("transport"), problem, "write \"udp\"");
        }
        if stock_phones && protocol != ListenProtocol::Sip {
            let problem = format!("{} has no terminals without keys", protocol.name());
            l.gather.note_at(&l.path_of("stock_phones"), problem, "leave it out");
        }
    }
    l.finish();
    Some(Listener { protocol: protocol?.0, transport, address: address?, advertised, stock_phones, policy })
}

fn policy(mut p: Section<'_, '_, '_>) -> Policy {
    let mechanisms = p
        .key::<Vec<OneOf<Mechanism>>>("mechanisms")
        .check(|l| some_mechanism(l))
        .live()
        .or(vec![OneOf(Mechanism::Sealed)]);
    let mechanisms: Vec<Mechanism> = mechanisms.into_iter().map(|m| m.0).collect();
    let policy = Policy {
        terms: super::policy::terms(&mut p, &mechanisms),
        mechanisms,
        clock_window: p.key("clock_window").within_ms(1_000, 300_000).live().or(d::CLOCK_WINDOW),
        challenge_life: p.key("challenge_life").within_ms(1_000, 60_000).live().or(d::CHALLENGE_LIFE),
        answer_cache: p.key("answer_cache").within_ms(1_000, 120_000).live().or(d::ANSWER_CACHE),
        key_life: p.key("key_life").within_ms(60_000, 604_800_000).live().or(d::KEY_LIFE),
        confirm_within: p.key("confirm_within").within_ms(1_000, 120_000).live().or(d::CONFIRM_WITHIN),
        core_timeout: p.key("core_timeout").within_ms(100, 32_000).live().or(d::CORE_TIMEOUT),
        stock_life: p.key("stock_life").within_ms(60_000, 604_800_000).live().or(d::STOCK_LIFE),
    };
    p.finish();
    policy
}

pub(super) fn some_mechanism(list: &[OneOf<Mechanism>]) -> Result<(), (String, String)> {
    let twice = list.iter().enumerate().any(|(n, m)| list.iter().take(n).any(|o| o == m));
    if list.is_empty() || twice {
        let problem = if twice { "a mechanism is named twice" } else { "no mechanism" };
        return Err((
            problem.to_owned(),
            "write one or more of \"x-pkd-sealed\", \"ipsec-man\" and \"tls\"".to_owned(),
        ));
    }
    Ok(())
}

fn capacity(mut c: Section<'_, '_, '_>) -> Capacity {
    let capacity = Capacity {
        sessions: count(c.key("sessions").within(16, 100_000_000).or(d::SESSIONS)),
        pending: c.key("pending").within(64, 16_777_216).optional().map(count),
        registrations: c.key("registrations").within(1, 1_000_000).optional().map(count),
        request: c.key("request").within_size(512, 65_507).or(d::REQUEST),
        message: c.key("message").within_size(512, 65_507).or(d::MESSAGE),
        connections: count(c.key("connections").within(1, 1_000_000).or(d::CONNECTIONS)),
    };
    if capacity.request > capacity.message {
        c.note("`request` is larger than `message`", "let `message` be the larger one");
    }
    c.finish();
    capacity
}

fn overload(mut o: Section<'_, '_, '_>) -> Overload {
    let mut percent = |key, default| {
        let n = o.key(key).within(1, 100).live().or(default);
        u8::try_from(n).unwrap_or(100)
    };
    let cookie_percent = percent("cookie_percent", d::COOKIE_PERCENT);
    let busy_percent = percent("busy_percent", d::BUSY_PERCENT);
    let drop_percent = percent("drop_percent", d::DROP_PERCENT);
    let cookies = o.key("cookies").live().or(OneOf(Cookies::Auto)).0;
    let retry_after = retry_after(&mut o, true);
    if !(cookie_percent <= busy_percent && busy_percent <= drop_percent) {
        let write = "keep cookie_percent <= busy_percent <= drop_percent";
        o.note("the steps of overload are out of order", write);
    }
    o.finish();
    Overload { cookies, cookie_percent, busy_percent, drop_percent, retry_after }
}

/// `retry_after_least` and `retry_after_most`; whole seconds, as Retry-After has them.
pub(super) fn retry_after(s: &mut Section<'_, '_, '_>, live: bool) -> Span {
    let least = s.key("retry_after_least").within_ms(1_000, 3_600_000).live_if(live).or(d::RETRY_AFTER_LEAST);
    let most = s.key("retry_after_most").within_ms(1_000, 86_400_000).live_if(live).or(d::RETRY_AFTER_MOST.max(least));
    if least > most {
        s.note("`retry_after_least` is above `retry_after_most`", "let `retry_after_most` be the larger one");
    }
    Span { least, most }
}

fn lockout(mut l: Section<'_, '_, '_>) -> Lockout {
    let count16 = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    let slow_after = count16(l.key("slow_after").within(0, 1000).live().or(d::SLOW_AFTER));
    let slow = l.key("slow").within_ms(100, 3_600_000).live().or(d::SLOW);
    let ignore_after = count16(l.key("ignore_after").within(1, 10_000).live().or(d::IGNORE_AFTER));
    let ignore = l.key("ignore").within_ms(1_000, 86_400_000).live().or(d::IGNORE);
    if slow_after > ignore_after {
        l.note("`slow_after` is above `ignore_after`", "let slowing down come first");
    }
    l.finish();
    Lockout { slow_after, slow, ignore_after, ignore }
}

fn io(mut i: Section<'_, '_, '_>) -> Io {
    let batch = count(i.key("batch").within(1, 256).or(d::BATCH));
    let receive_buffer = i.key("receive_buffer").within_size(64 << 10, 1 << 30).or(d::SOCKET_BUFFER);
    let send_buffer = i.key("send_buffer").within_size(64 << 10, 1 << 30).or(d::SOCKET_BUFFER);
    let ring = i.key("ring").within_size(64 << 10, 1 << 30).or(d::RING);
    let idle_connection = i.key("idle_connection").within_ms(1_000, 86_400_000).or(d::IDLE_CONNECTION);
    let handshake = i.key("handshake").within_ms(100, 60_000).or(d::HANDSHAKE);
    let rest = i.key("rest").check(|d: &Duration| rest_limit(*d)).or(d::REST);
    let enough = count(i.key("enough").within(1, 256).or(d::ENOUGH));
    i.finish();
    Io { batch, receive_buffer, send_buffer, ring, rest, enough, idle_connection, handshake }
}

/// Longer rests would be felt by every terminal.
fn rest_limit(rest: Duration) -> Result<(), (String, String)> {
    let problem = || ("more than 10 ms of rest".to_owned(), "write \"0us\" to \"10ms\"".to_owned());
    if rest > Duration::from_millis(10) { Err(problem()) } else { Ok(()) }
}
