//! Gateways that register here and are served by call agents of somebody else's, which know nothing of any of this; how
//! each comes to its call agent, and from it to another, is [`crate::behind`]'s.
//!
//! ```text
//!   s9 sent ──► AUEP (501: its session is not active yet, once more)
//!          ──► RSIP restart of all endpoints, in the gateway's name, to a call agent ──► 200: the two talk
//!   its call agent is down ──► RSIP disconnected to the next, or to the same once it is up again (RFC 3435 section 4.4.7)
//!   its call agent answers 521 and names another ──► RSIP to that one, if we have it
//!   gateway ──► call agent, call agent ──► gateway: as it came, each message in a datagram of its own
//!   RSIP forced of all endpoints of the gateway's ──► its 200 passes ──► gone
//!   gone otherwise (silence, another registration) ──► RSIP forced, in its name, to the call agent
//!   gone, and the call agent knows it (or is silent) ──► its port towards the call agents may be closed
//!
//!   time ──► NTFY of nothing, from nobody ──► any response, also 500: it is up │ silence: it is down, after some
//! ```
//!
//! The question for a sign of life is a NTFY: AUEP goes from call agent to gateway only (RFC 3435 section 2.3), RSIP would
//! make us a gateway there, and DLCX be about a connection. It notifies of no event, under the request identifier 0 that
//! belongs to no request, for an endpoint that nobody has: the answer is 500, or whatever else is thought of it.
//!
//! NotifiedEntity moves nobody: what a gateway notifies goes to the call agent that serves it, whoever it was told (the
//! proxy hides the address from it), and a call agent that wants it to be another's says 521.

use super::{CallAgent, Known, respond};
use crate::agent::Ctx;
use crate::behind::{Answer, Behind, Dialect, Say, Served, is_own, moved};
use crate::peers::Peer;
use crate::upstreams::Upstreams;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use portunus_codec::{Full, Writer};
use portunus_mgcp::code;
use portunus_mgcp::transaction::{LONG_MS, Response, response};
use portunus_mgcp::view::{Message, Name, TRANSACTION_MAX, Verb};
use portunus_mgcp::write::{command, line};
use portunus_signalling::Protocol;

/// Where call agents listen (RFC 3435 section 3.5).
const PORT: u16 = 2727;

/// MGCP in the names of gateways.
#[derive(Debug)]
pub(super) struct Lines {
    /// By whom signs of life are asked for: the domain of an endpoint that nobody has.
    own: Box<str>,
}

impl Lines {
    pub(super) fn new(own: SocketAddr, realm: &str) -> Self {
        let address = || format!("[{}]", own.ip()).into();
        Self { own: if own.ip().is_unspecified() { realm.into() } else { address() } }
    }
}

impl Dialect for Lines {
    type Own = Known;
    const NUMBERS: RangeInclusive<u32> = 1..=TRANSACTION_MAX;

    fn served(own: &mut Known) -> &mut Served {
        &mut own.served
    }

    fn write(&self, _own: &Known, idc: &str, say: Say, id: u32, w: &mut Writer<'_>) -> Result<(), Full> {
        let method: &[u8] = match say {
            Say::Restart => b"restart",
            Say::Failover | Say::Disconnected | Say::HandOff => b"disconnected",
            Say::Forced => b"forced",
        };
        command(Verb::Rsip, id, b"*", idc.as_bytes(), w);
        line("RM", method, w);
        Ok(())
    }

    fn write_question(&self, id: u32, w: &mut Writer<'_>) -> Result<(), Full> {
        command(Verb::Ntfy, id, b"nobody", self.own.as_bytes(), w);
        line("X", b"0", w);
        line("O", b"", w);
        Ok(())
    }
}

impl CallAgent {
    /// A message of a gateway's that is no step.
    pub(super) fn pass_behind(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        let id = msg.transaction();
        let found = response(msg);
        if let Some(found) = found.filter(|_| self.commands.awaits(id, from)) {
            return self.on_response(ctx, from, msg, found);
        }
        let endpoint = msg.command().map(|(_, endpoint)| endpoint);
        let named = |idc: &str| endpoint.is_none_or(|e| e.domain == idc.as_bytes());
        let Some(idc) = self.gateways.sender(ctx, from, named) else {
            ctx.core.counters.unreachable += 1;
            return refuse(ctx, from, msg);
        };
        self.on_alive(ctx, &idc);
        let Some(behind) = &mut self.behind else { return };
        let to = match endpoint {
            Some(_) => behind.way(ctx, &mut self.gateways, &idc, changes(msg, &["restart", "disconnected"])),
            None => Behind::<Lines>::back(&mut self.gateways, &idc).map(|(to, _)| to),
        };
        let leaves = changes(msg, &["forced"]);
        let Some(to) = to else {
            if leaves {
                // Nobody has to let it go.
                respond(ctx, from, code::OK, id);
                ctx.unbind(&idc);
            }
            return;
        };
        let Some(served) = self.gateways.get_mut(&idc).map(|g| &mut g.own.served) else { return };
        served.leaving = leaves.then_some(id).or(served.leaving);
        // A response bears the call agent's number, where it does not say that the call agent's own arrived.
        let numbered = served.shift != 0 && found.is_some_and(|f| f != Response::Confirmed);
        let shift = served.shift;
        pass(ctx, to, msg, numbered.then_some(&|n| moved(n, shift, TRANSACTION_MAX, true)));
    }

