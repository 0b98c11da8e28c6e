//! The grammar of a body: transactions, actions, commands and their replies (H.248.1 annex B.2).

use super::element::is_stamp;
use super::mid::is_path;
use super::{
    Action, Bad, Command, CommandKind, Element, Elements, ErrorDescriptor, Kind, Message, TRANSACTIONS_MAX, Tok,
    Transaction, descriptors, lex, services,
};
use portunus_codec::parse_u32;
use portunus_signalling::{Fault, FaultKind};

/// Checks every element of a list.
pub(super) fn each(mut list: Elements<'_>, mut f: impl FnMut(&Element<'_>) -> Result<(), Bad>) -> Result<usize, Bad> {
    let mut n = 0;
    while let Some(e) = list.try_next()? {
        f(&e)?;
        n += 1;
    }
    Ok(n)
}

/// Checks every element of a block that must be there and hold one.
pub(super) fn some(e: &Element<'_>, f: impl FnMut(&Element<'_>) -> Result<(), Bad>) -> Result<(), Bad> {
    match each(e.elements(), f)? {
        0 => Err(e.bad("empty list")),
        _ => Ok(()),
    }
}

impl<'m> Message<'m> {
    /// As [`Message::parse`], of octets that were parsed before or that this crate wrote: they are not checked again. Of
    /// others, the view has as much as can be read.
    ///
    /// # Errors
    /// As [`Message::parse`], for what stands before the body.
    pub(crate) fn reread(octets: &'m [u8]) -> Result<Self, Fault> {
        Self::head(octets).map_err(Into::into)
    }

    /// Says where brackets of the first transaction close.
    pub(super) fn check_body(&self) -> Result<lex::Pairs, Bad> {
        let mut parts = self.transactions();
        let (mut n, mut pairs) = (0, lex::Pairs::default());
        while let Some(t) = parts.try_next()? {
            n += 1;
            if n > TRANSACTIONS_MAX {
                return Err(Bad { kind: FaultKind::TooBig, what: "transactions", at: t.element.span().0 });
            }
            if n == 1 {
                pairs = t.element.pairs();
            }
            transaction(&t)?;
            if t.kind == Kind::Error && (n > 1 || parts.try_next()?.is_some()) {
                return Err(t.element.bad("error descriptor"));
            }
        }
        if n == 0 { Err(Bad::at("body", self.body)) } else { Ok(pairs) }
    }
}

fn transaction(t: &Transaction<'_>) -> Result<(), Bad> {
    let e = &t.element;
    let plain = e.relation() == b'=' && parse_u32(e.value()).is_some();
    match t.kind {
        Kind::Request if plain => some(e, action_request),
        Kind::Reply if e.relation() == b'=' && segment(e.value()) => reply(e),
        Kind::Pending if plain && e.has_block() && e.elements().try_next()?.is_none() => Ok(()),
        Kind::ResponseAck if e.relation() == 0 => some(e, |a| match ack_range(a.name()) {
            Some(_) if a.relation() == 0 && !a.has_block() => Ok(()),
            _ => Err(a.bad("acknowledgement")),
        }),
        Kind::Segment if e.relation() == b'=' && segment(e.value()) && e.value().contains(&b'/') && !e.has_block() => {
            Ok(())
        }
        Kind::Error => error(e),
        _ => Err(e.bad("transaction")),
    }
}

/// `id [/ segment [/ &]]`.
fn segment(value: &[u8]) -> bool {
    let mut parts = value.split(|c| *c == b'/');
    let id = parts.next().and_then(parse_u32).is_some();
    let number = parts.next().is_none_or(|n| parse_u32(n).is_some_and(|n| n <= u16::MAX.into()));
    let end = parts.next().is_none_or(|e| super::is(e, Tok::SEGMENT_END));
    id && number && end && parts.next().is_none()
}

/// `id` or `id-id`.
pub(super) fn ack_range(word: &[u8]) -> Option<(u32, u32)> {
    let mut ends = word.splitn(2, |c| *c == b'-');
    let first = ends.next().and_then(parse_u32)?;
    Some((first, ends.next().map_or(Some(first), parse_u32)?))
}

