//! The messages that are no rejects.

use super::*;

/// What an endpoint says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// Its aliases; the first is its IDc.
    pub aliases: &'a [&'a str],
    /// The address of its RAS channel, as it knows it.
    pub ras: SocketAddr,
    /// Where it takes calls.
    pub signal: SocketAddr,
    /// The product's name, 1 to 256 octets of ASCII.
    pub product: &'a str,
}

/// endpointType or terminalType: a terminal and nothing else.
fn put_terminal_type(p: &mut PerWriter<'_, '_>) {
    // Extension, nonStandardData, vendor, gatekeeper, gateway, mcu: none of them; terminal.
    p.bits(0, 6).bool(true);
    // TerminalInfo: empty. mc, undefinedNode.
    p.bits(0, 2).bits(0, 2);
}

/// endpointVendor: a country code of no country (T.35), and the product's name.
fn put_vendor(p: &mut PerWriter<'_, '_>, product: &str) {
    let name = product.as_bytes();
    p.bool(false).bool(!name.is_empty()).bool(false);
    p.bool(false).constrained(0, 0, 255).constrained(0, 0, 255).constrained(0, 0, 65_535);
    if !name.is_empty() {
        p.constrained(name.len() as u32, 1, 256).octets(name);
    }
}

/// A GatekeeperRequest.
///
/// # Errors
/// [`Full`].
pub fn gatekeeper_request(seq: u16, e: &Endpoint<'_>, tok: Option<&Tok<'_>>, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::GatekeeperRequest);
    p.bool(tok.is_some()).bits(0b0001, 4);
    put_seq(&mut p, seq);
    put_protocol(&mut p);
    put_address(&mut p, e.ras);
    put_terminal_type(&mut p);
    put_aliases(&mut p, e.aliases);
    if let Some(tok) = tok {
        put_additions(&mut p, Kind::GatekeeperRequest.additions().into(), &[(1, &|p| put_token_list(p, tok))]);
    }
    w.finish().map(|_| ())
}

/// A GatekeeperConfirm: register there.
///
/// # Errors
/// [`Full`].
pub fn gatekeeper_confirm(seq: u16, gatekeeper_id: &str, ras: SocketAddr, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::GatekeeperConfirm);
    p.bool(false).bits(0b01, 2);
    put_seq(&mut p, seq);
    put_protocol(&mut p);
    put_bmp(&mut p, gatekeeper_id, 1, 128);
    put_address(&mut p, ras);
    w.finish().map(|_| ())
}

/// How a RegistrationRequest registers.
#[derive(Debug, Clone, Copy)]
pub enum Registering<'a> {
    /// In full, with a token where it is s7.
    Full(Option<&'a Tok<'a>>),
    /// A lightweight one: the registration of this endpointIdentifier goes on.
    KeepAlive {
        /// As the gatekeeper gave it.
        endpoint_id: &'a str,
    },
}

/// A RegistrationRequest for `ttl` seconds.
///
/// # Errors
/// [`Full`].
pub fn registration_request(
    seq: u16,
    e: &Endpoint<'_>,
    ttl: u32,
    how: &Registering<'_>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::RegistrationRequest);
    let full = matches!(how, Registering::Full(_));
    p.bool(true).bool(false).bool(full).bool(false);
    put_seq(&mut p, seq);
    put_protocol(&mut p);
    p.bool(true);
    put_addresses(&mut p, &[e.signal]);
    put_addresses(&mut p, &[e.ras]);
    put_terminal_type(&mut p);
    if full {
        put_aliases(&mut p, e.aliases);
    }
    put_vendor(&mut p, e.product);
    let count = Kind::RegistrationRequest.additions().into();
    let put_ttl = |p: &mut PerWriter<'_, '_>| _ = p.constrained(ttl, 1, u32::MAX);
    let no = |p: &mut PerWriter<'_, '_>| _ = p.bool(false);
    let yes = |p: &mut PerWriter<'_, '_>| _ = p.bool(true);
    match how {
        Registering::Full(Some(tok)) => {
            put_additions(&mut p, count, &[(1, &put_ttl), (2, &|p| put_token_list(p, tok)), (5, &no)]);
        }
        Registering::Full(None) => put_additions(&mut p, count, &[(1, &put_ttl), (5, &no)]),
        Registering::KeepAlive { endpoint_id } => {
            put_additions(&mut p, count, &[(1, &put_ttl), (5, &yes), (6, &|p| put_bmp(p, endpoint_id, 1, 128))]);
        }
    }
    w.finish().map(|_| ())
}

