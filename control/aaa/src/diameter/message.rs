//! The Diameter message (RFC 6733 sections 3 and 4): header, AVPs, padding, and whether it is what its command says.

use super::dict::{self, AvpDef, Kind, Rule, result};

/// Octets of a header.
pub const HEADER_LEN: usize = 20;
/// Longest message taken, octets: room for every relay's Route-Record and Proxy-Info, and no more.
pub const MESSAGE_MAX: usize = 16_384;
/// Groups within groups, at most.
const DEPTH_MAX: u8 = 4;

/// Command flags.
pub mod flag {
    /// R: a request.
    pub const REQUEST: u8 = 0x80;
    /// P: relays may pass it on.
    pub const PROXIABLE: u8 = 0x40;
    /// E: a protocol error.
    pub const ERROR: u8 = 0x20;
    /// T: it may have been sent before.
    pub const RETRANSMITTED: u8 = 0x10;
}

/// AVP flags.
pub(super) const VENDOR: u8 = 0x80;
/// To be understood by whoever gets it.
pub(super) const MANDATORY: u8 = 0x40;

/// A header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// R, P, E and T.
    pub flags: u8,
    /// Command code.
    pub code: u32,
    /// Application.
    pub application: u32,
    /// Names the request on this connection.
    pub hop_by_hop: u32,
    /// Names the request for its whole way.
    pub end_to_end: u32,
}

impl Header {
    /// The fields of octets that begin with a header, whatever else they are.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let word = |at| be32(octets, at);
        Some(Self {
            flags: *octets.get(4)?,
            code: word(4)? & 0x00ff_ffff,
            application: word(8)?,
            hop_by_hop: word(12)?,
            end_to_end: word(16)?,
        })
    }

    /// True for requests.
    pub const fn is_request(&self) -> bool {
        self.flags & flag::REQUEST != 0
    }
}

fn be32(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

/// The stream cannot be cut into messages any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLength;

/// Octets that the first message of a stream takes; `None` while it is incomplete.
///
/// # Errors
/// A length below the header's or above [`MESSAGE_MAX`].
pub fn frame(stream: &[u8]) -> Result<Option<usize>, BadLength> {
    let Some(first) = be32(stream, 0) else { return Ok(None) };
    let len = (first & 0x00ff_ffff) as usize;
    if !(HEADER_LEN..=MESSAGE_MAX).contains(&len) {
        return Err(BadLength);
    }
    Ok((stream.len() >= len).then_some(len))
}

/// What is wrong with a message, as its answer says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Result-Code.
    pub code: u32,
    /// The AVP at fault in wire form, for Failed-AVP; empty where there is none.
    pub avp: Vec<u8>,
}

impl Fault {
    /// One without an AVP.
    pub const fn plain(code: u32) -> Self {
        Self { code, avp: Vec::new() }
    }

    /// One about an AVP that is there.
    pub fn about(code: u32, avp: &Avp<'_>) -> Self {
        Self { code, avp: padded(avp.octets.to_vec()) }
    }

    /// An AVP that is missing: an example of it with the least value, of zeros (RFC 6733 section 7.5).
    pub fn missing(def: &AvpDef) -> Self {
        Self { code: result::MISSING_AVP, avp: example(def.code, def.vendor, def.mandatory, def.kind) }
    }
}

fn padded(mut octets: Vec<u8>) -> Vec<u8> {
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

fn example(code: u32, vendor: u32, mandatory: bool, kind: Kind) -> Vec<u8> {
    let least = match kind {
        Kind::Unsigned32 => 4,
        Kind::Address => 6,
        Kind::Octets | Kind::Text | Kind::Grouped => 0,
    };
    let mut b = super::Builder::bare();
    b.raw(code, vendor, mandatory, &[0; 6][..least]);
    b.take()
}

/// One AVP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avp<'a> {
    /// Code.
    pub code: u32,
    /// Whose; 0 without the V flag.
    pub vendor: u32,
    /// V, M, P and reserved bits, as they came.
    pub flags: u8,
    /// The value.
    pub value: &'a [u8],
    /// Header and value without padding.
    pub octets: &'a [u8],
}

