//! Gateways that register here and are served by controllers of somebody else's, which know nothing of any of this; how
//! each comes to its controller, and from it to another, is [`crate::behind`]'s.
//!
//! ```text
//!   s9 sent ──► AuditValue ROOT (503: its session is not active yet, once more)
//!          ──► ServiceChange ROOT restart, in the gateway's name, to a controller ──► its Reply: the two talk
//!   its controller is down ──► ServiceChange ROOT failover 909 to the next; none: disconnected 900 once it is up again
//!   its controller names another (ServiceChangeMgcId, or a hand-off) ──► the same to that one, if we have it
//!   gateway ──► controller, controller ──► gateway: as it came (the proxy puts its own identifier on what goes down)
//!   ServiceChange ROOT forced of the gateway's ──► its Reply passes ──► gone
//!   gone otherwise (silence, another registration) ──► ServiceChange ROOT forced, in its name, to the controller
//!   gone, and the controller knows it (or is silent) ──► its port towards the controllers may be closed
//!
//!   time ──► Notify it/ito of ROOT, from nobody ──► any Reply, also an Error: it is up │ silence: it is down, after some
//! ```
//!
//! The question for a sign of life is a Notify, the one command beside ServiceChange that goes from a gateway to its
//! controller (H.248.1 section 7.2): AuditValue goes the other way only, and a ServiceChange would make us a gateway there.
//! Whoever notifies without being registered is told so, by error 402, 505 or another one, and that is an answer. The
//! event is the one by which an idle gateway shows life (H.248.14); nobody has to know it to refuse it.
//!
//! Transactions are the two's own business, end to end: nothing is repeated, answered or numbered here but what is
//! said here, and what comes of a change of controllers.

use super::{Controller, Spoken};
use crate::agent::Ctx;
use crate::behind::{Answer, Behind, Dialect, Say, Served, is_own, moved};
use crate::peers::Peer;
use crate::upstreams::Upstreams;
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use portunus_codec::{Full, Writer, parse_u32};
use portunus_h248::carriage::message::{self, LONG_MS, Sender};
use portunus_h248::view::{CommandKind, Kind, Message, Method, Mid, MidForm, Services, Transaction};
use portunus_keydist::ident::{Idc, IdcBuf};
use portunus_signalling::Protocol;

/// Where controllers listen (H.248.1 annex D.1).
const PORT: u16 = 2944;
/// Highest transaction identifier that is used; 0 is none.
const HIGHEST: u32 = u32::MAX - 1;

/// H.248 in the names of gateways.
#[derive(Debug)]
pub(super) struct Text {
    /// By whom signs of life are asked for.
    own: IdcBuf,
}

impl Text {
    /// One that is told apart from other softswitches of a domain: our address, or else the domain's name.
    pub(super) fn new(own: SocketAddr, name: &IdcBuf) -> Self {
        let address = format!("[{}]:{}", own.ip(), own.port());
        let address = Idc::new(&address).filter(|_| !own.ip().is_unspecified());
        Self { own: address.map_or_else(|| *name, IdcBuf::from) }
    }
}

impl Dialect for Text {
    type Own = Spoken;
    const NUMBERS: RangeInclusive<u32> = 1..=HIGHEST;

    fn served(own: &mut Spoken) -> &mut Served {
        &mut own.served
    }

    fn write(&self, own: &Spoken, idc: &str, say: Say, id: u32, w: &mut Writer<'_>) -> Result<(), Full> {
        // Reasons of H.248.8 section 6.
        let (method, reason) = match say {
            Say::Restart => ("RS", "901 Cold Boot"),
            Say::Failover => ("FL", "909 MGC Impending Failure"),
            Say::Disconnected => ("DC", "900 Service Restored"),
            Say::HandOff => ("HO", "903 MGC Directed Change"),
            Say::Forced => ("FO", "905 Termination taken out of service"),
        };
        let version = if say == Say::Forced { String::new() } else { format!(",V={}", own.version) };
        let actions = format!("C=-{{SC=ROOT{{SV{{MT={method},RE=\"{reason}\"{version}}}}}}}");
        // Version 1 is what a ServiceChange that proposes another one is written in.
        let sender = Sender { idc: Idc::new(idc).ok_or(Full)?, version: 1 };
        message::write_request(&sender, id, &actions, w)
    }

    fn write_question(&self, id: u32, w: &mut Writer<'_>) -> Result<(), Full> {
        let sender = Sender { idc: self.own.as_idc(), version: 1 };
        message::write_request(&sender, id, "C=-{N=ROOT{OE=1{it/ito}}}", w)
    }
}

/// The one reply that a message is.
fn only_reply<'m>(msg: &Message<'m>) -> Option<Transaction<'m>> {
    let mut all = msg.transactions();
    all.next().filter(|t| t.kind == Kind::Reply && all.next().is_none())
}