/// What a RegistrationConfirm grants.
#[derive(Debug, Clone, Copy)]
pub struct Confirmed<'a> {
    /// Where the gatekeeper takes call signalling.
    pub signal: SocketAddr,
    /// The aliases registered; none in the answer to a lightweight registration.
    pub aliases: &'a [&'a str],
    /// The gatekeeper's name.
    pub gatekeeper_id: &'a str,
    /// What the endpoint is called from now on.
    pub endpoint_id: &'a str,
    /// Seconds until it must register again.
    pub ttl: u32,
}

/// A RegistrationConfirm, with a token where it is s9.
///
/// # Errors
/// [`Full`].
pub fn registration_confirm(
    seq: u16,
    c: &Confirmed<'_>,
    tok: Option<&Tok<'_>>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::RegistrationConfirm);
    p.bool(true).bool(false).bool(!c.aliases.is_empty()).bool(true);
    put_seq(&mut p, seq);
    put_protocol(&mut p);
    put_addresses(&mut p, &[c.signal]);
    if !c.aliases.is_empty() {
        put_aliases(&mut p, c.aliases);
    }
    put_bmp(&mut p, c.gatekeeper_id, 1, 128);
    put_bmp(&mut p, c.endpoint_id, 1, 128);
    let count = Kind::RegistrationConfirm.additions().into();
    let put_ttl = |p: &mut PerWriter<'_, '_>| _ = p.constrained(c.ttl, 1, u32::MAX);
    match tok {
        Some(tok) => put_additions(&mut p, count, &[(1, &put_ttl), (2, &|p| put_token_list(p, tok))]),
        None => put_additions(&mut p, count, &[(1, &put_ttl)]),
    }
    w.finish().map(|_| ())
}

/// An UnregistrationRequest, from either side.
///
/// # Errors
/// [`Full`].
pub fn unregistration_request(
    seq: u16,
    signal: SocketAddr,
    aliases: &[&str],
    endpoint_id: Option<&str>,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::UnregistrationRequest);
    p.bool(false).bool(!aliases.is_empty()).bool(false).bool(endpoint_id.is_some());
    put_seq(&mut p, seq);
    put_addresses(&mut p, &[signal]);
    if !aliases.is_empty() {
        put_aliases(&mut p, aliases);
    }
    if let Some(id) = endpoint_id {
        put_bmp(&mut p, id, 1, 128);
    }
    w.finish().map(|_| ())
}

/// An UnregistrationConfirm or DisengageConfirm: nothing but the number that it answers.
///
/// # Errors
/// [`Full`].
pub fn confirm(kind: Kind, seq: u16, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, kind);
    p.bits(0, 2);
    put_seq(&mut p, seq);
    w.finish().map(|_| ())
}

/// An InfoRequestAck.
///
/// # Errors
/// [`Full`].
pub fn info_request_ack(seq: u16, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_added(&mut p, Kind::InfoRequestAck, |p| {
        p.bits(0, 5);
        put_seq(p, seq);
    });
    w.finish().map(|_| ())
}

/// Why an InfoRequestResponse is not taken (H.225.0 InfoRequestNakReason).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum NakReason {
    /// notRegistered.
    NotRegistered = 0,
    /// securityDenial.
    SecurityDenial = 1,
    /// undefinedReason.
    Undefined = 2,
}