impl Avp<'_> {
    /// True for an AVP of this entry.
    pub fn is(&self, def: &AvpDef) -> bool {
        self.code == def.code && self.vendor == def.vendor
    }

    /// The value as a number.
    pub fn number(&self) -> Option<u32> {
        self.value.try_into().ok().map(u32::from_be_bytes)
    }
}

/// AVPs one after the other.
#[derive(Debug, Clone)]
pub struct Avps<'a>(&'a [u8]);

impl<'a> Avps<'a> {
    /// Those of a message's payload or a group's value.
    pub const fn of(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next one, and what follows it.
    fn split(octets: &'a [u8]) -> Result<(Avp<'a>, &'a [u8]), Fault> {
        // What cannot be read is shown with its header, filled up to a good one (RFC 6733 section 7.5).
        let bad = || {
            let code = be32(octets, 0).unwrap_or(0);
            let flags = octets.get(4).copied().unwrap_or(0);
            let vendor = if flags & VENDOR != 0 { be32(octets, 8).unwrap_or(0) } else { 0 };
            let kind = dict::avp(code, vendor).map_or(Kind::Octets, |d| d.kind);
            Fault { code: result::INVALID_AVP_LENGTH, avp: example(code, vendor, flags & MANDATORY != 0, kind) }
        };
        let code = be32(octets, 0).ok_or_else(bad)?;
        let second = be32(octets, 4).ok_or_else(bad)?;
        let flags = (second >> 24) as u8;
        let len = (second & 0x00ff_ffff) as usize;
        let head = if flags & VENDOR != 0 { 12 } else { 8 };
        let whole = octets.get(..len).filter(|_| len >= head).ok_or_else(bad)?;
        let rest = octets.get(len.next_multiple_of(4)..).ok_or_else(bad)?;
        let vendor = if flags & VENDOR != 0 { be32(whole, 8).ok_or_else(bad)? } else { 0 };
        let value = whole.get(head..).unwrap_or_default();
        let avp = Avp { code, vendor, flags, value, octets: whole };
        if flags & VENDOR != 0 && vendor == 0 {
            return Err(Fault::about(result::INVALID_AVP_BITS, &avp));
        }
        Ok((avp, rest))
    }

    /// Reads all of them once.
    ///
    /// # Errors
    /// The first that cannot be read.
    pub fn check(&self) -> Result<(), Fault> {
        let mut rest = self.0;
        while !rest.is_empty() {
            rest = Self::split(rest)?.1;
        }
        Ok(())
    }

    /// The first of an entry.
    pub fn first(&self, def: &AvpDef) -> Option<Avp<'a>> {
        self.clone().find(|a| a.is(def))
    }

    /// The first of an entry as text.
    pub fn text(&self, def: &AvpDef) -> Option<&'a str> {
        self.first(def).and_then(|a| core::str::from_utf8(a.value).ok())
    }

    /// The first of an entry as a number.
    pub fn number(&self, def: &AvpDef) -> Option<u32> {
        self.first(def).and_then(|a| a.number())
    }
}

impl<'a> Iterator for Avps<'a> {
    type Item = Avp<'a>;

    fn next(&mut self) -> Option<Avp<'a>> {
        let (avp, rest) = Self::split(self.0).ok()?;
        self.0 = rest;
        Some(avp)
    }
}

