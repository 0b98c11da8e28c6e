//! s3, s4 and s11 as Cx commands (spec section 4, Diameter; 3GPP TS 29.229), both ways.
//!
//! Beside what the specification names: the challenge that a SAR is about stands in Acct-Session-Id, as in RADIUS; an
//! IPv6 address stands in Framed-IPv6-Prefix with length 128; a stock phone's scheme is its digest algorithm, and its
//! URI stands in Digest-URI beside it.

use super::Builder;
use super::base::{cx_application, from};
use super::dict::{self, AvpDef, result};
use super::message::{Avp, Avps, Fault, Header, Message, flag};
use crate::exchange::{
    AaaAnswer, AaaRequest, Account, Authenticate, DigestAlgorithm, DigestVector, DigestWord, REALM_MAX, Scheme, URI_MAX,
};
use crate::node::Node;
use crate::params;
use crate::radius::carriage::{PKD1_ALGORITHM, rand_from, rand_text};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use portunus_codec::{b64_decode, b64_encode};
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::steps::{Registration, S4};

/// Server-Assignment-Types (TS 29.229 section 6.3.15).
mod assignment {
    pub(super) const REGISTRATION: u32 = 1;
    pub(super) const RE_REGISTRATION: u32 = 2;
    pub(super) const TIMEOUT_DEREGISTRATION: u32 = 4;
    pub(super) const USER_DEREGISTRATION: u32 = 5;
    pub(super) const ADMINISTRATIVE_DEREGISTRATION: u32 = 8;
}

/// Auth-Session-State: NO_STATE_MAINTAINED.
const NO_STATE: u32 = 1;

/// What names a request on its way.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// On this connection.
    pub hop_by_hop: u32,
    /// For the whole way.
    pub end_to_end: u32,
    /// Session-Id.
    pub session: &'a str,
    /// It may have been sent before, elsewhere.
    pub again: bool,
}

/// The command of a request.
pub const fn command_of(request: &AaaRequest) -> u32 {
    match request {
        AaaRequest::Authenticate(_) => dict::MULTIMEDIA_AUTH,
        AaaRequest::Account(_) => dict::SERVER_ASSIGNMENT,
    }
}

/// Public-Identity: `sip:`IDc for SIP, whose identities are the ones with a user and a host; else IDc.
fn public_identity(idc: &str) -> String {
    if idc.contains('@') { format!("sip:{idc}") } else { idc.to_owned() }
}

/// Writes s3 or s11.
pub fn write_request(request: &AaaRequest, node: &Node, names: Names<'_>) -> Vec<u8> {
    let again = if names.again { flag::RETRANSMITTED } else { 0 };
    let mut b = Builder::new(&Header {
        flags: flag::REQUEST | flag::PROXIABLE | again,
        code: command_of(request),
        application: dict::CX,
        hop_by_hop: names.hop_by_hop,
        end_to_end: names.end_to_end,
    });
    b.text(&dict::SESSION_ID, names.session);
    b.group(&dict::VENDOR_SPECIFIC_APPLICATION_ID, cx_application).number(&dict::AUTH_SESSION_STATE, NO_STATE);
    from(&mut b, node);
    let (realm, idc) = match request {
        AaaRequest::Authenticate(a) => (a.realm.clone(), &a.idc),
        // A record goes where the question went.
        AaaRequest::Account(a) => (node.realms.of(&a.idc).unwrap_or_else(|| node.realm.clone()), &a.idc),
    };
    b.text(&dict::DESTINATION_REALM, &realm).text(&dict::USER_NAME, idc);
    b.text(&dict::PUBLIC_IDENTITY, &public_identity(idc)).text(&dict::SERVER_NAME, &format!("sip:{}", node.host));
    match request {
        AaaRequest::Authenticate(a) => {
            b.number(&dict::SIP_NUMBER_AUTH_ITEMS, 1);
            b.group(&dict::SIP_AUTH_DATA_ITEM, |item| write_item(item, a));
        }
        AaaRequest::Account(a) => write_s11(&mut b, a),
    }
    b.finish()
}

fn write_item(item: &mut Builder, a: &Authenticate) {
    let scheme = match a.scheme {
        Scheme::Pkd1 { .. } => PKD1_ALGORITHM,
        Scheme::Digest { algorithm } => algorithm.token(),
    };
    item.text(&dict::SIP_AUTH_SCHEME, scheme);
    item.put(&dict::DIGEST_AUTH_PARAM, &params::write("idsp", a.idsp.as_bytes()));
    match a.scheme {
        Scheme::Pkd1 { n1 } => item.put(&dict::DIGEST_AUTH_PARAM, &params::write("n1", n1.as_bytes())),
        Scheme::Digest { .. } => item.text(&dict::DIGEST_URI, &a.uri_or_default()),
    };
}

