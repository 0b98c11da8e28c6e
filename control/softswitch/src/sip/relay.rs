//! The stateless proxy between registered terminals (RFC 3261 sections 16.4 to 16.7 and 16.11), and what is for the
//! softswitch itself.
//!
//! Everything that it writes is a function of the message and of a key drawn at start, so a retransmission, a CANCEL
//! and the ACK of a failure take the way that the request took. It keeps no state for calls and no timer; it answers
//! what it cannot pass on.

use super::answers::Status;
use super::register::Granting;
use crate::config::Neighbour;
use crate::peers::{self, Peer};
use crate::state::{Core, Effect};
use crate::uri;
use core::net::SocketAddr;
use portunus_codec::hex_u64;
use portunus_keydist::Now;
use portunus_signalling::Protocol;
use portunus_sip::carriage::core::{Forward, forward_request, forward_response};
use portunus_sip::view::{Message, Method, Name, Uri, Via};

/// Where a request goes.
struct Target {
    to: Peer,
    /// The new Request-URI, where it changes.
    uri: Option<Box<[u8]>>,
    /// Routes to put on top.
    route: Option<Box<[u8]>>,
    /// How many Routes are taken off.
    pop: usize,
    /// True: somebody who trusts us, and is told by whom.
    asserted: bool,
}

impl Target {
    /// As it came.
    fn plain(to: Peer) -> Self {
        Self { to, uri: None, route: None, pop: 0, asserted: false }
    }
}

/// What a request is, once its topmost Route has been looked at.
enum Way {
    /// It goes on.
    On(Target),
    /// It is for us.
    Here,
    /// It cannot go on.
    Not(Status),
}

/// A request, registrations included; a registration that is for a registrar behind us to grant.
pub(super) fn request(
    sw: &mut Core,
    now: Now,
    from: Peer,
    msg: &Message<'_>,
    out: &mut Vec<Effect>,
) -> Option<Granting> {
    sign_of_life(sw, now, from, msg, out);
    match way(sw, now, from, msg) {
        Way::Here if msg.method() == Method::Register => return sw.on_register(now, from, msg, out),
        Way::Here => for_us(sw, from, msg, out),
        Way::On(target) => match hop_status(sw, msg) {
            None => forward(sw, from, msg, &target, out),
            Some(status) => answer(sw, from, msg, &status, out),
        },
        Way::Not(status) => answer(sw, from, msg, &status, out),
    }
    None
}

/// A proxy passes on nothing of a terminal's but what came in its active session: where there is a candidate, this says
/// that the terminal is there. A registration says so itself, or does not.
fn sign_of_life(sw: &mut Core, now: Now, from: Peer, msg: &Message<'_>, out: &mut Vec<Effect>) {
    if !sw.location.has_candidates() || msg.method() == Method::Register {
        return;
    }
    if let Some(idc) = msg.from().sip().and_then(|uri| uri::identity(&uri)) {
        sw.alive(now, idc.as_idc().as_str(), from, out);
    }
}

/// How many Routes on top are ours, to be taken off: two where a call passed here twice, on its way to a registrar behind
/// us and from it, which did not stay between the two.
fn own_routes(sw: &Core, msg: &Message<'_>) -> usize {
    let own = |uri: &Uri<'_>| peers::is_own(&sw.config, uri) || uri.user.is_none() && peers::is_ours(&sw.config, uri);
    msg.addrs(Name::Route).take_while(|r| r.sip().is_some_and(|uri| own(&uri))).count()
}

