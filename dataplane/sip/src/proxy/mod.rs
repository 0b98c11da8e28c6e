//! The proxy's side: [`Sip`] gives the engine what it knows of SIP.

mod answer;
mod border;
mod read;
mod relay;
mod steps;

use crate::MAC_PLACEHOLDER;
use crate::view::{Message, Method};
use core::ops::Range;
use portunus_codec::{Full, Writer, hex_encode};
use portunus_keydist::ident::{Idc, N1};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S8, S10};
use portunus_signalling::{
    Fault, FromCore, FromTerminal, Hop, Marks, Protocol, Route, SessionRef, Signalling, Text, Up,
};

/// SIP, as the engine sees it.
///
/// What the contract leaves to the protocol, and is so here:
/// * ACK is never answered: writers of refusals then write nothing and say `Ok`.
/// * A registration that the core refuses is [`FromCore::Refused`], a refresh's too.
/// * [`Signalling::binding`] is the Contact URIs that do not expire at once, that with the highest `q` first, as many as
///   fit: requests go to the first. To the core all of them are one Contact, the proxy's.
/// * A session registers exactly the Contacts that it last listed; a refresh that lists others gives another binding,
///   which the engine keeps once the core granted it. One that only takes some of them back leaves the others and is a
///   query towards the core; only one that leaves none ends the registration.
/// * The branch of a relayed request is a keyed hash of the sender's own transaction, so that CANCEL and the ACK of a
///   refusal follow their INVITE without memory, as long as they bear the same handle, and so that no response passes,
///   up or down, but to what was relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sip;

impl Sip {
    /// [`Signalling::read_marked`] without notes.
    ///
    /// # Errors
    /// A [`Fault`] that says what and where.
    pub fn read_terminal<'m>(&self, msg: &'m [u8]) -> Result<FromTerminal<'m>, Fault> {
        read::terminal(msg, None)
    }

    /// [`Signalling::read_answer`] without the salt.
    ///
    /// # Errors
    /// A [`Fault`] that says what and where.
    pub fn read_core<'m>(&self, msg: &'m [u8]) -> Result<FromCore<'m>, Fault> {
        read::core(msg).map(|(read, _)| read)
    }
}

impl Signalling for Sip {
    fn protocol(&self) -> Protocol {
        Protocol::Sip
    }

    fn read_marked<'m>(
        &self,
        msg: &'m [u8],
        marks: &mut Marks,
        _text: &'m mut Text,
    ) -> Result<FromTerminal<'m>, Fault> {
        marks.clear();
        read::terminal(msg, Some(marks))
    }

    fn read_answer<'m>(&self, msg: &'m [u8], _text: &'m mut Text) -> Result<(FromCore<'m>, Option<u64>), Fault> {
        read::core(msg)
    }

    fn route_core(&self, msg: &[u8]) -> Route {
        read::route(msg)
    }

    fn write_s2(&self, hop: &Hop<'_>, s1_msg: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
        steps::s2(hop, s1_msg, s1, w)
    }

    fn write_s6(
        &self,
        hop: &Hop<'_>,
        request: &[u8],
        core_msg: &[u8],
        s6: &S6<'_>,
        w: &mut Writer<'_>,
    ) -> Result<(), Full> {
        steps::s6(hop, request, core_msg, s6, w)
    }

    fn write_s8(
        &self,
        hop: &Hop<'_>,
        s7_msg: &[u8],
        s7: &S7<'_>,
        _s8: &S8<'_>,
        w: &mut Writer<'_>,
    ) -> Result<(), Full> {
        steps::s8(hop, s7_msg, s7.idc, w)
    }

    fn write_s10(
        &self,
        hop: &Hop<'_>,
        s7_msg: &[u8],
        core_msg: &[u8],
        s10: &S10<'_>,
        w: &mut Writer<'_>,
    ) -> Result<Range<usize>, Full> {
        steps::s10(hop, s7_msg, core_msg, s10, w)
    }

    fn mac_placeholder(&self) -> &'static [u8] {
        MAC_PLACEHOLDER
    }

    fn put_mac(&self, field: &mut [u8], mac: &[u8; 32]) {
        hex_encode(mac, field);
    }

    fn write_refusal(
        &self,
        hop: &Hop<'_>,
        request: &[u8],
        refusal: &Refusal,
        n1: Option<&N1>,
        w: &mut Writer<'_>,
    ) -> Result<(), Full> {
        answer::refusal(hop, request, refusal, n1, w)
    }

    fn write_fault(&self, hop: &Hop<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
        answer::fault(hop, Some(hop.source), request, fault, w)
    }

    fn write_cookie(
        &self,
        hop: &Hop<'_>,
        s1_msg: &[u8],
        n1: &N1,
        ts: u64,
        cookie: &[u8],
        w: &mut Writer<'_>,
    ) -> Result<(), Full> {
        steps::cookie(hop, s1_msg, n1, ts, cookie, w)
    }

    fn write_digest(&self, hop: &Hop<'_>, msg: &[u8], idc: Idc<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
        steps::digest(hop, msg, idc, w)
    }

    fn binding(&self, registration: &[u8], marks: &Marks, w: &mut Writer<'_>) -> Result<(), Full> {
        relay::binding(registration, marks, w)
    }

    fn rebinding(&self, session: &SessionRef<'_>, refresh: &[u8], w: &mut Writer<'_>) -> Result<(), Full> {
        relay::rebinding(session, refresh, w)
    }

    fn answers_registration(&self, msg: &[u8]) -> bool {
        Message::index(msg).is_ok_and(|msg| !msg.is_request() && msg.method() == Method::Register)
    }

    fn relay_up(&self, hop: &Hop<'_>, session: &SessionRef<'_>, msg: &[u8], w: &mut Writer<'_>) -> Result<Up, Fault> {
        relay::up(hop, session, msg, w)
    }

    fn relay_down(&self, hop: &Hop<'_>, session: &SessionRef<'_>, msg: &[u8], w: &mut Writer<'_>) -> Result<(), Fault> {
        relay::down(hop, session, msg, w)
    }

    fn write_core_fault(&self, hop: &Hop<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
        answer::fault(hop, None, request, fault, w)
    }

    fn answer_own(&self, hop: &Hop<'_>, request: &[u8], reachable: bool, w: &mut Writer<'_>) -> Result<(), Full> {
        answer::own(hop, request, reachable, w)
    }
}