fn write_s11(b: &mut Builder, a: &Account) {
    let kind = match a.event {
        Registration::Start => assignment::REGISTRATION,
        Registration::Refresh => assignment::RE_REGISTRATION,
        Registration::Stop => assignment::USER_DEREGISTRATION,
    };
    b.number(&dict::SERVER_ASSIGNMENT_TYPE, kind).number(&dict::USER_DATA_ALREADY_AVAILABLE, 1);
    b.put(&dict::DIGEST_AUTH_PARAM, &params::write("idsp", a.idsp.as_bytes()));
    b.put(&dict::ACCT_SESSION_ID, &rand_text(&a.rand));
    match a.ip {
        IpAddr::V4(ip) => b.put(&dict::FRAMED_IP_ADDRESS, &ip.octets()),
        IpAddr::V6(ip) => {
            let mut prefix = [0u8; 18];
            prefix[1] = 128;
            prefix[2..].copy_from_slice(&ip.octets());
            b.put(&dict::FRAMED_IPV6_PREFIX, &prefix)
        }
    };
}

/// The AVP's value is not what it must be; where it is missing, that.
fn wrong(avps: &Avps<'_>, def: &'static AvpDef) -> Fault {
    avps.first(def).map_or_else(|| Fault::missing(def), |avp| Fault::about(result::INVALID_AVP_VALUE, &avp))
}

fn param<'a>(avps: &Avps<'a>, name: &str) -> Result<&'a [u8], Fault> {
    let all = avps.clone().filter(|a| a.is(&dict::DIGEST_AUTH_PARAM)).map(|a| a.value);
    params::read(all, name).ok().flatten().ok_or_else(|| wrong(avps, &dict::DIGEST_AUTH_PARAM))
}

fn idsp<'a>(avps: &Avps<'a>) -> Result<Idsp<'a>, Fault> {
    Idsp::from_octets(param(avps, "idsp")?).ok_or_else(|| wrong(avps, &dict::DIGEST_AUTH_PARAM))
}

/// Reads s3 or s11 from a request that [`Message::check`] passed.
///
/// # Errors
/// [`Fault`] with the AVP concerned.
pub fn read_request(message: &Message<'_>) -> Result<AaaRequest, Fault> {
    let avps = message.avps();
    let idc = avps.first(&dict::USER_NAME).and_then(|a| Idc::from_octets(a.value));
    let idc = idc.ok_or_else(|| wrong(&avps, &dict::USER_NAME))?;
    if let Some(public) = avps.first(&dict::PUBLIC_IDENTITY)
        && public.value != public_identity(idc.as_str()).as_bytes()
    {
        return Err(Fault::about(result::INVALID_AVP_VALUE, &public));
    }
    if message.header.code == dict::MULTIMEDIA_AUTH {
        read_s3(&avps, idc).map(AaaRequest::Authenticate)
    } else {
        read_s11(&avps, idc).map(AaaRequest::Account)
    }
}

fn plain_text<'a>(avps: &Avps<'a>, def: &'static AvpDef, max: usize) -> Result<&'a str, Fault> {
    let good = |t: &&str| (1..=max).contains(&t.len()) && !t.bytes().any(|c| c < b' ' || c == 0x7f);
    avps.text(def).filter(good).ok_or_else(|| wrong(avps, def))
}

fn read_s3(avps: &Avps<'_>, idc: Idc<'_>) -> Result<Authenticate, Fault> {
    let realm = plain_text(avps, &dict::DESTINATION_REALM, REALM_MAX)?;
    if avps.number(&dict::SIP_NUMBER_AUTH_ITEMS) != Some(1) {
        return Err(wrong(avps, &dict::SIP_NUMBER_AUTH_ITEMS));
    }
    let item = avps.first(&dict::SIP_AUTH_DATA_ITEM).ok_or_else(|| Fault::missing(&dict::SIP_AUTH_DATA_ITEM))?;
    let item = Avps::of(item.value);
    let scheme = plain_text(&item, &dict::SIP_AUTH_SCHEME, 64)?;
    let idsp = idsp(&item)?;
    let (scheme, uri) = if scheme.eq_ignore_ascii_case(PKD1_ALGORITHM) {
        let n1 = N1::parse(param(&item, "n1")?).ok_or_else(|| wrong(&item, &dict::DIGEST_AUTH_PARAM))?;
        (Scheme::Pkd1 { n1 }, None)
    } else {
        let algorithm = DigestAlgorithm::from_token(scheme).ok_or_else(|| wrong(&item, &dict::SIP_AUTH_SCHEME))?;
        (Scheme::Digest { algorithm }, Some(plain_text(&item, &dict::DIGEST_URI, URI_MAX)?.to_owned()))
    };
    Ok(Authenticate {
        idc: idc.as_str().to_owned(),
        idsp: idsp.as_str().to_owned(),
        scheme,
        realm: realm.into(),
        uri,
        source: None,
    })
}

