//! The steps that the proxy writes.

use crate::MAC_PLACEHOLDER;
use crate::carriage::core::put_ipc;
use crate::carriage::values::seconds;
use crate::edit::{Change, edit, put_tokens};
use crate::view::{Element, Kind, Message, Reason};
use crate::write::{self, Name, Tok, put_mac_list};
use core::ops::Range;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::N1;
use portunus_keydist::steps::{S1, S6, S8, S10};
use portunus_signalling::Hop;

/// Where tokens and cryptoTokens stand among a kind's additions.
const fn token_places(kind: Kind) -> Option<(u8, u8)> {
    Some(match kind {
        Kind::GatekeeperRequest | Kind::GatekeeperReject | Kind::RegistrationReject => (1, 2),
        Kind::UnregistrationReject | Kind::AdmissionReject | Kind::BandwidthReject => (1, 2),
        Kind::DisengageReject | Kind::LocationReject | Kind::InfoRequest => (1, 2),
        Kind::GatekeeperConfirm | Kind::RegistrationRequest | Kind::RegistrationConfirm => (2, 3),
        Kind::UnregistrationRequest | Kind::BandwidthRequest | Kind::DisengageRequest => (2, 3),
        Kind::UnregistrationConfirm | Kind::BandwidthConfirm | Kind::DisengageConfirm => (0, 1),
        Kind::InfoRequestResponse | Kind::NonStandardMessage | Kind::UnknownMessageResponse => (0, 1),
        Kind::AdmissionRequest | Kind::AdmissionConfirm | Kind::LocationConfirm => (5, 6),
        Kind::LocationRequest => (3, 4),
        _ => return None,
    })
}

/// A message with PKD1's token replaced by this one.
fn with_token(msg: &Message<'_>, seq: Option<u16>, tok: &Tok<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let (tokens, _) = token_places(msg.kind()).ok_or(Full)?;
    edit(msg, seq, &[(tokens, Change::Put(&|p| put_tokens(msg, Some(tok), p)))], w).map(|_| ())
}

/// A message without PKD1's token, and without cryptoTokens where one of them bears the MAC's OID.
pub(super) fn without_tokens(msg: &Message<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let (tokens, crypto) = token_places(msg.kind()).ok_or(Full)?;
    let keep = |p: &mut portunus_codec::PerWriter<'_, '_>| put_tokens(msg, None, p);
    let tokens = match msg.has_foreign_tokens() {
        false => (tokens, Change::Drop),
        true => (tokens, Change::Put(&keep)),
    };
    match msg.has_mac() {
        true => edit(msg, None, &[tokens, (crypto, Change::Drop)], w),
        false => edit(msg, None, &[tokens], w),
    }
    .map(|_| ())
}

/// Who sent a terminal's step that was read, as it stands there.
fn sender<'m>(msg: &Message<'m>) -> Result<Name<'m>, Full> {
    msg.senders_id().map(Name::Same).ok_or(Full)
}

/// The number that s2 gets: never 0.
const fn own_seq(hop: &Hop<'_>) -> u16 {
    (hop.salt % 65_535) as u16 + 1
}

pub(super) fn s2(hop: &Hop<'_>, s1_msg: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::marked(s1_msg, hop.marks).map_err(|_| Full)?;
    let elements = [(Element::N1, &s1.n1.as_bytes()[..])];
    let tok = Tok {
        n: 1,
        time_stamp: 0,
        challenge: None,
        general_id: s1.idsp.as_str().into(),
        senders_id: s1.idc.as_str(),
        elements: &elements,
    };
    with_token(&msg, Some(own_seq(hop)), &tok, w)
}