fn reply(e: &Element<'_>) -> Result<(), Bad> {
    let (mut n, mut failed, mut acted) = (0, false, false);
    some(e, |part| {
        n += 1;
        if part.is(Tok::IMM_ACK) && n == 1 && part.relation() == 0 && !part.has_block() {
            return Ok(());
        }
        if part.is(Tok::ERROR) && !failed && !acted {
            failed = true;
            return error(part);
        }
        acted = true;
        if failed { Err(part.bad("action reply")) } else { action_reply(part) }
    })?;
    if failed || acted { Ok(()) } else { Err(e.bad("reply")) }
}

fn action_request(e: &Element<'_>) -> Result<(), Bad> {
    if Action::of(*e).is_none() || e.relation() != b'=' {
        return Err(e.bad("action"));
    }
    some(e, |part| match Command::of(*part) {
        Some(command) => request(&command),
        None if part.is(Tok::CONTEXT_AUDIT) => descriptors::form(part, true),
        None => context_property(part),
    })
}

fn action_reply(e: &Element<'_>) -> Result<(), Bad> {
    if Action::of(*e).is_none() || e.relation() != b'=' {
        return Err(e.bad("action reply"));
    }
    if !e.has_block() {
        return Ok(());
    }
    let mut failed = false;
    some(e, |part| {
        if failed {
            return Err(part.bad("action reply"));
        }
        if part.is(Tok::ERROR) {
            failed = true;
            return error(part);
        }
        match Command::of(*part) {
            Some(command) => command_reply(&command),
            None => context_property(part),
        }
    })
}

fn context_property(e: &Element<'_>) -> Result<(), Bad> {
    let bare = e.relation() == 0 && !e.has_block();
    if e.is(Tok::EMERGENCY) || e.is(Tok::EMERGENCY_OFF) {
        return if bare { Ok(()) } else { Err(e.bad("context property")) };
    }
    if e.is(Tok::PRIORITY) && e.relation() == b'=' && parse_u32(e.value()).is_some_and(|n| n <= u16::MAX.into()) {
        return Ok(());
    }
    if e.is(Tok::IEPS) && descriptors::on_off(e) {
        return Ok(());
    }
    if e.is(Tok::TOPOLOGY) && e.relation() == 0 {
        return some(e, topology);
    }
    if e.is(Tok::CONTEXT_ATTR) && e.relation() == 0 {
        return descriptors::form(e, true);
    }
    Err(e.bad("context property"))
}

fn topology(e: &Element<'_>) -> Result<(), Bad> {
    const DIRECTIONS: [Tok; 5] = [Tok::BOTH_WAY, Tok::ONE_WAY, Tok::ISOLATE, Tok::ONE_WAY_EXTERNAL, Tok::ONE_WAY_BOTH];
    let bare = e.relation() == 0 && !e.has_block();
    let stream = e.is(Tok::STREAM) && e.relation() == b'=' && parse_u32(e.value()).is_some();
    if stream || bare && (DIRECTIONS.iter().any(|d| e.is(*d)) || is_termination(e.name())) {
        Ok(())
    } else {
        Err(e.bad("topology"))
    }
}

fn is_termination(name: &[u8]) -> bool {
    matches!(name, b"*" | b"$") || is_path(name)
}

/// The terminations of a command: one, or a list.
fn terminations(command: &Command<'_>) -> Result<(), Bad> {
    let mut none = true;
    let good = command.terminations().all(|t| {
        none = false;
        is_termination(t)
    });
    if good && !none { Ok(()) } else { Err(command.element.bad("termination")) }
}

fn request(command: &Command<'_>) -> Result<(), Bad> {
    terminations(command)?;
    let e = &command.element;
    match command.kind {
        CommandKind::Add | CommandKind::Move | CommandKind::Modify if !e.has_block() => Ok(()),
        CommandKind::Add | CommandKind::Move | CommandKind::Modify => {
            let mut seen = 0;
            some(e, |d| once(&mut seen, d, descriptors::of_request))
        }
        CommandKind::Subtract | CommandKind::AuditValue | CommandKind::AuditCapability => {
            if !e.has_block() {
                return Ok(());
            }
            only(e, |d| d.is(Tok::AUDIT), descriptors::audit)
        }
        CommandKind::Notify => {
            let mut seen = 0;
            some(e, |d| {
                once(&mut seen, d, |d| match d.is(Tok::ERROR) {
                    true => error(d),
                    false => descriptors::observed_events(d),
                })
            })
        }
        CommandKind::ServiceChange => only(e, |d| d.is(Tok::SERVICES), |d| services::check(d, false)),
    }
}

