//! The grammar of descriptors (H.248.1 annex B.2).

use super::check::{each, error, is_audit_item, some};
use super::element::is_stamp;
use super::{Bad, Element, Tok, is, lex};
use portunus_codec::parse_u32;

type Checked = Result<(), Bad>;

/// A descriptor of Add, Move or Modify.
pub(super) fn of_request(e: &Element<'_>) -> Checked {
    if e.is(Tok::AUDIT) && e.relation() == 0 {
        return audit(e);
    }
    common(e)
}

/// A descriptor of a reply that returns an audit.
pub(super) fn of_reply(e: &Element<'_>) -> Checked {
    if is_audit_item(e) {
        return Ok(());
    }
    if e.is(Tok::OBSERVED_EVENTS) {
        return observed_events(e);
    }
    if e.is(Tok::PACKAGES) && e.relation() == 0 {
        return some(e, |p| bare(p, is_package_version(p.name())));
    }
    if e.is(Tok::ERROR) {
        return error(e);
    }
    common(e)
}

fn common(e: &Element<'_>) -> Checked {
    let plain = e.relation() == 0;
    if e.is(Tok::MEDIA) && plain {
        return some(e, media);
    }
    if e.is(Tok::EVENTS) {
        return events(e, false);
    }
    if e.is(Tok::SIGNALS) && plain {
        return signals(e);
    }
    if e.is(Tok::EVENT_BUFFER) && plain {
        return if e.has_block() { some(e, observed) } else { Ok(()) };
    }
    if e.is(Tok::DIGIT_MAP) {
        return digit_map(e);
    }
    if e.is(Tok::STATISTICS) && plain {
        return if e.has_block() { some(e, statistic) } else { Ok(()) };
    }
    if e.is(Tok::MUX) && e.relation() == b'=' {
        return some(e, |t| bare(t, !t.name().is_empty()));
    }
    if e.is(Tok::MODEM) && !e.value().is_empty() {
        return form(e, false);
    }
    Err(e.bad("descriptor"))
}

fn bare(e: &Element<'_>, good: bool) -> Checked {
    if good && e.relation() == 0 && !e.has_block() { Ok(()) } else { Err(e.bad("item")) }
}

/// The form of an element and of everything in it, whatever it means. `must` where there must be a block.
pub(super) fn form(e: &Element<'_>, must: bool) -> Checked {
    if must && !e.has_block() {
        return Err(e.bad("block"));
    }
    if e.is(Tok::LOCAL) || e.is(Tok::REMOTE) || e.is(Tok::DIGIT_MAP) {
        return Ok(());
    }
    each(e.elements(), |inner| form(inner, false)).map(|_| ())
}

/// `AT{…}`.
pub(super) fn audit(e: &Element<'_>) -> Checked {
    const SELECTIVE: [Tok; 6] =
        [Tok::MEDIA, Tok::EVENTS, Tok::SIGNALS, Tok::EVENT_BUFFER, Tok::STATISTICS, Tok::PACKAGES];
    if !e.has_block() {
        return Err(e.bad("Audit"));
    }
    let item = |i: &Element<'_>| {
        if is_audit_item(i) || i.is(Tok::DIGIT_MAP) {
            return Ok(());
        }
        match SELECTIVE.iter().any(|t| i.is(*t)) {
            true => form(i, true),
            false => Err(i.bad("audit item")),
        }
    };
    each(e.elements(), item).map(|_| ())
}

/// `NAME/NAME`, `NAME/*` or `*/*`.
fn is_package_item(word: &[u8]) -> bool {
    let mut parts = word.splitn(2, |c| *c == b'/');
    let (package, item) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let all = item == b"*";
    (is_name(package) || all && package == b"*") && (all || is_name(item))
}

