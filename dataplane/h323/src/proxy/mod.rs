//! The proxy's side: [`Ras`] gives the engine what it knows of RAS.

mod answer;
mod border;
mod read;
mod relay;
mod steps;

pub use answer::fault as write_fault;

use crate::MAC_PLACEHOLDER;
use crate::view::{Kind, Message};
use core::ops::Range;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idc, N1};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S8, S10};
use portunus_signalling::{
    Fault, FromCore, FromTerminal, Hop, Marks, Protocol, Route, SessionRef, Signalling, Text, Up,
};

/// RAS, as the engine sees it.
///
/// What the contract leaves to the protocol, and is so here:
/// * s2 gets a requestSeqNum of the proxy's, for it leaves by a port that many terminals share; s8 keeps the terminal's,
///   as all does that goes by a lane.
/// * A message of the core with a PKD1 token is a step, and any other an answer to, or a request for, whoever's lane it
///   came on. In the core's steps token 2 with n1 and a challenge is s5, any other token 2 a refusal: of the registration
///   whose Rand is its challenge, or before there is one of that with this N1; token 4 names its Rand in element 13.
/// * The answer to a registration leaves as the core wrote it but for the tokens: s10 repeats terminalAlias and timeToLive
///   as granted.
/// * A session remembers nothing: the lane says where requests go.
/// * What bears other aliases than its session's is rejected with securityWrongSendersID. endpointIdentifier is the
///   gatekeeper's to check, who gave it and knows the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ras;

impl Ras {
    /// [`Signalling::read_marked`] without notes.
    ///
    /// # Errors
    /// A [`Fault`] that says what and where.
    pub fn read_terminal<'m>(&self, msg: &'m [u8], text: &'m mut Text) -> Result<FromTerminal<'m>, Fault> {
        read::terminal(msg, None, text)
    }
}

impl Signalling for Ras {
    fn protocol(&self) -> Protocol {
        Protocol::Ras
    }

    fn lanes(&self) -> bool {
        true
    }

    fn read_marked<'m>(&self, msg: &'m [u8], marks: &mut Marks, text: &'m mut Text) -> Result<FromTerminal<'m>, Fault> {
        marks.clear();
        read::terminal(msg, Some(marks), text)
    }

    fn read_answer<'m>(&self, msg: &'m [u8], text: &'m mut Text) -> Result<(FromCore<'m>, Option<u64>), Fault> {
        read::core(msg, text).map(|read| (read, None))
    }

    fn route_core(&self, msg: &[u8]) -> Route {
        read::route(msg)
    }

    fn transaction(&self, msg: &[u8]) -> Option<u32> {
        Message::salvage(msg)
            .map(|(_, seq)| seq)
            .or_else(|| Message::parse(msg).ok().map(|msg| msg.seq()).filter(|seq| *seq > 0))
            .map(u32::from)
    }

    fn write_s2(&self, hop: &Hop<'_>, s1_msg: &[u8], s1: &S1<'_>, w: &mut Writer<'_>) -> Result<(), Full> {
        steps::s2(hop, s1_msg, s1, w)
    }

    fn write_s6(
        &self,
        hop: &Hop<'_>,
        request: &[u8],
        _core_msg: &[u8],
        s6: &S6<'_>,
        w: &mut Writer<'_>,
    ) -> Result<(), Full> {
        steps::s6(hop, request, s6, w)
    }

    fn write_s8(
        &self,
        hop: &Hop<'_>,
        s7_msg: &[u8],
        _s7: &S7<'_>,
        s8: &S8<'_>,
        w: &mut Writer<'_>,
    ) -> Result<(), Full> {
        steps::s8(hop, s7_msg, s8, w)
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
        if field.len() == mac.len() {
            field.copy_from_slice(mac);
        }
    }

    fn write_progress(
        &self,
        hop: &Hop<'_>,
        request: &[u8],
        core_msg: &[u8],
        w: &mut Writer<'_>,
    ) -> Result<Option<u32>, Full> {
        answer::progress(hop, request, core_msg, w)
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

    fn write_fault(&self, _hop: &Hop<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
        answer::fault(request, fault, w)
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

    /// Stock endpoints have no digest: nothing is ever read as [`FromTerminal::Digest`] here.
    fn write_digest(&self, _hop: &Hop<'_>, _msg: &[u8], _idc: Idc<'_>, _w: &mut Writer<'_>) -> Result<(), Full> {
        Err(Full)
    }

    fn binding(&self, _registration: &[u8], _marks: &Marks, w: &mut Writer<'_>) -> Result<(), Full> {
        w.finish().map(|_| ())
    }

    fn rebinding(&self, session: &SessionRef<'_>, _refresh: &[u8], w: &mut Writer<'_>) -> Result<(), Full> {
        w.put(session.binding).finish().map(|_| ())
    }

    fn answers_registration(&self, msg: &[u8]) -> bool {
        let kind = Message::salvage(msg).map(|(kind, _)| kind);
        matches!(kind, Some(Kind::RegistrationConfirm | Kind::RegistrationReject))
    }

    fn relay_up(&self, _hop: &Hop<'_>, session: &SessionRef<'_>, msg: &[u8], w: &mut Writer<'_>) -> Result<Up, Fault> {
        relay::up(session, msg, w)
    }

    fn relay_down(&self, hop: &Hop<'_>, session: &SessionRef<'_>, msg: &[u8], w: &mut Writer<'_>) -> Result<(), Fault> {
        relay::down(hop, session, msg, w)
    }

    fn write_core_fault(
        &self,
        _hop: &Hop<'_>,
        request: &[u8],
        fault: &Fault,
        w: &mut Writer<'_>,
    ) -> Result<bool, Full> {
        answer::fault(request, fault, w)
    }

    fn answer_own(&self, _hop: &Hop<'_>, request: &[u8], reachable: bool, w: &mut Writer<'_>) -> Result<(), Full> {
        answer::own(request, reachable, w)
    }
}