/// A block of exactly one element.
fn only(
    e: &Element<'_>,
    expected: impl Fn(&Element<'_>) -> bool,
    check: impl Fn(&Element<'_>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    let mut n = 0;
    some(e, |d| {
        n += 1;
        if n == 1 && expected(d) && d.relation() == 0 { check(d) } else { Err(d.bad("descriptor")) }
    })
}

/// Refuses a descriptor that comes twice in one command.
fn once(seen: &mut u16, e: &Element<'_>, check: impl Fn(&Element<'_>) -> Result<(), Bad>) -> Result<(), Bad> {
    const ALL: [Tok; 9] = [
        Tok::MEDIA,
        Tok::EVENTS,
        Tok::SIGNALS,
        Tok::EVENT_BUFFER,
        Tok::AUDIT,
        Tok::OBSERVED_EVENTS,
        Tok::ERROR,
        Tok::MUX,
        Tok::MODEM,
    ];
    if let Some(place) = ALL.iter().position(|t| e.is(*t)) {
        if *seen & 1 << place != 0 {
            return Err(e.bad("descriptor twice"));
        }
        *seen |= 1 << place;
    }
    check(e)
}

fn command_reply(command: &Command<'_>) -> Result<(), Bad> {
    let e = &command.element;
    match command.kind {
        CommandKind::ServiceChange => {
            terminations(command)?;
            if !e.has_block() {
                return Ok(());
            }
            only_reply(e, |d| services::check(d, true), Tok::SERVICES)
        }
        CommandKind::Notify => {
            terminations(command)?;
            if e.has_block() { only_reply(e, |d| Err(d.bad("descriptor")), Tok::ERROR) } else { Ok(()) }
        }
        CommandKind::AuditValue | CommandKind::AuditCapability if super::is(e.value(), Tok::CONTEXT) => {
            // The terminations of a context, or why there are none.
            some(e, |t| match t.is(Tok::ERROR) && t.relation() == b'=' {
                true => error(t),
                false if t.relation() == 0 && !t.has_block() && is_termination(t.name()) => Ok(()),
                false => Err(t.bad("termination")),
            })
        }
        _ => {
            terminations(command)?;
            if e.has_block() { some(e, descriptors::of_reply) } else { Ok(()) }
        }
    }
}

/// A reply of one descriptor, or an error.
fn only_reply(e: &Element<'_>, check: impl Fn(&Element<'_>) -> Result<(), Bad>, token: Tok) -> Result<(), Bad> {
    let mut n = 0;
    some(e, |d| {
        n += 1;
        match n {
            1 if d.is(Tok::ERROR) => error(d),
            1 if d.is(token) && d.relation() == 0 => check(d),
            _ => Err(d.bad("descriptor")),
        }
    })
}

/// `ER=code{"text"}`.
pub(super) fn error(e: &Element<'_>) -> Result<(), Bad> {
    let text = |t: &Element<'_>| match t.name().starts_with(b"\"") && t.relation() == 0 && !t.has_block() {
        true => Ok(()),
        false => Err(t.bad("error text")),
    };
    let code = ErrorDescriptor::of(e).filter(|d| d.code <= 999 && e.relation() == b'=' && e.has_block());
    if code.is_none() || each(e.elements(), text)? > 1 {
        return Err(e.bad("error descriptor"));
    }
    Ok(())
}

/// What an audit asks for by a bare token.
pub(super) fn is_audit_item(e: &Element<'_>) -> bool {
    const ITEMS: [Tok; 10] = [
        Tok::MUX,
        Tok::MODEM,
        Tok::MEDIA,
        Tok::DIGIT_MAP,
        Tok::STATISTICS,
        Tok::OBSERVED_EVENTS,
        Tok::PACKAGES,
        Tok::SIGNALS,
        Tok::EVENT_BUFFER,
        Tok::EVENTS,
    ];
    e.relation() == 0 && !e.has_block() && !is_stamp(e.name()) && ITEMS.iter().any(|t| e.is(*t))
}