/// `NAME-version`.
fn is_package_version(word: &[u8]) -> bool {
    let mut parts = word.rsplitn(2, |c| *c == b'-');
    let (version, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    parse_u32(version).is_some() && is_name(name)
}

/// NAME: `ALPHA *63(ALPHA / DIGIT / "_")`.
pub(super) fn is_name(word: &[u8]) -> bool {
    (1..=64).contains(&word.len()) && word.first().is_some_and(u8::is_ascii_alphabetic) && lex::all_name(word)
}

/// `… relation value`, with a list of values where the relation is `=`.
fn has_value(e: &Element<'_>) -> bool {
    let listed = e.value().starts_with(b"[") || e.value().starts_with(b"{");
    e.relation() != 0 && !e.has_block() && (!listed || e.relation() == b'=' && is_list(e.value()))
}

/// A list of values: commas between them; or in square brackets two with a colon between them.
fn is_list(value: &[u8]) -> bool {
    let (mut quoted, mut wanted, mut commas, mut colons, mut ended) = (false, true, 0, 0, false);
    for c in value.get(1..value.len() - 1).unwrap_or_default() {
        match c {
            b'"' => {
                if !quoted && !wanted {
                    return false;
                }
                (quoted, wanted, ended) = (!quoted, false, quoted);
            }
            _ if quoted => {}
            b',' | b':' => {
                let counted = if *c == b',' { &mut commas } else { &mut colons };
                *counted += 1;
                if wanted {
                    return false;
                }
                (wanted, ended) = (true, false);
            }
            c if c.is_ascii_whitespace() => ended |= !wanted,
            _ if ended => return false,
            b'{' | b'}' | b'=' | b'<' | b'>' | b'#' | b'[' | b']' => return false,
            _ => wanted = false,
        }
    }
    let range = colons == 0 || colons == 1 && commas == 0 && value.starts_with(b"[");
    !wanted && !quoted && range
}

fn property(e: &Element<'_>) -> Checked {
    if is_package_item(e.name()) && has_value(e) { Ok(()) } else { Err(e.bad("property")) }
}

pub(super) fn on_off(e: &Element<'_>) -> bool {
    let on = e.value().eq_ignore_ascii_case(b"ON") || e.value().eq_ignore_ascii_case(b"OFF");
    e.relation() == b'=' && on && !e.has_block()
}

fn one_of(e: &Element<'_>, tokens: &[Tok]) -> bool {
    e.relation() == b'=' && !e.has_block() && tokens.iter().any(|t| is(e.value(), *t))
}

fn stream(e: &Element<'_>) -> bool {
    e.is(Tok::STREAM) && e.relation() == b'=' && parse_u32(e.value()).is_some_and(|n| n <= u16::MAX.into())
}

fn media(e: &Element<'_>) -> Checked {
    if e.is(Tok::STREAM) {
        return if stream(e) { some(e, stream_parameter) } else { Err(e.bad("Stream")) };
    }
    if e.is(Tok::TERMINATION_STATE) && e.relation() == 0 {
        return some(e, |p| {
            if p.is(Tok::SERVICE_STATES) && one_of(p, &[Tok::TEST, Tok::OUT_OF_SERVICE, Tok::IN_SERVICE]) {
                return Ok(());
            }
            let lock_step = p.is(Tok::BUFFER) && (one_of(p, &[Tok::LOCK_STEP]) || on_off(p));
            if lock_step { Ok(()) } else { property(p) }
        });
    }
    stream_parameter(e)
}

fn stream_parameter(e: &Element<'_>) -> Checked {
    if e.relation() != 0 {
        return Err(e.bad("stream parameter"));
    }
    if e.is(Tok::LOCAL) || e.is(Tok::REMOTE) {
        return if e.has_block() { Ok(()) } else { Err(e.bad("stream parameter")) };
    }
    if e.is(Tok::STATISTICS) {
        return if e.has_block() { some(e, statistic) } else { Ok(()) };
    }
    if !e.is(Tok::LOCAL_CONTROL) {
        return Err(e.bad("stream parameter"));
    }
    some(e, |p| {
        const MODES: [Tok; 5] = [Tok::SEND_ONLY, Tok::RECEIVE_ONLY, Tok::SEND_RECEIVE, Tok::INACTIVE, Tok::LOOPBACK];
        let reserved = (p.is(Tok::RESERVED_GROUP) || p.is(Tok::RESERVED_VALUE)) && on_off(p);
        if reserved || p.is(Tok::MODE) && one_of(p, &MODES) { Ok(()) } else { property(p) }
    })
}

fn statistic(e: &Element<'_>) -> Checked {
    let valued = e.relation() == 0 || e.relation() == b'=' && has_value(e);
    if is_package_item(e.name()) && valued && !e.has_block() { Ok(()) } else { Err(e.bad("statistic")) }
}

/// `DM=name`, `DM=name{…}`, `DM{…}`; a digit map's own grammar is the gateway's business.
fn digit_map(e: &Element<'_>) -> Checked {
    let named = e.relation() == b'=' && (is_name(e.value()) || e.value().is_empty() && e.has_block());
    if named || e.relation() == 0 && e.has_block() { Ok(()) } else { Err(e.bad("DigitMap")) }
}

fn request_id(value: &[u8]) -> bool {
    value == b"*" || parse_u32(value).is_some()
}

/// `E` or `E=id{…}`; `embedded` for the second level, which embeds no more events.
fn events(e: &Element<'_>, embedded: bool) -> Checked {
    if e.relation() == 0 && !e.has_block() {
        return Ok(());
    }
    if e.relation() != b'=' || !request_id(e.value()) {
        return Err(e.bad("Events"));
    }
    some(e, |event| {
        if !is_package_item(event.name()) || event.relation() != 0 || event.stamp().is_some() {
            return Err(event.bad("event"));
        }
        if event.has_block() { some(event, |p| event_parameter(p, embedded)) } else { Ok(()) }
    })
}

fn event_parameter(e: &Element<'_>, embedded: bool) -> Checked {
    const BARE: [Tok; 4] = [Tok::KEEP_ACTIVE, Tok::NOTIFY_IMMEDIATE, Tok::NOTIFY_NEVER, Tok::RESET_EVENTS];
    if e.relation() == 0 {
        if !e.has_block() && (BARE.iter().any(|t| e.is(*t)) || e.is(Tok::NOTIFY_REGULATED)) {
            return Ok(());
        }
        if e.is(Tok::EMBED) {
            return embed(e, embedded);
        }
        if e.is(Tok::NOTIFY_REGULATED) && !embedded {
            return some(e, |inner| if inner.is(Tok::EMBED) { embed(inner, false) } else { Err(inner.bad("Embed")) });
        }
    }
    if e.is(Tok::DIGIT_MAP) {
        return digit_map(e);
    }
    parameter(e)
}

/// `EM{SG…, E…}`.
fn embed(e: &Element<'_>, embedded: bool) -> Checked {
    let mut n = 0;
    some(e, |d| {
        n += 1;
        if d.is(Tok::SIGNALS) && n == 1 && d.relation() == 0 {
            return signals(d);
        }
        match d.is(Tok::EVENTS) && n <= 2 && !embedded {
            true => {
                n = 2;
                events(d, true)
            }
            false => Err(d.bad("Embed")),
        }
    })
}

/// `name relation value`, or `ST=id`.
fn parameter(e: &Element<'_>) -> Checked {
    let good = if e.is(Tok::STREAM) { stream(e) } else { is_name(e.name()) && has_value(e) };
    if good { Ok(()) } else { Err(e.bad("parameter")) }
}

fn signals(e: &Element<'_>) -> Checked {
    let signal = |s: &Element<'_>| {
        if s.is(Tok::SIGNAL_LIST) && s.relation() == b'=' && parse_u32(s.value()).is_some_and(|n| n <= u16::MAX.into())
        {
            return some(s, signal_request);
        }
        signal_request(s)
    };
    each(e.elements(), signal).map(|_| ())
}

fn signal_request(e: &Element<'_>) -> Checked {
    if !is_package_item(e.name()) || e.relation() != 0 || e.stamp().is_some() {
        return Err(e.bad("signal"));
    }
    if !e.has_block() {
        return Ok(());
    }
    some(e, |p| match p.is(Tok::KEEP_ACTIVE) && p.relation() == 0 && !p.has_block() {
        true => Ok(()),
        false => parameter(p),
    })
}

/// `OE=id{…}`.
pub(super) fn observed_events(e: &Element<'_>) -> Checked {
    if !e.is(Tok::OBSERVED_EVENTS) || e.relation() != b'=' || !request_id(e.value()) {
        return Err(e.bad("ObservedEvents"));
    }
    some(e, observed)
}

fn observed(e: &Element<'_>) -> Checked {
    if !is_package_item(e.name()) || e.relation() != 0 || is_stamp(e.name()) {
        return Err(e.bad("observed event"));
    }
    if e.has_block() { some(e, parameter) } else { Ok(()) }
}
