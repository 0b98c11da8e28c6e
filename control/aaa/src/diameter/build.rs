//! Writes Diameter messages; lengths and padding are its business.

use super::dict::AvpDef;
use super::message::{HEADER_LEN, Header, MANDATORY, VENDOR, flag};

/// A message under construction.
#[derive(Debug)]
pub struct Builder {
    octets: Vec<u8>,
}

impl Builder {
    /// A message with this header.
    pub fn new(header: &Header) -> Self {
        let mut octets = Vec::with_capacity(512);
        octets.extend_from_slice(&[1, 0, 0, 0]);
        let [_, code @ ..] = header.code.to_be_bytes();
        octets.push(header.flags);
        octets.extend_from_slice(&code);
        for word in [header.application, header.hop_by_hop, header.end_to_end] {
            octets.extend_from_slice(&word.to_be_bytes());
        }
        Self { octets }
    }

    /// The answer to a request: its names, its command, whether relays may pass it on; `error` sets E.
    pub fn answer(request: &Header, error: bool) -> Self {
        let flags = (request.flags & flag::PROXIABLE) | if error { flag::ERROR } else { 0 };
        Self::new(&Header { flags, ..*request })
    }

    /// AVPs without a message around them.
    pub(super) fn bare() -> Self {
        Self { octets: Vec::new() }
    }

    /// The octets of a builder made by [`Builder::bare`].
    pub(super) fn take(self) -> Vec<u8> {
        self.octets
    }

    /// Any AVP.
    pub(super) fn raw(&mut self, code: u32, vendor: u32, mandatory: bool, value: &[u8]) -> &mut Self {
        let head = if vendor == 0 { 8 } else { 12 };
        let flags = if vendor == 0 { 0 } else { VENDOR } | if mandatory { MANDATORY } else { 0 };
        let len = u32::try_from(head + value.len()).unwrap_or(u32::MAX) & 0x00ff_ffff;
        self.octets.extend_from_slice(&code.to_be_bytes());
        self.octets.extend_from_slice(&(u32::from(flags) << 24 | len).to_be_bytes());
        if vendor != 0 {
            self.octets.extend_from_slice(&vendor.to_be_bytes());
        }
        self.octets.extend_from_slice(value);
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
        self
    }

    /// One AVP.
    pub fn put(&mut self, def: &AvpDef, value: &[u8]) -> &mut Self {
        self.raw(def.code, def.vendor, def.mandatory, value)
    }

    /// One AVP of text.
    pub fn text(&mut self, def: &AvpDef, value: &str) -> &mut Self {
        self.put(def, value.as_bytes())
    }

    /// One AVP of a number.
    pub fn number(&mut self, def: &AvpDef, value: u32) -> &mut Self {
        self.put(def, &value.to_be_bytes())
    }

    /// A group that `fill` fills.
    pub fn group(&mut self, def: &AvpDef, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::bare();
        fill(&mut inner);
        self.put(def, &inner.octets)
    }

    /// AVPs in wire form, padded.
    pub fn wire(&mut self, avps: &[u8]) -> &mut Self {
        self.octets.extend_from_slice(avps);
        self
    }

    /// The message, with its length.
    pub fn finish(mut self) -> Vec<u8> {
        debug_assert!(self.octets.len() >= HEADER_LEN && self.octets.len().is_multiple_of(4));
        let [_, len @ ..] = u32::try_from(self.octets.len()).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(place) = self.octets.get_mut(1..4) {
            place.copy_from_slice(&len);
        }
        self.octets
    }
}