impl Controller {
    /// A message of a gateway's that is no step.
    pub(super) fn pass_behind(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        if let Some(reply) = only_reply(msg).filter(|t| self.commands.awaits(t.id, from)) {
            return self.on_reply(ctx, from, msg, &reply);
        }
        let named = msg.mid().idc();
        let found = self.gateways.sender(ctx, from, |idc| named.is_some_and(|n| n.as_str() == idc));
        let Some(idc) = found else {
            ctx.core.counters.unreachable += 1;
            return self.refuse_each(ctx, from, msg);
        };
        self.on_alive(ctx, &idc);
        let Some(behind) = &mut self.behind else { return };
        let asks = msg.transactions().any(|t| t.kind == Kind::Request);
        // It announces itself: it need not be announced.
        let announces = msg.transactions().any(|t| announces(&t));
        let to = match asks {
            true => behind.way(ctx, &mut self.gateways, &idc, announces),
            false => Behind::<Text>::back(&mut self.gateways, &idc).map(|(to, _)| to),
        };
        let Some(to) = to else {
            // Nobody has to let it go.
            let leaving = msg.transactions().find(leaves);
            return leaving.iter().for_each(|t| self.let_go(ctx, from, &idc, (msg.version(), t.id)));
        };
        let Some(gateway) = self.gateways.get_mut(&idc) else { return };
        let served = &mut gateway.own.served;
        served.leaving = msg.transactions().find(leaves).map(|t| t.id).or(served.leaving);
        let shift = served.shift;
        // Of what goes up these are the controller's numbers; the others are the gateway's own.
        let own = |kind| matches!(kind, Kind::Reply | Kind::Pending);
        let number = |kind, n| if own(kind) { moved(n, shift, HIGHEST, true) } else { n };
        pass(ctx, to, msg, (shift != 0).then_some(&number));
    }

    /// A message of a controller's for the gateway of this port.
    pub(super) fn pass_back(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        let Some(behind) = &mut self.behind else { return };
        if let Some(own) = msg.transactions().find(|t| behind.awaits(t.id, from)) {
            return self.on_answer(ctx, from, msg, &own);
        }
        let Some((lane, idc)) = Behind::<Text>::whose(ctx, from) else {
            ctx.core.counters.unreachable += 1;
            if is_own(from) {
                self.refuse_each(ctx, from, msg);
            }
            return;
        };
        if !Behind::<Text>::serves(ctx, &mut self.gateways, &idc, from) {
            return self.refuse_each(ctx, from, msg);
        }
        if self.sent_elsewhere(ctx, (from, lane), &idc, msg) {
            return;
        }
        let Some(served) = self.gateways.get_mut(&idc).map(|g| &mut g.own.served) else { return };
        let (shift, leaving) = (served.shift, served.leaving);
        // Of what goes down these are the controller's numbers: its requests, and what it heard the answers to.
        let own = |kind| matches!(kind, Kind::Request | Kind::ResponseAck);
        let number = |kind, n| if own(kind) { moved(n, shift, HIGHEST, false) } else { n };
        pass(ctx, lane, msg, (shift != 0).then_some(&number));
        let granted = |t: Transaction<'_>| t.kind == Kind::Reply && Some(t.id) == leaving && !t.failed();
        if msg.transactions().any(granted) {
            Behind::<Text>::let_go(&mut self.gateways, &idc);
            ctx.unbind(&idc);
        }
    }

    /// A gateway that nobody serves leaves.
    fn let_go(&mut self, ctx: &mut Ctx<'_>, from: Peer, idc: &str, (version, id): (u8, u32)) {
        if let Some(bytes) = ctx.write(|w| message::write_reply(&self.sender(version), id, "C=-{SC=ROOT}", w)) {
            ctx.send(from, bytes);
        }
        ctx.unbind(idc);
    }

    /// An answer of a controller's to what was said here.
    fn on_answer(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>, own: &Transaction<'_>) {
        let Some(behind) = &mut self.behind else { return };
        match own.kind {
            Kind::Pending => behind.pending(ctx, &mut self.gateways, (own.id, from), LONG_MS),
            Kind::Reply => {
                if own.wants_ack()
                    && let Some(bytes) = ctx.write(|w| message::write_ack(&self.sender(msg.version()), own.id, w))
                {
                    ctx.send(from, bytes);
                }
                let answer = answer(&ctx.core.upstreams[Protocol::H248], from, own);
                if let Some(behind) = &mut self.behind {
                    behind.answered(ctx, &mut self.gateways, (own.id, from), answer);
                }
            }
            _ => {}
        }
    }

