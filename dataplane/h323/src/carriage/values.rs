//! The values of the steps as a token carries them.

use crate::view::{Element, Message, Token};
use portunus_keydist::ident::{IDC_MAX, Idc, Idsp, N1, Rand};
use portunus_keydist::mech::MechList;
use portunus_signalling::{Fault, FaultKind, Text};

/// A token of a message, with what faults need.
pub(crate) struct Values<'m> {
    pub(crate) token: Token<'m>,
}

pub(crate) const fn malformed(what: &'static str) -> Fault {
    Fault { kind: FaultKind::Malformed, what, at: 0 }
}

pub(crate) const fn forbidden(what: &'static str) -> Fault {
    Fault { kind: FaultKind::Forbidden, what, at: 0 }
}

/// timeStamp of a TS: whole seconds, never none.
pub(crate) const fn seconds(ts: u64) -> u32 {
    let s = ts / 1000;
    if s == 0 {
        1
    } else if s > u32::MAX as u64 {
        u32::MAX
    } else {
        s as u32
    }
}

impl<'m> Values<'m> {
    pub(crate) fn n1(&self) -> Result<N1, Fault> {
        self.token.get(Element::N1).and_then(N1::parse).ok_or(malformed("n1"))
    }

    /// TS, with which timeStamp must agree.
    pub(crate) fn ts(&self) -> Result<u64, Fault> {
        let ts = self.token.array(Element::Ts).map(u64::from_be_bytes).ok_or(malformed("ts"))?;
        match self.token.time_stamp {
            Some(stamp) if stamp == seconds(ts) => Ok(ts),
            _ => Err(malformed("timeStamp")),
        }
    }

    pub(crate) fn rand(&self) -> Result<Rand, Fault> {
        self.token.challenge.and_then(|c| c.try_into().ok()).ok_or(malformed("challenge"))
    }

    /// `challenge` stands in tokens 2 and 3 only.
    pub(crate) fn no_challenge(&self) -> Result<(), Fault> {
        if self.token.challenge.is_some() { Err(malformed("challenge")) } else { Ok(()) }
    }

    pub(crate) fn text(&self, element: Element, what: &'static str) -> Result<&'m str, Fault> {
        let octets = self.token.get(element).filter(|t| t.is_ascii() && !t.is_empty()).ok_or(malformed(what))?;
        core::str::from_utf8(octets).map_err(|_| malformed(what))
    }

    pub(crate) fn mechs(&self) -> Result<MechList, Fault> {
        MechList::from_text(self.text(Element::Mechs, "mechs")?).map_err(|_| malformed("mechs"))
    }

    /// IDc and IDsp of what a terminal sends (generalID is whom it is for), the other way round of what it receives.
    pub(crate) fn names<'t>(&self, upward: bool, text: &'t mut Text) -> Result<(Idc<'t>, Idsp<'t>), Fault> {
        let (idc, idsp) = match upward {
            true => (self.token.senders_id, self.token.general_id),
            false => (self.token.general_id, self.token.senders_id),
        };
        let what = if upward { ("sendersID", "generalID") } else { ("generalID", "sendersID") };
        let (idc_room, idsp_room) = text.room().split_at_mut(IDC_MAX);
        let len = idc.and_then(|name| name.put(idc_room)).ok_or(malformed(what.0))?;
        let idc = idc_room.get(..len).and_then(Idc::from_octets).ok_or(malformed(what.0))?;
        let len = idsp.and_then(|name| name.put(idsp_room)).ok_or(malformed(what.1))?;
        let idsp = idsp_room.get(..len).and_then(Idsp::from_octets).ok_or(malformed(what.1))?;
        Ok((idc, idsp))
    }
}

/// sendersID equals the first alias.
pub(crate) fn first_alias_is(msg: &Message<'_>, idc: Idc<'_>) -> bool {
    msg.aliases().next().is_some_and(|alias| alias.is(idc.as_str()))
}

/// A token's message, or none.
pub(crate) fn values<'m>(msg: &Message<'m>) -> Result<Option<Values<'m>>, Fault> {
    Ok(msg.token()?.map(|token| Values { token }))
}
