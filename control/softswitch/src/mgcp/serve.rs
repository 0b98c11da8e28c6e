//! What registered gateways say and are asked: restarts, notifications, audits.

use super::{CallAgent, Purpose, written};
use crate::agent::Ctx;
use crate::gateways::ENDPOINTS_EACH;
use crate::peers::Peer;
use portunus_mgcp::code::{self, Code};
use portunus_mgcp::view::{Endpoint, Message, Name, Verb, is_request_id};
use portunus_mgcp::write::{command, line};

/// What an endpoint is asked.
#[derive(Debug, Clone, Copy)]
enum Ask {
    /// Report off-hook.
    OffHook,
    /// Give dial tone; report on-hook.
    DialTone,
}

/// What follows a command once it is answered.
enum Then<'m> {
    Nothing,
    /// The endpoint is asked.
    Ask(Endpoint<'m>, Ask),
    /// All endpoints are audited.
    Audit,
    /// The endpoint is out of service.
    Less(Endpoint<'m>),
    /// The gateway is.
    Gone,
}

impl CallAgent {
    /// A command that is no step: of a registered gateway, about its own endpoints.
    pub(super) fn on_service(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        let Some((verb, endpoint)) = msg.command() else { return };
        let Some(tx) = ctx.begin(from, msg.transaction().to_string().as_bytes()) else { return };
        let idc = self.gateways.sender(ctx, from, |idc| idc.as_bytes() == endpoint.domain);
        let (code, then) = match &idc {
            // Whoever is not registered here, or no longer: it is told so and registers anew.
            None => {
                ctx.core.counters.unreachable += 1;
                (code::UNKNOWN_ENDPOINT, Then::Nothing)
            }
            Some(_) => judge(verb, endpoint, msg),
        };
        if let Some(bytes) = written(ctx, code, msg.transaction()) {
            ctx.answer(tx, from, bytes);
        }
        let Some(idc) = idc else { return };
        self.on_alive(ctx, &idc);
        match then {
            Then::Nothing => {}
            Then::Ask(endpoint, ask) => self.ask(ctx, &idc, endpoint.local, ask),
            Then::Audit => {
                if let Some(gateway) = self.gateways.get_mut(&idc) {
                    gateway.endpoints.clear();
                }
                self.gateways.plan(&idc, ctx.now.mono_ms);
            }
            Then::Less(endpoint) => {
                if let Some(gateway) = self.gateways.get_mut(&idc) {
                    gateway.endpoints.retain(|local| !endpoint.covers(local));
                }
            }
            Then::Gone => ctx.unbind(&idc),
        }
    }

    /// A sign of life: it is not forgotten, and audited half its time from now.
    pub(super) fn on_alive(&mut self, ctx: &mut Ctx<'_>, idc: &str) {
        let silent_s = ctx.core.config.silent_s;
        if !ctx.touch(idc, silent_s) {
            return;
        }
        self.gateways.heard(idc, ctx.now.mono_ms + u64::from(silent_s) * 500);
    }

    /// Asks a gateway whether it is there, the first time which endpoints it has.
    pub(super) fn audit(&mut self, ctx: &mut Ctx<'_>, idc: &str, lane: Peer) {
        let Some(gateway) = self.gateways.begin_audit(idc, lane) else { return };
        let local = gateway.endpoints.first().cloned();
        // A call agent of somebody else's asks what there is by itself.
        let endpoints = local.is_none() && self.behind.is_none();
        let local = local.or_else(|| self.behind.is_some().then(|| gateway.own.local.clone()));
        let transaction = self.commands.id();
        let bytes = ctx.write(|w| {
            command(Verb::Auep, transaction, local.as_deref().unwrap_or(b"*"), idc.as_bytes(), w);
            Ok(())
        });
        let purpose = Purpose::Audit { idc: idc.into(), lane, endpoints };
        if !bytes.is_some_and(|bytes| self.commands.send(ctx, transaction, lane, bytes, purpose)) {
            self.gateways.put_off(ctx, idc, lane);
        }
    }

    /// An audit was answered. `names`: it asked for the endpoints, and the answer, where it is none of an error's, names
    /// them. Each is to report off-hook.
    pub(super) fn on_audited(
        &mut self,
        ctx: &mut Ctx<'_>,
        (idc, lane): (&str, Peer),
        names: Option<Option<&Message<'_>>>,
    ) {
        if !self.gateways.confirm(ctx, idc, lane) {
            return;
        }
        self.on_alive(ctx, idc);
        if let Some(behind) = &mut self.behind {
            return behind.introduce(ctx, &mut self.gateways, idc);
        }
        let (Some(names), Some(gateway)) = (names, self.gateways.get_mut(idc)) else { return };
        let own = |e: &Endpoint<'_>| e.domain == idc.as_bytes() && !e.is_wildcard();
        let named = names.into_iter().flat_map(|msg| msg.lines()).filter(|l| l.name == Name::SpecificEndpoint);
        let found = named.filter_map(|l| Endpoint::parse(l.value)).filter(own);
        let mut endpoints: Vec<Box<[u8]>> = found.map(|e| e.local.into()).take(ENDPOINTS_EACH + 1).collect();
        let all = names.is_some() && !(1..=ENDPOINTS_EACH).contains(&endpoints.len());
        if endpoints.is_empty() {
            // The one that registered.
            endpoints.push(gateway.own.local.clone());
        }
        // A gateway of many is asked as a whole; one of them names it in audits.
        endpoints.truncate(if all { 1 } else { ENDPOINTS_EACH });
        gateway.endpoints.clone_from(&endpoints);
        match all {
            true => self.ask(ctx, idc, b"*", Ask::OffHook),
            false => endpoints.iter().for_each(|local| self.ask(ctx, idc, local, Ask::OffHook)),
        }
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, idc: &str, local: &[u8], ask: Ask) {
        let Some(lane) = ctx.lane_of(idc) else { return };
        let transaction = self.commands.id();
        let bytes = ctx.write(|w| {
            command(Verb::Rqnt, transaction, local, idc.as_bytes(), w);
            line("X", format!("{transaction:x}").as_bytes(), w);
            match ask {
                Ask::OffHook => line("R", b"L/hd(N)", w),
                Ask::DialTone => {
                    line("R", b"L/hu(N)", w);
                    line("S", b"L/dl", w);
                }
            }
            Ok(())
        });
        if let Some(bytes) = bytes {
            self.commands.send(ctx, transaction, lane, bytes, Purpose::Request { idc: idc.into() });
        }
    }
}

/// The code that a gateway's command gets, and what follows.
fn judge<'m>(verb: Verb, endpoint: Endpoint<'m>, msg: &Message<'m>) -> (Code, Then<'m>) {
    if msg.find(Name::Critical).is_some() {
        return (code::UNKNOWN_EXTENSION, Then::Nothing);
    }
    match verb {
        Verb::Ntfy => notified(endpoint, msg),
        Verb::Rsip => restarted(endpoint, msg),
        _ => (code::UNKNOWN_COMMAND, Then::Nothing),
    }
}

