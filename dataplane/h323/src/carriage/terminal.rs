//! The terminal's end: writes s1 and s7, reads the answers.

use super::values::{Values, malformed, seconds, values};
use crate::view::{Element, Kind, Mac, Message, Reason};
use crate::write::{self, Endpoint, Registering, Tok};
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, Idsp, N1, is_n2};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S10};
use portunus_signalling::{Fault, FaultKind, Text};

/// s1: a GatekeeperRequest. `e`'s first alias is the IDc.
///
/// # Errors
/// [`Full`].
pub fn write_s1(e: &Endpoint<'_>, seq: u16, s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let ts = s1.ts.to_be_bytes();
    let all = [
        (Element::N1, &s1.n1.as_bytes()[..]),
        (Element::Ts, &ts[..]),
        (Element::Cookie, s1.cookie.unwrap_or_default()),
    ];
    let elements = if s1.cookie.is_some() { &all[..] } else { &all[..2] };
    let tok = Tok {
        n: 1,
        time_stamp: seconds(s1.ts),
        challenge: None,
        general_id: s1.idsp.as_str().into(),
        senders_id: s1.idc.as_str(),
        elements,
    };
    write::gatekeeper_request(seq, e, Some(&tok), w)
}

/// s7: a RegistrationRequest for `ttl` seconds. `idsp` is the proxy's name.
///
/// # Errors
/// [`Full`]; also when `s7.rand` or `s7.idsp` is missing, which this carriage repeats.
pub fn write_s7(e: &Endpoint<'_>, seq: u16, ttl: u32, s7: &S7<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let (rand, idsp) = s7.rand.zip(s7.idsp).ok_or(Full)?;
    let ts = s7.ts.to_be_bytes();
    let elements = [
        (Element::N1, &s7.n1.as_bytes()[..]),
        (Element::N2, s7.n2),
        (Element::Ts, &ts[..]),
        (Element::AuthC, &s7.auth_c[..]),
        (Element::Mechs, s7.mechs.as_str().as_bytes()),
    ];
    let tok = Tok {
        n: 3,
        time_stamp: seconds(s7.ts),
        challenge: Some(&rand),
        general_id: idsp.as_str().into(),
        senders_id: s7.idc.as_str(),
        elements: &elements,
    };
    write::registration_request(seq, e, ttl, &Registering::Full(Some(&tok)), w)
}

/// An answer, with what matches it to its request.
#[derive(Debug, Clone)]
pub struct Reply<'m> {
    /// What it is.
    pub kind: Kind,
    /// requestSeqNum.
    pub seq: u16,
    /// Whom its token is for and whom it is from (generalID, sendersID); `None` where it has none.
    pub names: Option<(Idc<'m>, Idsp<'m>)>,
    /// What it says.
    pub answer: Answer<'m>,
}

/// What an answer to a GatekeeperRequest or RegistrationRequest says.
#[derive(Debug, Clone)]
pub enum Answer<'m> {
    /// RequestInProgress: wait so many milliseconds more.
    Provisional(u32),
    /// s6, first or renewed.
    Challenge(S6<'m>),
    /// The stateless cookie: repeat s1 with it.
    Cookie {
        /// The N1 that it answers.
        n1: N1,
        /// The proxy's clock.
        ts: u64,
        /// The cookie, to be repeated octet by octet.
        cookie: &'m [u8],
    },
    /// The clock is off: the proxy's, in milliseconds since 1970 UTC.
    Stale {
        /// The N1 that it answers.
        n1: N1,
        /// The proxy's clock.
        ts: u64,
    },
    /// s10. Its MAC is computed over the message with [`crate::MAC_PLACEHOLDER`] in its place.
    Key {
        /// The step.
        s10: S10<'m>,
        /// The MAC, and where it stands.
        mac: Mac,
    },
    /// A RegistrationConfirm without a key: a keep-alive was granted for so many seconds, where it says so.
    Granted(Option<u32>),
    /// A rejection without a token, or of what else was asked.
    Refused(Refusal),
}

