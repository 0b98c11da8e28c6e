//! What a ServiceChange says: H.248.1 section 7.2.8 and annex B.2, `serviceChangeDescriptor`.

use super::element::is_stamp;
use super::lex::Pairs;
use super::{Bad, Element, Elements, Mid, Tok, Word};
use portunus_codec::{parse_u32, parse_u64};

/// The methods of a ServiceChange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Taken out of service once its calls have ended.
    Graceful,
    /// Taken out of service at once.
    Forced,
    /// In service again.
    Restart,
    /// Was out of touch, and keeps its state.
    Disconnected,
    /// Another controller shall take over, or takes over.
    HandOff,
    /// The gateway's spare takes over.
    Failover,
    /// An extension, `X-…`.
    Other,
}

impl Method {
    fn of(word: &[u8]) -> Option<Self> {
        const METHODS: [(Tok, Method); 6] = [
            (Tok::RESTART, Method::Restart),
            (Tok::GRACEFUL, Method::Graceful),
            (Tok::FORCED, Method::Forced),
            (Tok::DISCONNECTED, Method::Disconnected),
            (Tok::HAND_OFF, Method::HandOff),
            (Tok::FAILOVER, Method::Failover),
        ];
        let name = Word::new(word);
        let known = METHODS.iter().find(|(token, _)| name.is(*token)).map(|(_, method)| *method);
        known.or_else(|| is_extension(word).then_some(Self::Other))
    }

    /// True for what makes a gateway known to a controller.
    pub const fn registers(self) -> bool {
        matches!(self, Self::Restart | Self::Disconnected | Self::Failover | Self::HandOff)
    }
}

/// The services descriptor of a ServiceChange or its reply.
#[derive(Debug, Clone, Copy)]
pub struct Services<'m>(pub(super) Element<'m>);

impl<'m> Services<'m> {
    /// The descriptor that begins at `at` of a message that was checked.
    pub(crate) fn read(octets: &'m [u8], at: usize) -> Option<Self> {
        Element::read(octets, at, Pairs::default()).ok().map(Self)
    }

    /// Where it begins in the message.
    pub(crate) fn at(&self) -> usize {
        self.0.span().0
    }

    fn find(&self, token: Tok) -> Option<Element<'m>> {
        self.0.elements().find(|e| e.is(token))
    }

    /// All its parameters, as they stand.
    pub fn elements(&self) -> Elements<'m> {
        self.0.elements()
    }

    /// The method; every request has one.
    pub fn method(&self) -> Option<Method> {
        self.find(Tok::METHOD).and_then(|e| Method::of(e.value()))
    }

    /// The reason without quotation marks; it begins with its code.
    pub fn reason(&self) -> &'m [u8] {
        self.find(Tok::REASON).map_or(&[], |e| e.text())
    }

    /// The code at the beginning of the reason.
    pub fn reason_code(&self) -> Option<u16> {
        let digits = self.reason().split(|c| !c.is_ascii_digit()).next()?;
        parse_u32(digits).and_then(|code| u16::try_from(code).ok())
    }

    /// Seconds until it takes effect.
    pub fn delay(&self) -> Option<u32> {
        self.find(Tok::DELAY).and_then(|e| parse_u32(e.value()))
    }

    /// The version of the protocol that is proposed or granted.
    pub fn version(&self) -> Option<u8> {
        self.find(Tok::VERSION).and_then(|e| parse_u32(e.value())).and_then(|v| u8::try_from(v).ok())
    }

    /// The profile, `name/version`.
    pub fn profile(&self) -> Option<&'m [u8]> {
        self.find(Tok::PROFILE).map(|e| e.value())
    }

    /// The controller to try instead: a handoff or redirection.
    pub fn mgc(&self) -> Option<Mid<'m>> {
        self.find(Tok::MGC_ID).and_then(|e| mid_of(&e))
    }

    /// Another address for later messages, as it stands: an identifier or a port.
    pub fn address(&self) -> Option<&'m [u8]> {
        self.find(Tok::ADDRESS).map(|e| e.whole())
    }

    /// The value of the extension `X-PKD` without quotation marks.
    pub fn pkd(&self) -> Option<&'m [u8]> {
        self.elements().find(is_pkd).map(|e| e.text())
    }
}

