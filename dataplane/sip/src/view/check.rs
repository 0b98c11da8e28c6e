//! The checking pass: the headers that every message must have, and those that decide where it goes.

use super::field::{self, Addr, Via};
use super::lex;
use super::name::Name;
use super::{Message, Read, Start};
use portunus_codec::parse_u32;
use portunus_signalling::{Fault, FaultKind};

/// Max-Forwards, 0 to 255.
pub(crate) fn max_forwards(value: &[u8]) -> Option<u8> {
    u8::try_from(parse_u32(value)?).ok()
}

impl<'a> Message<'a> {
    /// Everything that [`Message::parse`] promises beyond [`Message::index`].
    pub(crate) fn check(&mut self) -> Result<(), Fault> {
        let via = self.read(Name::Via, |v| lex::Items::new(v).next().and_then(Via::parse))?;
        let from = self.read(Name::From, Addr::parse)?;
        let to = self.read(Name::To, Addr::parse)?;
        self.need(Name::CallId, field::call_id)?;
        self.need(Name::CSeq, |v| match (field::cseq(v), self.start) {
            (Some((_, method)), Start::Request { .. }) => method == self.method_token(),
            (cseq, _) => cseq.is_some(),
        })?;
        self.may(Name::MaxForwards, |v| max_forwards(v).is_some())?;
        self.may(Name::Expires, |v| field::seconds(v).is_some())?;
        let binds = self.contacts_good()?;
        for name in [Name::Route, Name::RecordRoute, Name::Path, Name::ServiceRoute] {
            if self.has(name) && !self.items(name).all(|i| i.contains(&b'<') && Addr::parse(i).is_some()) {
                return Err(self.fault(FaultKind::Malformed, name));
            }
        }
        for name in [Name::Require, Name::ProxyRequire, Name::Supported] {
            // An empty Supported is allowed and says nothing.
            let empty = |i: &[u8]| i.is_empty() && name == Name::Supported;
            if self.has(name) && !self.items(name).all(|i| lex::token(i) || empty(i)) {
                return Err(self.fault(FaultKind::Malformed, name));
            }
        }
        self.read = Some(Read { via, from, to, binds });
        Ok(())
    }

    fn read<T>(&self, name: Name, read: impl Fn(&'a [u8]) -> Option<T>) -> Result<T, Fault> {
        self.value(name).and_then(read).ok_or_else(|| self.fault(FaultKind::Malformed, name))
    }

    fn need(&self, name: Name, good: impl Fn(&[u8]) -> bool) -> Result<(), Fault> {
        match self.value(name) {
            Some(v) if good(v) => Ok(()),
            _ => Err(self.fault(FaultKind::Malformed, name)),
        }
    }

    fn may(&self, name: Name, good: impl Fn(&[u8]) -> bool) -> Result<(), Fault> {
        match self.value(name) {
            Some(v) if !good(v) => Err(self.fault(FaultKind::Malformed, name)),
            _ => Ok(()),
        }
    }

    /// `*` alone, or addresses with well-formed `expires` and `q`; says whether one of them is to stay for a while.
    fn contacts_good(&self) -> Result<bool, Fault> {
        if !self.has(Name::Contact) {
            return Ok(false);
        }
        let star = self.contact_star() && self.values(Name::Contact).count() == 1;
        let shared = self.expires();
        let mut binds = false;
        let mut good = |i: &[u8]| {
            let Some(address) = Addr::parse(i) else { return false };
            let mut own = None;
            for p in address.params.iter() {
                match p.value {
                    Some(v) if p.name.eq_ignore_ascii_case(b"expires") => match field::seconds(v) {
                        Some(seconds) => own = Some(seconds),
                        None => return false,
                    },
                    Some(v) if p.name.eq_ignore_ascii_case(b"q") && lex::qvalue(v).is_none() => return false,
                    _ => {}
                }
            }
            binds |= own.or(shared) != Some(0);
            true
        };
        if star || self.items(Name::Contact).all(&mut good) {
            return Ok(binds);
        }
        Err(self.fault(FaultKind::Malformed, Name::Contact))
    }
}
