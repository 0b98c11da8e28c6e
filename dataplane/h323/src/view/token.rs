//! The tokens of PKD1 in a message (spec section 4).

use super::{Message, Utf16, malformed};
use crate::schema::tokens::{CLEAR_TOKEN, CRYPTO_H323_TOKEN, PARAMS};
use crate::schema::{Id, Places, plain_element, walk, walk_noting};
use core::ops::Range;
use portunus_codec::PerReader;
use portunus_signalling::Fault;

/// The elements of profileInfo, all of them `octets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Element {
    /// N1, ASCII.
    N1 = 1,
    /// N2, ASCII.
    N2 = 2,
    /// TS, u64 big endian, milliseconds.
    Ts = 3,
    /// The verification word, 32 octets.
    AuthC = 4,
    /// The mechanism list, ASCII.
    Mechs = 5,
    /// The session key under Kc, 48 octets.
    Ekc = 6,
    /// The chosen mechanism, ASCII.
    Sel = 7,
    /// The session key under Ksp, core side only.
    Eksp = 8,
    /// The request for the list, empty.
    MechReq = 9,
    /// The stateless cookie.
    Cookie = 10,
    /// The key's life in seconds, u32 big endian.
    Life = 11,
    /// The terminal's address, ASCII, core side only.
    IpC = 12,
    /// Rand in the core's token 4, core side only: there it shows which registration is meant (spec section 2), and
    /// `challenge` stands in tokens 2 and 3 only.
    Rand = 13,
}

/// The highest of them.
const ELEMENTS: usize = 13;

/// What only the core may send, by the name that a fault gives it.
const CORE_ONLY: [(Element, &str); 4] =
    [(Element::Ekc, "ekc"), (Element::Eksp, "eksp"), (Element::IpC, "ipc"), (Element::Rand, "rand")];

/// A PKD1 token: a ClearToken whose OID is 1.3.6.1.4.1.32473.7.n with n from 1 to 4.
#[derive(Debug, Clone, Copy)]
pub struct Token<'m> {
    /// n: 1 request, 2 challenge, 3 response, 4 key.
    pub n: u8,
    /// timeStamp in seconds.
    pub time_stamp: Option<u32>,
    /// challenge.
    pub challenge: Option<&'m [u8]>,
    /// generalID: whom it is for.
    pub general_id: Option<Utf16<'m>>,
    /// sendersID: whom it is from.
    pub senders_id: Option<Utf16<'m>>,
    elements: [Option<&'m [u8]>; ELEMENTS + 1],
}

impl<'m> Token<'m> {
    /// An element's octets.
    pub fn get(&self, element: Element) -> Option<&'m [u8]> {
        self.elements.get(element as usize).copied().flatten()
    }

    /// An element of a fixed size.
    pub fn array<const N: usize>(&self, element: Element) -> Option<[u8; N]> {
        self.get(element)?.try_into().ok()
    }

    /// An element that only the core may send, by name.
    pub fn core_only(&self) -> Option<&'static str> {
        CORE_ONLY.iter().find(|(e, _)| self.get(*e).is_some()).map(|(_, name)| *name)
    }

    fn read(n: u8, octets: &'m [u8], places: &Places) -> Result<Self, Fault> {
        let at = |id| places.get(id).map(|bit| PerReader::at(octets, bit));
        let mut token = Self {
            n,
            time_stamp: at(Id::TimeStamp).and_then(|mut r| r.constrained(1, u32::MAX)),
            challenge: at(Id::Challenge).and_then(|mut r| {
                let len = r.constrained(8, 128)?;
                r.octets(len as usize)
            }),
            general_id: at(Id::GeneralId).and_then(|mut r| Utf16::sized(&mut r, 1, 128)),
            senders_id: at(Id::SendersId).and_then(|mut r| Utf16::sized(&mut r, 1, 128)),
            elements: [None; ELEMENTS + 1],
        };
        if let Some(mut r) = at(Id::ProfileInfo) {
            token.read_elements(&mut r)?;
        }
        Ok(token)
    }

    /// The elements: a duplicate is malformed, an unknown one ignored (spec section 4).
    fn read_elements(&mut self, r: &mut PerReader<'m>) -> Result<(), Fault> {
        let mut seen = [0u64; 4];
        for _ in 0..r.length().unwrap_or(0) {
            let bad = malformed("profileInfo", r.bit());
            let (id, octets) = element(r).ok_or(bad)?;
            let (word, bit) = (usize::from(id >> 6), 1u64 << (id & 63));
            let seen = seen.get_mut(word).ok_or(bad)?;
            if *seen & bit != 0 {
                return Err(bad);
            }
            *seen |= bit;
            if (1..=ELEMENTS as u8).contains(&id) {
                // All of ours are octets.
                let octets = octets.ok_or(bad)?;
                if let Some(slot) = self.elements.get_mut(usize::from(id)) {
                    *slot = Some(octets);
                }
            }
        }
        Ok(())
    }
}