/// True for the extension that carries a registration.
pub(crate) fn is_pkd(element: &Element<'_>) -> bool {
    element.name().eq_ignore_ascii_case(b"X-PKD")
}

/// True for the parameters that name a transport address: they are never passed on.
pub(crate) fn is_address(element: &Element<'_>) -> bool {
    element.is(Tok::ADDRESS)
}

/// `X-` or `X+`, and 1 to 6 letters and digits.
fn is_extension(name: &[u8]) -> bool {
    match name {
        [b'X' | b'x', b'-' | b'+', rest @ ..] => {
            (1..=6).contains(&rest.len()) && rest.iter().all(u8::is_ascii_alphanumeric)
        }
        _ => false,
    }
}

/// `NAME/version`.
fn is_profile(value: &[u8]) -> bool {
    let mut parts = value.splitn(2, |c| *c == b'/');
    let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    super::descriptors::is_name(name) && (1..=2).contains(&version.len()) && version.iter().all(u8::is_ascii_digit)
}

/// The identifier that an element has for its value, `MTP{…}` among them.
fn mid_of<'m>(element: &Element<'m>) -> Option<Mid<'m>> {
    let whole = element.whole();
    let value = whole.get(whole.len().checked_sub(element.span().1 - element.value_span().0)?..)?;
    Mid::parse(value)
}

/// One parameter of a request's or a reply's; says which it is, a bit each, so that none comes twice.
fn parameter(e: &Element<'_>, reply: bool) -> Result<u16, Bad> {
    const PLAIN: [(Tok, u16); 9] = [
        (Tok::METHOD, 1),
        (Tok::REASON, 2),
        (Tok::DELAY, 4),
        (Tok::ADDRESS, 8),
        (Tok::MGC_ID, 16),
        (Tok::PROFILE, 32),
        (Tok::VERSION, 64),
        (Tok::INCOMPLETE, 128),
        (Tok::AUDIT, 256),
    ];
    let bad = Err(e.bad("service change parameter"));
    if is_stamp(e.name()) {
        return if e.relation() == 0 && !e.has_block() { Ok(512) } else { bad };
    }
    if is_pkd(e) {
        return if e.relation() == b'=' && !e.value().is_empty() { Ok(1024) } else { bad };
    }
    let Some(&(_, bit)) = PLAIN.iter().find(|(token, _)| e.is(*token)) else {
        // A further extension, or with version 2 an item that a reply's audit shall have.
        let item = !reply && e.relation() == 0 && super::check::is_audit_item(e);
        return if item || is_extension(e.name()) && e.relation() != 0 { Ok(0) } else { bad };
    };
    let number = |max: u64| e.relation() == b'=' && parse_u64(e.value()).is_some_and(|n| n <= max);
    let good = match bit {
        1 => !reply && e.relation() == b'=' && Method::of(e.value()).is_some(),
        2 => !reply && e.relation() == b'=' && !e.has_block(),
        4 => !reply && number(u32::MAX.into()),
        8 => e.relation() == b'=' && (number(u16::MAX.into()) || mid_of(e).is_some()),
        16 => e.relation() == b'=' && mid_of(e).is_some(),
        32 => e.relation() == b'=' && is_profile(e.value()),
        64 => number(99),
        128 => !reply && e.relation() == 0,
        _ => !reply && e.relation() == 0 && e.has_block(),
    };
    if good { Ok(bit) } else { bad }
}

/// Checks a services descriptor.
pub(super) fn check(e: &Element<'_>, reply: bool) -> Result<(), Bad> {
    let mut seen = 0u16;
    super::check::some(e, |p| {
        let bit = parameter(p, reply)?;
        if seen & bit != 0 {
            return Err(p.bad("service change parameter twice"));
        }
        seen |= bit;
        Ok(())
    })?;
    let both_addresses = seen & (8 | 16) == 8 | 16;
    if both_addresses || !reply && seen & 3 != 3 {
        return Err(e.bad("Services"));
    }
    Ok(())
}