/// An InfoRequestNak.
///
/// # Errors
/// [`Full`].
pub fn info_request_nak(seq: u16, reason: NakReason, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_added(&mut p, Kind::InfoRequestNak, |p| {
        p.bits(0, 6);
        put_seq(p, seq);
        p.bool(false).constrained(reason as u32, 0, 2);
    });
    w.finish().map(|_| ())
}

/// The choice, for an added alternative: its message is an open type.
fn put_added(p: &mut PerWriter<'_, '_>, kind: Kind, body: impl FnOnce(&mut PerWriter<'_, '_>)) {
    p.bool(true).small(kind.added_index().unwrap_or(0));
    let opened = p.open();
    body(p);
    p.end_open(opened);
}

/// A RequestInProgress: the answer comes within so many milliseconds, 1 to 65,535.
///
/// # Errors
/// [`Full`].
pub fn request_in_progress(seq: u16, delay_ms: u16, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_added(&mut p, Kind::RequestInProgress, |p| {
        p.bits(0, 5);
        put_seq(p, seq);
        p.constrained(delay_ms.max(1).into(), 1, 65_535);
    });
    w.finish().map(|_| ())
}

/// An UnknownMessageResponse to `message`, of which so much is repeated as is wanted.
///
/// # Errors
/// [`Full`].
pub fn unknown_message_response(seq: u16, message: &[u8], w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::UnknownMessageResponse);
    p.bool(true);
    put_seq(&mut p, seq.max(1));
    put_additions(&mut p, Kind::UnknownMessageResponse.additions().into(), &[(3, &|p| put_string(p, message))]);
    w.finish().map(|_| ())
}

/// One call, as admission and what follows name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// conferenceID.
    pub conference: [u8; 16],
    /// callIdentifier.
    pub id: [u8; 16],
    /// callReferenceValue.
    pub reference: u16,
}

fn put_call_id(p: &mut PerWriter<'_, '_>, id: &[u8; 16]) {
    p.bool(false).octets(id);
}

/// An AdmissionRequest for a call to `to`, or with `answer` for one that is being answered.
///
/// # Errors
/// [`Full`].
#[expect(clippy::too_many_arguments, reason = "each is a component of the message, in its order")]
pub fn admission_request(
    seq: u16,
    endpoint_id: &str,
    from: &[&str],
    to: &[&str],
    call: &Call,
    answer: bool,
    bandwidth: u32,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::AdmissionRequest);
    p.bool(true).bool(false).bool(!to.is_empty()).bits(0, 5);
    put_seq(&mut p, seq);
    // pointToPoint.
    p.bits(0, 3);
    put_bmp(&mut p, endpoint_id, 1, 128);
    if !to.is_empty() {
        put_aliases(&mut p, to);
    }
    put_aliases(&mut p, from);
    p.constrained(bandwidth, 0, u32::MAX).constrained(call.reference.into(), 0, 65_535);
    p.octets(&call.conference).bool(false).bool(answer);
    let no = |p: &mut PerWriter<'_, '_>| _ = p.bool(false);
    let put_id = |p: &mut PerWriter<'_, '_>| put_call_id(p, &call.id);
    put_additions(&mut p, Kind::AdmissionRequest.additions().into(), &[(0, &no), (1, &put_id)]);
    w.finish().map(|_| ())
}

/// An AdmissionConfirm: call that address, directly.
///
/// # Errors
/// [`Full`].
pub fn admission_confirm(seq: u16, bandwidth: u32, signal: SocketAddr, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::AdmissionConfirm);
    p.bits(0, 3);
    put_seq(&mut p, seq);
    // callModel: direct.
    p.constrained(bandwidth, 0, u32::MAX).bits(0, 2);
    put_address(&mut p, signal);
    w.finish().map(|_| ())
}

