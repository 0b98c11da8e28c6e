//! Gateways that register here and are served by a controller of somebody else's, which knows nothing of any of this.
//!
//! ```text
//!   s9 sent ──► AuditValue ROOT (503: its session is not active yet, once more)
//!          ──► ServiceChange ROOT restart, in the gateway's name, to the controller ──► its Reply: introduced
//!   gateway ──► controller, controller ──► gateway: as it came (the proxy puts its own identifier on what goes down)
//!   ServiceChange ROOT forced of the gateway's ──► its Reply passes ──► gone
//!   gone otherwise (silence, another registration) ──► ServiceChange ROOT forced, in its name, to the controller
//!   gone, and the controller knows it (or is silent) ──► its port towards the controller may be closed
//! ```
//!
//! Transactions are the two's own business, end to end: nothing is repeated, answered or numbered here but what is
//! said here.

use super::{Controller, Purpose, Spoken};
use crate::agent::Ctx;
use crate::gateways::Gateway;
use crate::peers::Peer;
use crate::state::Effect;
use portunus_h248::carriage::message::{self, Sender};
use portunus_h248::view::{CommandKind, Kind, Message, Method, Transaction};
use portunus_keydist::ident::Idc;

/// When a controller that did not take a gateway is asked again.
const AGAIN_MS: u64 = 5_000;
/// What a gateway is introduced by, and leaves by.
const RESTART: &str = "C=-{SC=ROOT{SV{MT=RS,RE=\"901 Cold Boot\",V=";
const FORCED: &str = "C=-{SC=ROOT{SV{MT=FO,RE=\"905 Termination taken out of service\"}}}";

/// The controller behind a lane.
fn behind(lane: Peer) -> Option<Peer> {
    match lane {
        Peer::Udp(addr) | Peer::LocalLane(addr) => Some(Peer::Behind(addr)),
        Peer::LocalProxy | Peer::Behind(_) => None,
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
        let Some((idc, to)) = found.zip(behind(from)) else {
            ctx.core.counters.unreachable += 1;
            for t in msg.transactions().filter(|t| t.kind == Kind::Request) {
                let sender = self.sender(msg.version());
                if let Some(bytes) = ctx.write(|w| message::write_error(&sender, t.id, 402, "Unauthorized", w)) {
                    ctx.send(from, bytes);
                }
            }
            return;
        };
        self.on_alive(ctx, &idc);
        if let Some(gateway) = self.gateways.get_mut(&idc) {
            // It introduces itself: it need not be introduced.
            gateway.own.introduced |=
                msg.transactions().any(|t| t.kind == Kind::Request && changes(&t, Method::Restart));
            gateway.own.leaving = msg.transactions().find(leaves).map(|t| t.id).or(gateway.own.leaving);
        }
        ctx.send(to, msg.octets().to_vec());
    }

    /// A message of the controller's for the gateway of this lane.
    pub(super) fn pass_back(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        if let Some(reply) = only_reply(msg).filter(|t| self.commands.awaits(t.id, from)) {
            return self.on_reply(ctx, from, msg, &reply);
        }
        let Peer::Behind(addr) = from else { return };
        let lanes = [Peer::LocalLane(addr), Peer::Udp(addr)];
        let Some((lane, idc)) = lanes.into_iter().find_map(|lane| Some((lane, ctx.whose(lane)?))) else {
            ctx.core.counters.unreachable += 1;
            return;
        };
        ctx.send(lane, msg.octets().to_vec());
        let leaving = self.gateways.get_mut(&idc).and_then(|g| g.own.leaving);
        let granted = |t: Transaction<'_>| t.kind == Kind::Reply && Some(t.id) == leaving && !t.failed();
        if msg.transactions().any(granted) {
            if let Some(gateway) = self.gateways.get_mut(&idc) {
                gateway.own.introduced = false;
            }
            ctx.unbind(&idc);
        }
    }

    /// Tells the controller of a gateway whose session is active, once.
    pub(super) fn introduce(&mut self, ctx: &mut Ctx<'_>, idc: &str) {
        let Some(gateway) = self.gateways.get_mut(idc).filter(|g| !g.own.introduced) else { return };
        gateway.own.introduced = true;
        let (lane, version) = (gateway.lane, gateway.own.version);
        let purpose = Purpose::Introduce { idc: idc.into() };
        if !self.in_its_name(ctx, idc, lane, &format!("{RESTART}{version}}}}}}}"), purpose) {
            self.on_introduced(ctx, idc, false);
        }
    }

    /// The controller's reply to that, or none: `taken` where it takes the gateway.
    pub(super) fn on_introduced(&mut self, ctx: &mut Ctx<'_>, idc: &str, taken: bool) {
        if taken {
            return;
        }
        if let Some(gateway) = self.gateways.get_mut(idc) {
            gateway.own.introduced = false;
        }
        self.gateways.plan(idc, ctx.now.mono_ms + AGAIN_MS);
    }

    /// A gateway is gone; the controller is told, where it does not know that from the gateway.
    pub(super) fn dismiss(&mut self, ctx: &mut Ctx<'_>, idc: &str, gateway: &Gateway<Spoken>) {
        let Some(to) = behind(gateway.lane).filter(|_| ctx.core.config.elsewhere.is_some()) else { return };
        self.commands.cancel(to);
        let purpose = Purpose::Dismiss { lane: gateway.lane };
        if !gateway.own.introduced || !self.in_its_name(ctx, idc, gateway.lane, FORCED, purpose) {
            self.leave(ctx, gateway.lane);
        }
    }

    /// Nothing more is said to the controller by the port of this lane, unless a gateway has come to it since.
    pub(super) fn leave(&mut self, ctx: &mut Ctx<'_>, lane: Peer) {
        let Some(port) = behind(lane).filter(|_| ctx.core.config.elsewhere.is_some() && ctx.whose(lane).is_none())
        else {
            return;
        };
        self.commands.cancel(port);
        ctx.out.push(Effect::Leave(port));
    }

    /// False: it does not fit, or too many commands are open.
    fn in_its_name(&mut self, ctx: &mut Ctx<'_>, idc: &str, lane: Peer, actions: &str, purpose: Purpose) -> bool {
        let (Some(to), Some(idc)) = (behind(lane), Idc::new(idc)) else { return false };
        // Version 1 is what a ServiceChange that proposes another one is written in.
        let sender = Sender { idc, version: 1 };
        let id = self.commands.id();
        let bytes = ctx.write(|w| message::write_request(&sender, id, actions, w));
        bytes.is_some_and(|bytes| self.commands.send(ctx, id, to, bytes, purpose))
    }
}

/// True for a request that takes the gateway out of service.
fn leaves(t: &Transaction<'_>) -> bool {
    t.kind == Kind::Request && changes(t, Method::Forced)
}

/// True for what changes the service of the whole gateway so.
fn changes(t: &Transaction<'_>, how: Method) -> bool {
    t.actions().flat_map(|a| a.commands()).any(|c| {
        c.kind == CommandKind::ServiceChange && c.is_root() && c.services().and_then(|s| s.method()) == Some(how)
    })
}