    /// A message of a call agent's for the gateway of this port.
    pub(super) fn pass_back(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        let (id, found) = (msg.transaction(), response(msg));
        let Some(behind) = &mut self.behind else { return };
        if let Some(found) = found.filter(|_| behind.awaits(id, from)) {
            return self.on_answer(ctx, (id, from), msg, found);
        }
        let Some((lane, idc)) = Behind::<Lines>::whose(ctx, from) else {
            ctx.core.counters.unreachable += 1;
            if is_own(from) {
                refuse(ctx, from, msg);
            }
            return;
        };
        if !Behind::<Lines>::serves(ctx, &mut self.gateways, &idc, from) {
            return refuse(ctx, from, msg);
        }
        if msg.code() == Some(code::REDIRECTED) {
            // The gateway is served, whoever does; or it comes again.
            let target = notified(&ctx.core.upstreams[Protocol::Mgcp], msg);
            let follows = behind.send_on(ctx, &mut self.gateways, &idc, target);
            return respond(ctx, lane, if follows { code::OK } else { code::TRANSIENT }, id);
        }
        let Some(served) = self.gateways.get_mut(&idc).map(|g| &mut g.own.served) else { return };
        let (shift, leaving) = (served.shift, served.leaving);
        // A command bears the call agent's number, and so does what says that the gateway's response arrived.
        let numbered = shift != 0 && found.is_none_or(|f| f == Response::Confirmed);
        pass(ctx, lane, msg, numbered.then_some(&|n| moved(n, shift, TRANSACTION_MAX, false)));
        if leaving == Some(id) && matches!(found, Some(Response::Final { code: 200..=299, .. })) {
            Behind::<Lines>::let_go(&mut self.gateways, &idc);
            ctx.unbind(&idc);
        }
    }

    /// An answer of a call agent's to what was said here.
    fn on_answer(&mut self, ctx: &mut Ctx<'_>, (id, from): (u32, Peer), msg: &Message<'_>, found: Response) {
        let Some(behind) = &mut self.behind else { return };
        let code = match found {
            Response::Pending => return behind.pending(ctx, &mut self.gateways, (id, from), LONG_MS),
            Response::Confirmed => return,
            Response::Final { code, confirm } => {
                if confirm {
                    respond(ctx, from, code::ACKNOWLEDGED, id);
                }
                code
            }
        };
        let answer = match code {
            200..=299 => Answer::Taken,
            code::REDIRECTED => Answer::Elsewhere(notified(&ctx.core.upstreams[Protocol::Mgcp], msg)),
            _ => Answer::Refused,
        };
        behind.answered(ctx, &mut self.gateways, (id, from), answer);
    }
}

/// Whoever is nobody's here is told so.
fn refuse(ctx: &mut Ctx<'_>, to: Peer, msg: &Message<'_>) {
    if msg.command().is_some() {
        respond(ctx, to, code::UNKNOWN_ENDPOINT, msg.transaction());
    }
}

/// Sends a message on, as it is or under another number.
fn pass(ctx: &mut Ctx<'_>, to: Peer, msg: &Message<'_>, number: Option<&impl Fn(u32) -> u32>) {
    let octets = match number {
        Some(number) => ctx.write(|w| portunus_mgcp::renumbered(msg, number, w)),
        None => Some(msg.octets().to_vec()),
    };
    if let Some(octets) = octets {
        ctx.send(to, octets);
    }
}

/// True for an RSIP by which the whole gateway changes its service so; `restart` where no method is named.
fn changes(msg: &Message<'_>, how: &[&str]) -> bool {
    let method = msg.value(Name::RestartMethod).unwrap_or(b"restart");
    let all = msg.command().is_some_and(|(verb, endpoint)| verb == Verb::Rsip && endpoint.is_all());
    all && how.iter().any(|h| h.as_bytes().eq_ignore_ascii_case(method))
}

/// The call agent that a NotifiedEntity names: `local@[192.0.2.7]:2727`, brackets and port optional, or by the name that it
/// has in the configuration. Nothing is looked up here.
fn notified(all: &Upstreams, msg: &Message<'_>) -> Option<usize> {
    let value = core::str::from_utf8(msg.value(Name::NotifiedEntity)?).ok()?;
    let host = value.rsplit('@').next()?;
    let (ip, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (ip, behind) = rest.split_once(']')?;
            (ip, behind.strip_prefix(':'))
        }
        None => host.split_once(':').map_or((host, None), |(ip, port)| (ip, Some(port))),
    };
    let port = port.map(str::parse).transpose().ok()?;
    match ip.parse::<IpAddr>() {
        Ok(ip) => all.named(ip.to_canonical(), port, PORT),
        Err(_) => all.called(ip.as_bytes(), port),
    }
}