fn read_s11(avps: &Avps<'_>, idc: Idc<'_>) -> Result<Account, Fault> {
    let event = match avps.number(&dict::SERVER_ASSIGNMENT_TYPE) {
        Some(assignment::REGISTRATION) => Registration::Start,
        Some(assignment::RE_REGISTRATION) => Registration::Refresh,
        Some(
            assignment::TIMEOUT_DEREGISTRATION
            | assignment::USER_DEREGISTRATION
            | assignment::ADMINISTRATIVE_DEREGISTRATION,
        ) => Registration::Stop,
        _ => return Err(wrong(avps, &dict::SERVER_ASSIGNMENT_TYPE)),
    };
    let idsp = idsp(avps)?;
    let rand = avps.first(&dict::ACCT_SESSION_ID).and_then(|a| rand_from(a.value));
    let rand = rand.ok_or_else(|| wrong(avps, &dict::ACCT_SESSION_ID))?;
    let ip = match (avps.first(&dict::FRAMED_IP_ADDRESS), avps.first(&dict::FRAMED_IPV6_PREFIX)) {
        (Some(v4), _) => <[u8; 4]>::try_from(v4.value).ok().map(|v| IpAddr::V4(Ipv4Addr::from(v))),
        (None, Some(v6)) => whole_prefix(&v6),
        (None, None) => return Err(Fault::missing(&dict::FRAMED_IP_ADDRESS)),
    };
    let of = if avps.first(&dict::FRAMED_IP_ADDRESS).is_some() {
        &dict::FRAMED_IP_ADDRESS
    } else {
        &dict::FRAMED_IPV6_PREFIX
    };
    let ip = ip.ok_or_else(|| wrong(avps, of))?;
    let softswitch = avps.first(&dict::ORIGIN_HOST).and_then(|a| Idsp::from_octets(a.value));
    let softswitch = softswitch.map(|name| name.as_str().to_owned());
    Ok(Account { idc: idc.as_str().to_owned(), idsp: idsp.as_str().to_owned(), rand, ip, event, softswitch })
}

/// The address of a prefix of 128 bits (RFC 3162 section 2.3).
fn whole_prefix(avp: &Avp<'_>) -> Option<IpAddr> {
    let octets = avp.value.strip_prefix(&[0, 128])?;
    <[u8; 16]>::try_from(octets).ok().map(|v| IpAddr::V6(Ipv6Addr::from(v)))
}

/// What of a request its answer repeats.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its header.
    pub header: Header,
    /// Session-Id.
    pub session: Box<[u8]>,
    /// User-Name.
    pub user: Box<[u8]>,
    /// Public-Identity, where it was there.
    pub public: Option<Box<[u8]>>,
    /// Proxy-Info in wire form.
    pub proxy_info: Vec<u8>,
}

impl Asked {
    /// Of a request that [`Message::check`] passed.
    pub fn of(message: &Message<'_>) -> Self {
        let avps = message.avps();
        let value = |def| avps.first(def).map(|a| Box::from(a.value));
        Self {
            header: message.header,
            session: value(&dict::SESSION_ID).unwrap_or_default(),
            user: value(&dict::USER_NAME).unwrap_or_default(),
            public: value(&dict::PUBLIC_IDENTITY),
            proxy_info: super::base::proxy_info(&avps),
        }
    }
}

/// Writes s4, its digest like, an SAA, or a refusal (5003: this proxy is not served).
pub fn write_answer(asked: &Asked, node: &Node, answer: &AaaAnswer) -> Vec<u8> {
    let code = if *answer == AaaAnswer::Rejected { result::AUTHORIZATION_REJECTED } else { result::SUCCESS };
    let mut b = Builder::answer(&asked.header, false);
    b.put(&dict::SESSION_ID, &asked.session);
    b.group(&dict::VENDOR_SPECIFIC_APPLICATION_ID, cx_application).number(&dict::RESULT_CODE, code);
    b.number(&dict::AUTH_SESSION_STATE, NO_STATE);
    from(&mut b, node);
    b.put(&dict::USER_NAME, &asked.user);
    if asked.header.code == dict::MULTIMEDIA_AUTH && code == result::SUCCESS {
        if let Some(public) = &asked.public {
            b.put(&dict::PUBLIC_IDENTITY, public);
        }
        b.number(&dict::SIP_NUMBER_AUTH_ITEMS, 1);
        b.group(&dict::SIP_AUTH_DATA_ITEM, |item| write_vector(item, answer));
    }
    b.wire(&asked.proxy_info);
    b.finish()
}