/// Reads the answer to a GatekeeperRequest or RegistrationRequest.
///
/// # Errors
/// A [`Fault`]: not such an answer, or malformed.
pub fn read_answer<'m>(octets: &'m [u8], text: &'m mut Text) -> Result<Reply<'m>, Fault> {
    let msg = Message::parse(octets)?;
    let mut names = None;
    let answer = match (msg.kind(), values(&msg)?) {
        (Kind::RequestInProgress, _) => Answer::Provisional(msg.delay_ms().unwrap_or(1)),
        (Kind::GatekeeperReject | Kind::RegistrationReject, Some(v)) if v.token.n == 2 => {
            let (_, idsp) = *names.insert(v.names(false, text)?);
            told(&msg, &v, idsp)?
        }
        (Kind::GatekeeperReject | Kind::RegistrationReject, None) => Answer::Refused(refusal(&msg)),
        (Kind::RegistrationConfirm, Some(v)) if v.token.n == 4 => {
            let (_, idsp) = *names.insert(v.names(false, text)?);
            key(&msg, &v, idsp)?
        }
        (Kind::RegistrationConfirm, None) => Answer::Granted(msg.time_to_live()),
        (Kind::GatekeeperReject | Kind::RegistrationReject | Kind::RegistrationConfirm, Some(_)) => {
            return Err(malformed("tokenOID"));
        }
        _ => return Err(Fault { kind: FaultKind::Unsupported, what: "RasMessage", at: 0 }),
    };
    Ok(Reply { kind: msg.kind(), seq: msg.seq(), names, answer })
}

/// What token 2 says.
fn told<'m>(msg: &Message<'m>, v: &Values<'m>, idsp: Idsp<'m>) -> Result<Answer<'m>, Fault> {
    let (n1, ts) = (v.n1()?, v.ts()?);
    if let Some(cookie) = v.token.get(Element::Cookie) {
        return Ok(Answer::Cookie { n1, ts, cookie });
    }
    if v.token.challenge.is_none() {
        return match msg.reason() {
            Some(reason) if reason == Reason::security_error(msg.kind(), 0) => Ok(Answer::Stale { n1, ts }),
            _ => Err(malformed("challenge")),
        };
    }
    if v.token.get(Element::MechReq).is_none_or(|empty| !empty.is_empty()) {
        return Err(malformed("mech-req"));
    }
    let n2 = v.token.get(Element::N2).filter(|n2| is_n2(n2)).ok_or(malformed("n2"))?;
    Ok(Answer::Challenge(S6 { idsp, n1, n2, ts, rand: v.rand()? }))
}

/// s10.
fn key<'m>(msg: &Message<'m>, v: &Values<'m>, idsp: Idsp<'m>) -> Result<Answer<'m>, Fault> {
    v.no_challenge()?;
    let s10 = S10 {
        idsp,
        n1: v.n1()?,
        n2: v.token.get(Element::N2).and_then(N1::parse).ok_or(malformed("n2"))?,
        ts: v.ts()?,
        life: v.token.array(Element::Life).map(u32::from_be_bytes).ok_or(malformed("life"))?,
        ekc: v.token.array(Element::Ekc).ok_or(malformed("ekc"))?,
        sel: v.text(Element::Sel, "sel")?,
        mechs: v.text(Element::Mechs, "mechs")?,
    };
    let mac = msg.mac().ok_or(malformed("mac"))?;
    Ok(Answer::Key { s10, mac })
}

/// A rejection without a token.
fn refusal(msg: &Message<'_>) -> Refusal {
    let (kind, reason) = (msg.kind(), msg.reason());
    if reason == Some(Reason::resource_unavailable(kind)) {
        Refusal::Busy { retry_after_s: 0 }
    } else if reason == Some(Reason::needed_feature(kind)) {
        Refusal::Mechanism
    } else if reason == Some(Reason::undefined(kind)) {
        Refusal::Malformed
    } else {
        Refusal::Denied
    }
}

/// The seconds granted by an s10 to a terminal that asked for `asked` seconds for these aliases. `None` where s10 differs:
/// other aliases or another order, or a time that is longer or none. s7's own travel unprotected, so what somebody changed
/// on the way shows here only (spec section 2).
pub fn terms_kept(octets: &[u8], aliases: &[&str], asked: u32) -> Option<u32> {
    let msg = Message::parse(octets).ok()?;
    let mut granted = msg.aliases();
    let same = aliases.iter().all(|own| granted.next().is_some_and(|alias| alias.is(own))) && granted.next().is_none();
    msg.time_to_live().filter(|ttl| same && *ttl <= asked)
}