/// One message whose AVPs can all be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its header.
    pub header: Header,
    octets: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Fault`], as the answer would say it: version, lengths, header bits.
    pub fn parse(octets: &'a [u8]) -> Result<Self, Fault> {
        let header = Header::read(octets).ok_or(Fault::plain(result::INVALID_MESSAGE_LENGTH))?;
        if octets.first() != Some(&1) {
            return Err(Fault::plain(result::UNSUPPORTED_VERSION));
        }
        if frame(octets) != Ok(Some(octets.len())) || !octets.len().is_multiple_of(4) {
            return Err(Fault::plain(result::INVALID_MESSAGE_LENGTH));
        }
        // Reserved bits are ignored (section 3); E is an answer's, T a request's.
        let wrong = if header.is_request() { flag::ERROR } else { flag::RETRANSMITTED };
        if header.flags & wrong != 0 {
            return Err(Fault::plain(result::INVALID_HDR_BITS));
        }
        let message = Self { header, octets };
        message.avps().check()?;
        Ok(message)
    }

    /// Its AVPs.
    pub fn avps(&self) -> Avps<'a> {
        Avps(self.octets.get(HEADER_LEN..).unwrap_or_default())
    }

    /// The whole message.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Holds the message to its command: AVPs known where they must be, values of their kind, none missing, none too
    /// often.
    ///
    /// # Errors
    /// [`Fault`] with the AVP concerned.
    pub fn check(&self) -> Result<(), Fault> {
        let command = dict::command(self.header.code).ok_or(Fault::plain(result::COMMAND_UNSUPPORTED))?;
        if command.application != self.header.application {
            return Err(Fault::plain(result::APPLICATION_UNSUPPORTED));
        }
        // The answer to a CER names the base application; what relays may not pass on says so by its bit.
        let proxiable = command.application != dict::BASE;
        if self.header.is_request() && proxiable != (self.header.flags & flag::PROXIABLE != 0) {
            return Err(Fault::plain(result::INVALID_HDR_BITS));
        }
        known(self.avps(), 0)?;
        let rules = match (self.header.is_request(), self.header.flags & flag::ERROR != 0) {
            (true, _) => command.request,
            (false, true) => &dict::ANSWER,
            (false, false) => command.answer,
        };
        rules.iter().try_for_each(|rule| count(self.avps(), rule))
    }
}

/// Every AVP is known or may be skipped, and its value is of its kind.
fn known(avps: Avps<'_>, depth: u8) -> Result<(), Fault> {
    for avp in avps {
        let Some(def) = dict::avp(avp.code, avp.vendor) else {
            if avp.flags & MANDATORY != 0 {
                return Err(Fault::about(result::AVP_UNSUPPORTED, &avp));
            }
            continue;
        };
        let length = |good: bool| {
            let shown = || example(avp.code, avp.vendor, def.mandatory, def.kind);
            good.then_some(()).ok_or_else(|| Fault { code: result::INVALID_AVP_LENGTH, avp: shown() })
        };
        let value = |good: bool| good.then_some(()).ok_or_else(|| Fault::about(result::INVALID_AVP_VALUE, &avp));
        match def.kind {
            Kind::Octets => {}
            Kind::Text => value(core::str::from_utf8(avp.value).is_ok())?,
            Kind::Unsigned32 => length(avp.value.len() == 4)?,
            Kind::Address => match avp.value {
                [0, 1, rest @ ..] => length(rest.len() == 4)?,
                [0, 2, rest @ ..] => length(rest.len() == 16)?,
                _ => value(avp.value.len() > 2)?,
            },
            Kind::Grouped => {
                value(depth < DEPTH_MAX)?;
                Avps(avp.value).check()?;
                known(Avps(avp.value), depth + 1)?;
            }
        }
    }
    Ok(())
}

fn count(avps: Avps<'_>, rule: &Rule) -> Result<(), Fault> {
    let mut found = 0u32;
    for avp in avps.filter(|a| a.is(rule.avp)) {
        found += 1;
        if found > u32::from(rule.most) && rule.most != u8::MAX {
            return Err(Fault::about(result::AVP_OCCURS_TOO_MANY_TIMES, &avp));
        }
    }
    if found < u32::from(rule.least) { Err(Fault::missing(rule.avp)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