/// One ProfileElement: its number, and its octets where it is of those.
fn element<'m>(r: &mut PerReader<'m>) -> Option<(u8, Option<&'m [u8]>)> {
    if let Some((id, octets)) = plain_element(r) {
        return Some((id, Some(octets)));
    }
    let flags = r.bits(3)?;
    let (extended, params, value) = (flags & 4 != 0, flags & 2 != 0, flags & 1 != 0);
    let id = r.constrained(0, 255)? as u8;
    if params {
        walk(&PARAMS, r).ok()?;
    }
    let mut octets = None;
    if value {
        let from = r.bit();
        let ended = (!r.bool()?).then_some(()).and_then(|()| r.constrained(0, 4));
        if ended == Some(0) {
            let len = r.length()?;
            octets = Some(r.octets(len)?);
        } else {
            *r = PerReader::at(r.whole(), from);
            walk(&crate::schema::tokens::ELEMENT, r).ok()?;
        }
    }
    if extended {
        crate::schema::skip_additions(r)?;
    }
    Some((id, octets))
}

/// The MAC of an s10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mac {
    /// Where its 32 octets stand in the message.
    pub field: Range<usize>,
    /// The octets.
    pub value: [u8; 32],
}

/// The n of a token's OID, where it is one of PKD1's.
pub(crate) fn number(oid: &[u8]) -> Option<u8> {
    match oid.strip_prefix(&crate::OID_PKD1[..]) {
        Some([n @ 1..=5]) => Some(*n),
        _ => None,
    }
}

fn oid<'m>(r: &mut PerReader<'m>) -> Option<&'m [u8]> {
    let len = r.length()?;
    r.octets(len)
}

impl<'m> Message<'m> {
    /// Its PKD1 token. Foreign tokens beside it are nobody's business.
    ///
    /// # Errors
    /// [`portunus_signalling::FaultKind::Malformed`]: more than one, a duplicate element, or one of another form than
    /// octets.
    pub fn token(&self) -> Result<Option<Token<'m>>, Fault> {
        let Some(n) = self.reader(Id::TokenOid).as_mut().and_then(oid).and_then(number) else { return Ok(None) };
        let token = Token::read(n, self.octets(), &self.places)?;
        match self.places.second {
            Some(second) => Err(malformed("tokens", second as usize)),
            None => Ok(Some(token)),
        }
    }

    /// True where it has tokens that are none of PKD1's.
    pub(crate) const fn has_foreign_tokens(&self) -> bool {
        self.places.foreign > 0
    }

    /// sendersID of its PKD1 token.
    pub(crate) fn senders_id(&self) -> Option<Utf16<'m>> {
        Utf16::sized(&mut self.reader(Id::SendersId)?, 1, 128)
    }

    /// The MAC: `cryptoTokens: nestedcryptoToken: cryptoHashedToken`, tokenOID and that of hashedVals 1.3.6.1.4.1.32473.7.5,
    /// HMAC-SHA-256, no parameters, a hash of exactly 256 bits. More than one is none, whatever form the others have.
    pub fn mac(&self) -> Option<Mac> {
        let mut macs = self.hashed_tokens();
        match (macs.next(), macs.next()) {
            (Some(mac), None) => mac,
            _ => None,
        }
    }

    /// True where a cryptoToken bears the MAC's OID, whatever else it is.
    pub(crate) fn has_mac(&self) -> bool {
        self.hashed_tokens().next().is_some()
    }

    /// What bears the MAC's OID: `None` where it has another form than the MAC's.
    fn hashed_tokens(&self) -> impl Iterator<Item = Option<Mac>> + use<'m> {
        let mut r = self.reader(Id::CryptoTokens).unwrap_or(PerReader::new(&[]));
        let count = r.length().unwrap_or(0);
        (0..count).filter_map(move |_| {
            let mut inner = r.clone();
            walk(&CRYPTO_H323_TOKEN, &mut r).ok()?;
            nested(&mut inner)
        })
    }
}

/// Some for a nested hashed token with the MAC's OID.
fn nested(r: &mut PerReader<'_>) -> Option<Option<Mac>> {
    let nested = r.bits(4)? == 7;
    let hashed = nested && r.bits(3)? == 2;
    if !hashed || number(oid(r)?) != Some(5) {
        return None;
    }
    Some(mac_of(r))
}

fn mac_of(r: &mut PerReader<'_>) -> Option<Mac> {
    let mut places = Places::new();
    let octets = r.whole();
    walk_noting(&CLEAR_TOKEN, r, &mut places).ok()?;
    let inner = oid(&mut PerReader::at(octets, places.get(Id::TokenOid)?))?;
    let algorithm = oid(r)?;
    let no_params = r.bits(3)? == 0;
    let bits = r.length()?;
    if number(inner) != Some(5) || algorithm != crate::OID_HMAC_SHA256 || !no_params || bits != 256 {
        return None;
    }
    let value = r.octets(32)?.try_into().ok()?;
    let end = r.bit() / 8;
    Some(Mac { field: end - 32..end, value })
}
