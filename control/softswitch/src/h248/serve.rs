//! What registered gateways say and are asked: service changes, notifications, audits.

use super::{Controller, Purpose};
use crate::agent::Ctx;
use crate::gateways::ENDPOINTS_EACH;
use crate::peers::Peer;
use portunus_h248::carriage::message;
use portunus_h248::view::{Command, CommandKind, Context, Message, Method, Transaction};
use std::fmt::Write as _;

/// What a termination is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Report off-hook.
    OffHook,
    /// Give dial tone; report on-hook.
    DialTone,
}

/// What follows a command once it is replied to.
#[derive(Debug)]
enum Then<'m> {
    Nothing,
    /// The termination is asked.
    Ask(&'m str, Ask),
    /// All terminations are audited.
    Audit,
    /// The termination is out of service.
    Less(&'m str),
    /// The gateway is.
    Gone,
}

impl Controller {
    /// A request that is no step: of a registered gateway, by its own name.
    pub(super) fn on_request(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>, request: &Transaction<'_>) {
        let Some(tx) = ctx.begin(from, request.id.to_string().as_bytes()) else { return };
        let named = msg.mid().idc();
        let Some(idc) = self.gateways.sender(ctx, from, |idc| named.is_some_and(|n| n.as_str() == idc)) else {
            // Whoever is not registered here, or no longer: it is told so and registers anew.
            ctx.core.counters.unreachable += 1;
            let sender = self.sender(msg.version());
            if let Some(bytes) = ctx.write(|w| message::write_error(&sender, request.id, 402, "Unauthorized", w)) {
                ctx.answer(tx, from, bytes);
            }
            return;
        };
        let (actions, then) = judged(msg.version(), request);
        let sender = self.sender(msg.version());
        if let Some(bytes) = ctx.write(|w| message::write_reply(&sender, request.id, &actions, w)) {
            ctx.answer(tx, from, bytes);
        }
        self.on_alive(ctx, &idc);
        for then in then {
            self.follow(ctx, &idc, then);
        }
    }

    fn follow(&mut self, ctx: &mut Ctx<'_>, idc: &str, then: Then<'_>) {
        match then {
            Then::Nothing => {}
            Then::Ask(termination, ask) => self.ask(ctx, idc, termination, ask),
            Then::Audit => {
                if let Some(gateway) = self.gateways.get_mut(idc) {
                    gateway.endpoints.clear();
                }
                ctx.refresh(idc, ctx.core.config.silent_s);
                self.gateways.plan(idc, ctx.now.mono_ms);
            }
            Then::Less(termination) => {
                if let Some(gateway) = self.gateways.get_mut(idc) {
                    gateway.endpoints.retain(|t| !t.eq_ignore_ascii_case(termination.as_bytes()));
                }
            }
            Then::Gone => ctx.unbind(idc),
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

    /// Asks a gateway whether it is there, the first time which terminations it has.
    pub(super) fn audit(&mut self, ctx: &mut Ctx<'_>, idc: &str, lane: Peer) {
        let Some(gateway) = self.gateways.begin_audit(idc, lane) else { return };
        // A controller of somebody else's asks what there is by itself.
        let all = gateway.endpoints.is_empty() && self.behind.is_none();
        let version = gateway.own.version;
        let actions = if all { "C=-{AV=*{AT{PG}}}" } else { "C=-{AV=ROOT{AT{}}}" };
        let purpose = Purpose::Audit { idc: idc.into(), lane, all };
        if !self.command(ctx, lane, version, purpose, |from, id, w| message::write_request(from, id, actions, w)) {
            self.gateways.put_off(ctx, idc, lane);
        }
    }

    /// An audit was answered. `names`: the reply names the terminations, each of which is to report off-hook.
    pub(super) fn on_audited(&mut self, ctx: &mut Ctx<'_>, (idc, lane): (&str, Peer), names: Option<&Transaction<'_>>) {
        if !self.gateways.confirm(ctx, idc, lane) {
            return;
        }
        self.on_alive(ctx, idc);
        if let Some(behind) = &mut self.behind {
            return behind.introduce(ctx, &mut self.gateways, idc);
        }
        let (Some(reply), Some(gateway)) = (names, self.gateways.get_mut(idc)) else { return };
        let audited = reply.actions().flat_map(|a| a.commands());
        let found = audited.filter(|c| c.kind == CommandKind::AuditValue && has_hook(c)).flat_map(|c| c.terminations());
        let own = found.filter(|t| !t.contains(&b'*') && !t.contains(&b'$') && !t.eq_ignore_ascii_case(b"ROOT"));
        let mut endpoints: Vec<Box<[u8]>> = own.map(Into::into).take(ENDPOINTS_EACH + 1).collect();
        // One that is larger is asked as a whole.
        let each = if endpoints.len() > ENDPOINTS_EACH { 0 } else { endpoints.len() };
        if each == 0 {
            endpoints.truncate(1);
        }
        gateway.endpoints.clone_from(&endpoints);
        self.watch(ctx, idc);
        match each {
            0 => self.ask(ctx, idc, "*", Ask::OffHook),
            _ => endpoints.iter().for_each(|t| self.ask(ctx, idc, &String::from_utf8_lossy(t), Ask::OffHook)),
        }
    }

    /// Lets an idle gateway say that it is there (package `it`, H.248.14), three times before it is forgotten; who does
    /// not have the package is audited.
    fn watch(&mut self, ctx: &mut Ctx<'_>, idc: &str) {
        let every_10_ms = u64::from(ctx.core.config.silent_s) * 100 / 3;
        self.modify(ctx, idc, "ROOT", |request| format!("E={request}{{it/ito{{mit=\"{every_10_ms}\"}}}}"));
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, idc: &str, termination: &str, ask: Ask) {
        self.modify(ctx, idc, termination, |request| match ask {
            Ask::OffHook => format!("E={request}{{al/of}}"),
            Ask::DialTone => format!("SG{{cg/dt}},E={request}{{al/on}}"),
        });
    }

    fn modify(&mut self, ctx: &mut Ctx<'_>, idc: &str, termination: &str, write: impl FnOnce(u32) -> String) {
        let Some(gateway) = self.gateways.get_mut(idc) else { return };
        gateway.own.request = gateway.own.request.wrapping_add(1).max(2);
        let (lane, version, request) = (gateway.lane, gateway.own.version, gateway.own.request);
        // Of all at once one reply is wanted, not one each.
        let wildcard = if termination == "*" { "W-" } else { "" };
        let actions = format!("C=-{{{wildcard}MF={termination}{{{}}}}}", write(request));
        let purpose = Purpose::Modify { idc: idc.into() };
        self.command(ctx, lane, version, purpose, |from, id, w| message::write_request(from, id, &actions, w));
    }
}

/// True where an audited termination may be a line: it has the package `al`, or does not say.
fn has_hook(command: &Command<'_>) -> bool {
    let is_al = |name: &[u8]| name.get(..3).is_some_and(|n| n.eq_ignore_ascii_case(b"al-"));
    let mut packages = command
        .descriptors()
        .filter(|d| d.name().eq_ignore_ascii_case(b"PG") || d.name().eq_ignore_ascii_case(b"Packages"));
    command.error().is_none() && packages.all(|p| p.elements().any(|e| is_al(e.name())))
}

/// What the actions of a request are replied, and what follows each command.
fn judged<'m>(version: u8, request: &Transaction<'m>) -> (String, Vec<Then<'m>>) {
    let (mut text, mut then) = (String::new(), Vec::new());
    for (i, action) in request.actions().enumerate() {
        let context = match action.context {
            Context::Null => "-".to_owned(),
            Context::Choose => "$".to_owned(),
            Context::All => "*".to_owned(),
            Context::Id(id) => id.to_string(),
        };
        _ = write!(text, "{}C={context}{{", if i > 0 { "," } else { "" });
        let mut replied = 0;
        for command in action.commands() {
            let comma = if replied > 0 { "," } else { "" };
            replied += 1;
            match judge(version, &command) {
                Some((reply, next)) => {
                    _ = write!(text, "{comma}{reply}");
                    then.push(next);
                }
                // What a gateway does not ask a controller ends the action.
                None => {
                    _ = write!(text, "{comma}ER=443{{\"Unsupported or unknown command\"}}");
                    break;
                }
            }
        }
        text.push_str(if replied > 0 { "}" } else { "ER=422{\"Syntax error in action\"}}" });
    }
    (text, then)
}

fn judge<'m>(version: u8, command: &Command<'m>) -> Option<(String, Then<'m>)> {
    let mut terminations = command.terminations();
    let termination = core::str::from_utf8(terminations.next()?).ok()?;
    let root = command.is_root();
    match command.kind {
        CommandKind::Notify => {
            let observed = command.descriptors().find(|d| d.has_block());
            let last = observed.and_then(|d| d.elements().last());
            let then = match last.map(|e| e.name().to_ascii_lowercase()).as_deref() {
                Some(b"al/of") if !root => Then::Ask(termination, Ask::DialTone),
                Some(_) if !root => Then::Ask(termination, Ask::OffHook),
                // Inactivity, or whatever else ROOT reports: it is there.
                _ => Then::Nothing,
            };
            Some((format!("N={termination}"), then))
        }
        CommandKind::ServiceChange => {
            let method = command.services().and_then(|s| s.method())?;
            let then = match method {
                Method::Forced if root => Then::Gone,
                Method::Forced => Then::Less(termination),
                m if m.registers() && root => Then::Audit,
                m if m.registers() => Then::Ask(termination, Ask::OffHook),
                // Nothing changes before the delay is over, and then a forced one follows.
                _ => Then::Nothing,
            };
            let granted = if method.registers() { format!("{{SV{{V={version}}}}}") } else { String::new() };
            Some((format!("SC={termination}{granted}"), then))
        }
        _ => None,
    }
}