fn way(sw: &mut Core, now: Now, from: Peer, msg: &Message<'_>) -> Way {
    let pop = own_routes(sw, msg);
    let uri = Uri::parse(msg.uri());
    let behind = asks_registrar(sw, from, msg) && !uri.is_some_and(|uri| peers::is_own(&sw.config, &uri));
    if behind && msg.to().tag().is_none() {
        // Whoever begins something does not choose a way past the registrar.
        return registrar(sw, msg, msg.addrs(Name::Route).count());
    }
    if let Some(route) = msg.addrs(Name::Route).nth(pop) {
        return match route.sip().and_then(|uri| peers::named(&sw.config, &uri)) {
            Some(to) => Way::On(Target { pop, asserted: behind && is_registrar(sw, to), ..Target::plain(to) }),
            None => no_route(sw),
        };
    }
    let Some(uri) = uri else { return Way::Not(Status::new(416, "Unsupported URI Scheme")) };
    let ours = peers::is_ours(&sw.config, &uri);
    if let Some(to) = peers::named(&sw.config, &uri).filter(|_| !ours) {
        return Way::On(Target { pop, asserted: behind && is_registrar(sw, to), ..Target::plain(to) });
    }
    if behind {
        return registrar(sw, msg, pop);
    }
    if !ours && msg.method() == Method::Register {
        // A guest's, who names his own domain.
        let host = core::str::from_utf8(uri.host).unwrap_or_default();
        return if sw.config.realms.knows(host) { Way::Here } else { no_route(sw) };
    }
    if !ours {
        return match is_bound(sw, now, &uri) {
            // A subscriber of another domain's who registered here.
            true => registered(sw, now, &uri, pop),
            false => neighbour(sw, from, msg, &uri, pop).unwrap_or_else(|| no_route(sw)),
        };
    }
    if uri.user.is_none() || msg.method() == Method::Register {
        return Way::Here;
    }
    if !is_bound(sw, now, &uri)
        && let Some(way) = neighbour(sw, from, msg, &uri, pop)
    {
        return way;
    }
    registered(sw, now, &uri, pop)
}

fn is_bound(sw: &Core, now: Now, uri: &Uri<'_>) -> bool {
    uri::identity(uri).is_some_and(|idc| sw.location.best(now.mono_ms, idc.as_idc().as_str()).is_some())
}

/// The neighbour by which a domain's subscribers are reached. Nobody's request comes to the same one twice, and none goes
/// through us from one foreign domain to another.
fn neighbour(sw: &mut Core, from: Peer, msg: &Message<'_>, uri: &Uri<'_>, pop: usize) -> Option<Way> {
    if sw.config.neighbours.is_empty() {
        return None;
    }
    let at = |addr: SocketAddr| sw.config.neighbours.iter().find(|n| n.address == addr);
    let of = |n: &Neighbour| n.domains.iter().any(|d| uri.host.eq_ignore_ascii_case(d.as_bytes()));
    let sender = match from {
        Peer::Udp(addr) => at(addr),
        Peer::LocalProxy | Peer::LocalLane(_) | Peer::Behind(..) => None,
    };
    let ours = peers::is_ours(&sw.config, uri);
    if sender.is_some() && !ours {
        return None;
    }
    let been = |n: &Neighbour| msg.vias().any(|via| sent_by(&via) == Some(n.address));
    let next = sw.config.neighbours.iter().find(|n| of(n) && !been(n))?;
    let to = Peer::Udp(next.address);
    // What a neighbour says of the caller stays; of our own terminals' it is ours to say.
    let asserted = peers::is_proxy(&sw.config, from);
    sw.counters.to_neighbour += 1;
    Some(Way::On(Target { pop, asserted, ..Target::plain(to) }))
}

/// True for what a terminal asks for where registrars behind us serve it: theirs, but for registrations, which are
/// authenticated here.
fn asks_registrar(sw: &Core, from: Peer, msg: &Message<'_>) -> bool {
    !sw.upstreams[Protocol::Sip].is_empty() && msg.method() != Method::Register && peers::is_proxy(&sw.config, from)
}

fn is_registrar(sw: &Core, to: Peer) -> bool {
    matches!(to, Peer::Udp(addr) if sw.upstreams[Protocol::Sip].find(addr).is_some())
}