/// A rejection of the terminal's request with token 2. generalID is whom it is for: the request's sendersID.
pub(super) fn rejection(
    (hop, request): (&Hop<'_>, &[u8]),
    reason: impl FnOnce(Kind) -> Reason,
    (idsp, ts, challenge): (&str, u64, Option<&[u8]>),
    elements: &[(Element, &[u8])],
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let msg = Message::marked(request, hop.marks).map_err(|_| Full)?;
    let reject = msg.kind().reject().ok_or(Full)?;
    let general_id = sender(&msg)?;
    let tok = Tok { n: 2, time_stamp: seconds(ts), challenge, general_id, senders_id: idsp, elements };
    write::reject(reject, msg.seq(), reason(reject), Some(&tok), w)
}

pub(super) fn s6(hop: &Hop<'_>, request: &[u8], s6: &S6<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let ts = s6.ts.to_be_bytes();
    let elements = [
        (Element::N1, &s6.n1.as_bytes()[..]),
        (Element::N2, s6.n2),
        (Element::Ts, &ts[..]),
        (Element::MechReq, &[][..]),
    ];
    rejection((hop, request), Reason::security_denial, (s6.idsp.as_str(), s6.ts, Some(&s6.rand)), &elements, w)
}

pub(super) fn cookie(
    hop: &Hop<'_>,
    s1_msg: &[u8],
    n1: &N1,
    ts: u64,
    cookie: &[u8],
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let octets = ts.to_be_bytes();
    let elements = [(Element::N1, &n1.as_bytes()[..]), (Element::Ts, &octets[..]), (Element::Cookie, cookie)];
    rejection((hop, s1_msg), Reason::security_denial, (hop.own.idsp.as_str(), ts, None), &elements, w)
}

pub(super) fn s8(hop: &Hop<'_>, s7_msg: &[u8], s8: &S8<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
    let msg = Message::marked(s7_msg, hop.marks).map_err(|_| Full)?;
    let mut buf = [0u8; 64];
    let mut ipc = Writer::new(&mut buf);
    put_ipc(s8.ipc, &mut ipc);
    ipc.finish()?;
    let elements = [(Element::AuthC, &s8.auth_c[..]), (Element::IpC, ipc.written())];
    let tok = Tok {
        n: 3,
        time_stamp: 0,
        challenge: Some(&s8.rand),
        general_id: s8.idsp.as_str().into(),
        senders_id: s8.idc.as_str(),
        elements: &elements,
    };
    with_token(&msg, None, &tok, w)
}

/// s10: the core's RegistrationConfirm with the terminal's number, the key's token for the core's, and the MAC for whatever
/// cryptoTokens there were: those of the core are over other octets than these.
pub(super) fn s10(
    hop: &Hop<'_>,
    s7_msg: &[u8],
    core_msg: &[u8],
    s10: &S10<'_>,
    w: &mut Writer<'_>,
) -> Result<Range<usize>, Full> {
    let request = Message::marked(s7_msg, hop.marks).map_err(|_| Full)?;
    let msg = Message::parse_again(core_msg).map_err(|_| Full)?;
    let (ts, life) = (s10.ts.to_be_bytes(), s10.life.to_be_bytes());
    let elements = [
        (Element::N1, &s10.n1.as_bytes()[..]),
        (Element::N2, &s10.n2.as_bytes()[..]),
        (Element::Ts, &ts[..]),
        (Element::Mechs, s10.mechs.as_bytes()),
        (Element::Ekc, &s10.ekc[..]),
        (Element::Sel, s10.sel.as_bytes()),
        (Element::Life, &life[..]),
    ];
    let tok = Tok {
        n: 4,
        time_stamp: seconds(s10.ts),
        challenge: None,
        general_id: sender(&request)?,
        senders_id: s10.idsp.as_str(),
        elements: &elements,
    };
    let (tokens, crypto) = token_places(msg.kind()).ok_or(Full)?;
    let changes = [
        (tokens, Change::Put(&|p: &mut portunus_codec::PerWriter<'_, '_>| put_tokens(&msg, Some(&tok), p))),
        (crypto, Change::Put(&put_mac_list)),
    ];
    // The MAC is the last of what is put in, and cryptoTokens stand behind the tokens.
    let end = edit(&msg, Some(request.seq()), &changes, w)?;
    Ok(end.saturating_sub(MAC_PLACEHOLDER.len())..end)
}