/// NTFY: off-hook gets dial tone; after anything else the endpoint is as it was at first.
fn notified<'m>(endpoint: Endpoint<'m>, msg: &Message<'m>) -> (Code, Then<'m>) {
    let bad = (code::PROTOCOL_ERROR, Then::Nothing);
    let known = msg.value(Name::RequestIdentifier).is_some_and(is_request_id);
    if endpoint.is_wildcard() || !known || msg.find(Name::ObservedEvents).is_none() {
        return bad;
    }
    let mut ask = Ask::OffHook;
    for event in msg.events(Name::ObservedEvents) {
        let Ok(event) = event else { return bad };
        // The line package is the default one of analogue endpoints.
        let of_line = event.package.is_none_or(|p| p.eq_ignore_ascii_case(b"L"));
        ask = match of_line && event.name.eq_ignore_ascii_case(b"hd") {
            true => Ask::DialTone,
            false => Ask::OffHook,
        };
    }
    (code::OK, Then::Ask(endpoint, ask))
}

/// RSIP: by its method, which is `restart` where none is named (RFC 3435 section 2.3.12).
fn restarted<'m>(endpoint: Endpoint<'m>, msg: &Message<'m>) -> (Code, Then<'m>) {
    let method = msg.value(Name::RestartMethod).unwrap_or(b"restart").to_ascii_lowercase();
    let then = match &method[..] {
        b"forced" if endpoint.is_all() => Then::Gone,
        b"forced" => Then::Less(endpoint),
        // In service again; what was asked of it before is forgotten there.
        b"restart" if !endpoint.is_wildcard() => Then::Ask(endpoint, Ask::OffHook),
        b"restart" | b"disconnected" => Then::Audit,
        // Nothing is changed before the delay is over, and then `forced` follows.
        b"graceful" | b"cancel-graceful" => Then::Nothing,
        _ => return (code::UNKNOWN_RESTART, Then::Nothing),
    };
    (code::OK, then)
}