/// The registrar behind us that serves the sender. CANCEL and ACK follow their INVITE: it is the same one as long as it
/// is up.
fn registrar(sw: &mut Core, msg: &Message<'_>, pop: usize) -> Way {
    let idc = msg.from().sip().and_then(|uri| uri::identity(&uri));
    let name = idc.as_ref().map_or(msg.call_id(), |idc| idc.as_idc().as_bytes());
    match sw.upstreams[Protocol::Sip].choose(name, &[]).and_then(|nth| sw.upstreams[Protocol::Sip].address(nth)) {
        Some(addr) => Way::On(Target { pop, asserted: true, ..Target::plain(Peer::Udp(addr)) }),
        None => {
            sw.counters.registrar_none += 1;
            Way::Not(sw.busy())
        }
    }
}

fn no_route(sw: &mut Core) -> Way {
    sw.counters.no_route += 1;
    Way::Not(Status::new(404, "No Route"))
}

/// Looks an identity up.
fn registered(sw: &mut Core, now: Now, uri: &Uri<'_>, pop: usize) -> Way {
    let idc = uri::identity(uri);
    let name = idc.as_ref().map_or("", |idc| idc.as_idc().as_str());
    let Some(binding) = sw.location.best(now.mono_ms, name) else {
        let known = sw.location.find(now.mono_ms, name).is_some();
        sw.counters.unreachable += 1;
        return Way::Not(match known {
            true => Status::new(480, "Temporarily Unavailable"),
            false => Status::new(404, "Not Found"),
        });
    };
    let hop = first_uri(&binding.path).unwrap_or(&binding.uri);
    let to = Uri::parse(hop).and_then(|uri| peers::named(&sw.config, &uri));
    let route = (!binding.path.is_empty()).then(|| binding.path.clone());
    let target = to.map(|to| Target { to, uri: Some(binding.uri.clone()), route, pop, asserted: false });
    match target {
        Some(target) => Way::On(target),
        // The neighbour that it registered through is no longer configured.
        None => no_route(sw),
    }
}

/// The URI of the first element of a Path; none of an empty one.
pub(super) fn first_uri(path: &[u8]) -> Option<&[u8]> {
    let item = portunus_sip::view::Items::new(path).next()?;
    portunus_sip::view::Addr::parse(item).map(|a| a.uri)
}

/// What keeps a request from being passed on: hops, loops, options that we do not have.
fn hop_status(sw: &mut Core, msg: &Message<'_>) -> Option<Status> {
    let status = if msg.max_forwards() == Some(0) {
        Status::new(483, "Too Many Hops")
    } else if msg.vias().any(|via| is_loop(sw, &via, msg)) {
        Status::new(482, "Loop Detected")
    } else {
        let tags: Vec<_> = msg.items(Name::ProxyRequire).map(String::from_utf8_lossy).collect();
        let asked = !tags.is_empty() && !matches!(msg.method(), Method::Ack | Method::Cancel);
        return asked.then(|| Status::new(420, "Bad Extension").with("Unsupported", &tags.join(", ")));
    };
    sw.counters.looped += 1;
    Some(status)
}

fn is_loop(sw: &Core, via: &Via<'_>, msg: &Message<'_>) -> bool {
    let suffix = hex_u64(loop_hash(sw, msg));
    is_our_via(sw, via) && via.branch().is_some_and(|b| b.ends_with(&suffix))
}

pub(super) fn is_our_via(sw: &Core, via: &Via<'_>) -> bool {
    sent_by(via) == Some(sw.config.own)
}

/// The address in a Via's sent-by, where it is an IP literal.
fn sent_by(via: &Via<'_>) -> Option<SocketAddr> {
    let host = core::str::from_utf8(via.host).ok()?;
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(SocketAddr::new(ip, via.port.unwrap_or(5060)))
}