    /// A controller that sends the gateway to another: in its reply to the gateway's own ServiceChange, or by a hand-off.
    /// It is followed here, where it may be, and the gateway does not learn of it. False: the message does not do that.
    fn sent_elsewhere(&mut self, ctx: &mut Ctx<'_>, (from, lane): (Peer, Peer), idc: &str, msg: &Message<'_>) -> bool {
        let sends = msg.transactions().find_map(|t| redirection(&t).map(|mgc| (t, mgc)));
        let (Some((t, mgc)), Some(behind)) = (sends, &mut self.behind) else { return false };
        let target = at(&ctx.core.upstreams[Protocol::H248], &mgc);
        let follows = behind.send_on(ctx, &mut self.gateways, idc, target);
        let (version, gateway) = (msg.version(), Idc::new(idc));
        // A hand-off is answered in the gateway's name; the gateway, that it is served, whoever does.
        let (to, sender) = match t.kind {
            Kind::Request => (from, gateway.map(|idc| Sender { idc, version })),
            _ => (lane, Some(self.sender(version))),
        };
        let granted = match t.kind {
            Kind::Request => "C=-{SC=ROOT}".to_owned(),
            _ => format!("C=-{{SC=ROOT{{SV{{V={version}}}}}}}"),
        };
        let written = ctx.write(|w| match (sender, follows) {
            (None, _) => Err(Full),
            (Some(sender), true) => message::write_reply(&sender, t.id, &granted, w),
            (Some(sender), false) => message::write_error(&sender, t.id, 502, "Not ready", w),
        });
        if let Some(bytes) = written {
            ctx.send(to, bytes);
        }
        true
    }

    /// Error 402 for each request.
    fn refuse_each(&mut self, ctx: &mut Ctx<'_>, to: Peer, msg: &Message<'_>) {
        for t in msg.transactions().filter(|t| t.kind == Kind::Request) {
            if let Some(bytes) =
                ctx.write(|w| message::write_error(&self.sender(msg.version()), t.id, 402, "Unauthorized", w))
            {
                ctx.send(to, bytes);
            }
        }
    }
}

/// Sends a message on, as it is or under other numbers.
fn pass(ctx: &mut Ctx<'_>, to: Peer, msg: &Message<'_>, number: Option<&impl Fn(Kind, u32) -> u32>) {
    let octets = match number {
        Some(number) => ctx.write(|w| portunus_h248::renumbered(msg, number, w)),
        None => Some(msg.octets().to_vec()),
    };
    if let Some(octets) = octets {
        ctx.send(to, octets);
    }
}

/// What a controller's reply says of a gateway.
fn answer(all: &Upstreams, from: Peer, reply: &Transaction<'_>) -> Answer {
    if reply.failed() {
        return Answer::Refused;
    }
    if let Some(mgc) = redirection(reply) {
        return Answer::Elsewhere(at(all, &mgc));
    }
    let Some(services) = of_root(reply).next() else { return Answer::Taken };
    // Where it wants to be spoken to from now on: a port of its host, or an address.
    let Some(address) = services.address() else { return Answer::Taken };
    let value = address.split(|c| *c == b'=').nth(1).unwrap_or_default().trim_ascii();
    let Peer::Behind(_, nth) = from else { return Answer::Taken };
    let own = all.address(usize::from(nth));
    let port = parse_u32(value).and_then(|port| u16::try_from(port).ok());
    match (port, own) {
        (Some(port), Some(own)) => Answer::TakenAt(all.named(own.ip(), Some(port), PORT)),
        _ => Answer::TakenAt(Mid::parse(value).and_then(|mid| at(all, &mid))),
    }
}

/// The controller that an identifier names: by its address, or by the name that it has in the configuration. Nothing is
/// looked up here.
fn at(all: &Upstreams, mid: &Mid<'_>) -> Option<usize> {
    match mid.form {
        MidForm::Address { ip, port } => all.named(ip.to_canonical(), port, PORT),
        MidForm::Domain { name, port } => all.called(name, port),
        MidForm::Device(_) | MidForm::Mtp(_) => all.called(mid.text, None),
    }
}

/// What changes the service of the whole gateway, or replies to that.
fn of_root<'m>(t: &Transaction<'m>) -> impl Iterator<Item = Services<'m>> + use<'m> {
    let commands = t.actions().flat_map(|a| a.commands());
    commands.filter(|c| c.kind == CommandKind::ServiceChange && c.is_root()).filter_map(|c| c.services())
}

/// The controller that it names instead of its sender.
fn redirection<'m>(t: &Transaction<'m>) -> Option<Mid<'m>> {
    of_root(t).find_map(|services| services.mgc())
}

/// True for a request that takes the gateway out of service.
fn leaves(t: &Transaction<'_>) -> bool {
    t.kind == Kind::Request && of_root(t).any(|s| s.method() == Some(Method::Forced))
}

/// True for one that makes it known.
fn announces(t: &Transaction<'_>) -> bool {
    t.kind == Kind::Request && of_root(t).any(|s| s.method().is_some_and(Method::registers))
}