fn write_vector(item: &mut Builder, answer: &AaaAnswer) {
    let mut head = |scheme: &str, rand: &[u8], word: &[u8]| {
        item.number(&dict::SIP_ITEM_NUMBER, 1).text(&dict::SIP_AUTH_SCHEME, scheme);
        item.put(&dict::SIP_AUTHENTICATE, rand).put(&dict::SIP_AUTHORIZATION, word);
    };
    match answer {
        AaaAnswer::Vector(s4) => {
            head(PKD1_ALGORITHM, &s4.rand, &s4.auth_c);
            for (name, wrap) in [("ekc", &s4.ekc), ("eksp", &s4.eksp)] {
                let mut text = [0u8; 64];
                b64_encode(wrap, &mut text);
                item.put(&dict::DIGEST_AUTH_PARAM, &params::write(name, &text));
            }
        }
        AaaAnswer::Digest(d) => head(d.word.algorithm().token(), &d.rand, d.word.as_bytes()),
        AaaAnswer::Recorded | AaaAnswer::Rejected => {}
    }
}

/// What an answer means for its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The AuC's answer.
    Answer(AaaAnswer),
    /// It did not reach an AuC this way (3002 to 3005): another peer may know a better one.
    Elsewhere,
}

/// Reads the answer to `request`.
///
/// # Errors
/// [`Fault`]: an honest server that does not speak this carriage.
pub fn read_answer(message: &Message<'_>, request: &AaaRequest) -> Result<Reply, Fault> {
    let avps = message.avps();
    if message.header.code != command_of(request) || message.header.application != dict::CX {
        return Err(Fault::plain(result::COMMAND_UNSUPPORTED));
    }
    message.check()?;
    match (avps.number(&dict::RESULT_CODE), request) {
        (Some(result::SUCCESS), AaaRequest::Authenticate(a)) => read_s4(&avps, a).map(Reply::Answer),
        (Some(result::SUCCESS), AaaRequest::Account(_)) => Ok(Reply::Answer(AaaAnswer::Recorded)),
        (Some(result::UNABLE_TO_DELIVER..=result::LOOP_DETECTED), _) => Ok(Reply::Elsewhere),
        (Some(_), _) => Ok(Reply::Answer(AaaAnswer::Rejected)),
        (None, _) if avps.first(&dict::EXPERIMENTAL_RESULT).is_some() => Ok(Reply::Answer(AaaAnswer::Rejected)),
        (None, _) => Err(Fault::missing(&dict::RESULT_CODE)),
    }
}

fn read_s4(avps: &Avps<'_>, asked: &Authenticate) -> Result<AaaAnswer, Fault> {
    let item = avps.first(&dict::SIP_AUTH_DATA_ITEM).ok_or_else(|| Fault::missing(&dict::SIP_AUTH_DATA_ITEM))?;
    let item = Avps::of(item.value);
    let scheme = plain_text(&item, &dict::SIP_AUTH_SCHEME, 64)?;
    let value = |def| item.first(def).map_or(&[][..], |a| a.value);
    let rand = value(&dict::SIP_AUTHENTICATE).try_into().map_err(|_| wrong(&item, &dict::SIP_AUTHENTICATE))?;
    let word = value(&dict::SIP_AUTHORIZATION);
    let bad_word = || wrong(&item, &dict::SIP_AUTHORIZATION);
    let wrap = |name| -> Result<[u8; 48], Fault> {
        let mut octets = [0u8; 48];
        let text = param(&item, name)?;
        let good = b64_decode(text, &mut octets) == Some(48);
        good.then_some(octets).ok_or_else(|| wrong(&item, &dict::DIGEST_AUTH_PARAM))
    };
    match asked.scheme {
        Scheme::Pkd1 { .. } if scheme.eq_ignore_ascii_case(PKD1_ALGORITHM) => {
            let auth_c = word.try_into().map_err(|_| bad_word())?;
            Ok(AaaAnswer::Vector(S4 { rand, auth_c, ekc: wrap("ekc")?, eksp: wrap("eksp")? }))
        }
        Scheme::Digest { algorithm } if algorithm.token().eq_ignore_ascii_case(scheme) => {
            let word = match algorithm {
                DigestAlgorithm::Sha256 => word.try_into().map(DigestWord::Sha256),
                DigestAlgorithm::Md5 => word.try_into().map(DigestWord::Md5),
            };
            Ok(AaaAnswer::Digest(DigestVector { rand, word: word.map_err(|_| bad_word())? }))
        }
        _ => Err(wrong(&item, &dict::SIP_AUTH_SCHEME)),
    }
}