/// What says that a request came back unchanged (RFC 3261 section 16.6, step 8). Without the To tag, which the ACK of
/// a failure has and its INVITE has not.
fn loop_hash(sw: &Core, msg: &Message<'_>) -> u64 {
    let routes = msg.values(Name::Route).collect::<Vec<_>>().join(&b","[..]);
    let tag = msg.from().tag().unwrap_or_default();
    let number = msg.cseq().0.to_be_bytes();
    sw.keyed.parts(3, &[msg.uri(), &routes, tag, msg.call_id(), &number])
}

fn forward(sw: &mut Core, from: Peer, msg: &Message<'_>, target: &Target, out: &mut Vec<Effect>) {
    let Some(source) = peers::address(&sw.config, from) else { return };
    let own = sw.config.own;
    // The branch follows the request's own, so that CANCEL and ACK share it.
    let branch = sw.keyed.parts(4, &[msg.via().whole]);
    let suffix = hex_u64(loop_hash(sw, msg));
    let mut via = format!("SIP/2.0/UDP {own};branch=z9hG4bK").into_bytes();
    via.extend_from_slice(&hex_u64(branch));
    via.push(b'-');
    via.extend_from_slice(&suffix);
    let record = format!("<sip:{own};lr>");
    // Proxies let nobody's request pass but by its sender's own name.
    let idc = msg.from().sip().and_then(|uri| uri::identity(&uri)).filter(|_| target.asserted);
    let forward = Forward {
        uri: target.uri.as_deref(),
        via: &via,
        source,
        route: target.route.as_deref(),
        pop_routes: target.pop,
        record_route: msg.method().forms_dialog().then_some(record.as_bytes()),
        asserted: idc.as_ref().map(|idc| idc.as_idc()),
    };
    if let Some(bytes) = sw.write(|w| forward_request(msg, &forward, w)) {
        sw.counters.relayed_request += 1;
        out.push(Effect::Send { protocol: Protocol::Sip, to: target.to, bytes });
    }
}

/// A response on its way back.
pub(crate) fn response(sw: &mut Core, msg: &Message<'_>, out: &mut Vec<Effect>) {
    let mut vias = msg.vias();
    let ours = vias.next().is_some_and(|via| is_our_via(sw, &via));
    let next = vias.next().filter(|_| ours);
    let to = next.and_then(|via| {
        let received = via.params.value("received").and_then(|v| core::str::from_utf8(v).ok());
        let ip = received.and_then(|v| v.trim_start_matches('[').trim_end_matches(']').parse().ok());
        let plain = sent_by(&via);
        let port = plain.map_or(via.port.unwrap_or(5060), |p| p.port());
        let addr = via.source().or_else(|| ip.map(|ip| SocketAddr::new(ip, port))).or(plain)?;
        peers::at(&sw.config, addr)
    });
    drop(vias);
    let Some(to) = to else {
        sw.counters.stray_response += 1;
        return;
    };
    if let Some(bytes) = sw.write(|w| forward_response(msg, w)) {
        sw.counters.relayed_response += 1;
        out.push(Effect::Send { protocol: Protocol::Sip, to, bytes });
    }
}

/// A request to the softswitch itself.
fn for_us(sw: &mut Core, from: Peer, msg: &Message<'_>, out: &mut Vec<Effect>) {
    let status = match msg.method() {
        Method::Options => Status::new(200, "OK").with(
            "Allow",
            "REGISTER, OPTIONS, INVITE, ACK, BYE, CANCEL, MESSAGE, SUBSCRIBE, NOTIFY, REFER, INFO, UPDATE",
        ),
        Method::Cancel => Status::new(481, "Call/Transaction Does Not Exist"),
        _ => Status::new(404, "Not Found"),
    };
    answer(sw, from, msg, &status, out);
}

/// Answers statelessly. An ACK is never answered: it ends what we answered.
fn answer(sw: &mut Core, from: Peer, msg: &Message<'_>, status: &Status, out: &mut Vec<Effect>) {
    if msg.method() == Method::Ack {
        return;
    }
    if let Some(bytes) = sw.status(msg, status) {
        out.push(Effect::Send { protocol: Protocol::Sip, to: from, bytes });
    }
}