/// A BandwidthRequest: so many hundreds of bits a second for this call from now on.
///
/// # Errors
/// [`Full`].
pub fn bandwidth_request(
    seq: u16,
    endpoint_id: &str,
    call: &Call,
    bandwidth: u32,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::BandwidthRequest);
    p.bool(true).bits(0, 2);
    put_seq(&mut p, seq);
    put_bmp(&mut p, endpoint_id, 1, 128);
    p.octets(&call.conference).constrained(call.reference.into(), 0, 65_535).constrained(bandwidth, 0, u32::MAX);
    let put_id = |p: &mut PerWriter<'_, '_>| put_call_id(p, &call.id);
    put_additions(&mut p, Kind::BandwidthRequest.additions().into(), &[(0, &put_id)]);
    w.finish().map(|_| ())
}

/// A BandwidthConfirm.
///
/// # Errors
/// [`Full`].
pub fn bandwidth_confirm(seq: u16, bandwidth: u32, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::BandwidthConfirm);
    p.bits(0, 2);
    put_seq(&mut p, seq);
    p.constrained(bandwidth, 0, u32::MAX);
    w.finish().map(|_| ())
}

/// A DisengageRequest: the call is over.
///
/// # Errors
/// [`Full`].
pub fn disengage_request(seq: u16, endpoint_id: &str, call: &Call, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::DisengageRequest);
    p.bool(true).bool(false);
    put_seq(&mut p, seq);
    put_bmp(&mut p, endpoint_id, 1, 128);
    p.octets(&call.conference).constrained(call.reference.into(), 0, 65_535);
    // normalDrop.
    p.bool(false).constrained(1, 0, 2);
    let put_id = |p: &mut PerWriter<'_, '_>| put_call_id(p, &call.id);
    put_additions(&mut p, Kind::DisengageRequest.additions().into(), &[(0, &put_id)]);
    w.finish().map(|_| ())
}

/// A LocationRequest: where is `of`?
///
/// # Errors
/// [`Full`].
pub fn location_request(
    seq: u16,
    endpoint_id: Option<&str>,
    of: &[&str],
    reply: SocketAddr,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::LocationRequest);
    p.bool(false).bool(endpoint_id.is_some()).bool(false);
    put_seq(&mut p, seq);
    if let Some(id) = endpoint_id {
        put_bmp(&mut p, id, 1, 128);
    }
    put_aliases(&mut p, of);
    put_address(&mut p, reply);
    w.finish().map(|_| ())
}

/// A LocationConfirm.
///
/// # Errors
/// [`Full`].
pub fn location_confirm(seq: u16, signal: SocketAddr, ras: SocketAddr, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::LocationConfirm);
    p.bits(0, 2);
    put_seq(&mut p, seq);
    put_address(&mut p, signal);
    put_address(&mut p, ras);
    w.finish().map(|_| ())
}

/// An InfoRequest: how are you? callReferenceValue 0 asks about all calls.
///
/// # Errors
/// [`Full`].
pub fn info_request(seq: u16, reference: u16, w: &mut Writer<'_>) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::InfoRequest);
    p.bits(0, 3);
    put_seq(&mut p, seq);
    p.constrained(reference.into(), 0, 65_535);
    w.finish().map(|_| ())
}

/// An InfoRequestResponse without calls.
///
/// # Errors
/// [`Full`].
pub fn info_request_response(
    seq: u16,
    e: &Endpoint<'_>,
    endpoint_id: &str,
    need_response: bool,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    let mut p = PerWriter::new(w);
    put_kind(&mut p, Kind::InfoRequestResponse);
    p.bool(need_response).bits(0b010, 3);
    put_seq(&mut p, seq);
    put_terminal_type(&mut p);
    put_bmp(&mut p, endpoint_id, 1, 128);
    put_address(&mut p, e.ras);
    put_addresses(&mut p, &[e.signal]);
    put_aliases(&mut p, e.aliases);
    if need_response {
        let yes = |p: &mut PerWriter<'_, '_>| _ = p.bool(true);
        put_additions(&mut p, Kind::InfoRequestResponse.additions().into(), &[(3, &yes)]);
    }
    w.finish().map(|_| ())
}
