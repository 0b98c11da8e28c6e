//! The proxy's side: [`Mgcp`] gives the engine what it knows of MGCP.

mod answer;
mod border;
mod read;
mod relay;
mod steps;

use crate::MAC_PLACEHOLDER;
use crate::view::Message;
use core::ops::Range;
use portunus_codec::{Full, Writer, hex_encode};
use portunus_keydist::ident::{Idc, N1};
use portunus_keydist::steps::{Refusal, S1, S6, S7, S8, S10};
use portunus_signalling::{
    Fault, FromCore, FromTerminal, Hop, Marks, Protocol, Route, SessionRef, Signalling, Text, Up,
};

/// MGCP, as the engine sees it.
///
/// What the contract leaves to the protocol, and is so here:
/// * The proxy ends transactions on both sides: s1 and s7 are acknowledged with 200 at once, and so are the core's
///   steps; the proxy's own commands bear transactions made from [`Hop::salt`].
/// * The request identifier of the core's s5 and s9 is that of s6 and s10, so that s7's is that of s8 without memory.
/// * s1 and s7 stand alone in their datagram. In a session datagrams pass whole, piggy-backed messages together, when
///   each of them may.
/// * A RestartInProgress with the method `forced` for all endpoints of the gateway is its de-registration.
/// * There is no refresh and no binding: a gateway stays registered while its session lives, and its endpoints are
///   reached through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mgcp;

impl Mgcp {
    /// [`Signalling::read_marked`] without notes.
    ///
    /// # Errors
    /// A [`Fault`] that says what and where.
    pub fn read_terminal<'m>(&self, msg: &'m [u8]) -> Result<FromTerminal<'m>, Fault> {
        read::terminal(msg)
    }

    /// [`Signalling::read_answer`] without the salt, which MGCP has no room for.
    ///
    /// # Errors
    /// A [`Fault`] that says what and where.
    pub fn read_core<'m>(&self, msg: &'m [u8]) -> Result<FromCore<'m>, Fault> {
        read::core(msg)
    }
}

impl Signalling for Mgcp {
    fn protocol(&self) -> Protocol {
        Protocol::Mgcp
    }

    fn lanes(&self) -> bool {
        true
    }

    fn read_marked<'m>(
        &self,
        msg: &'m [u8],
        marks: &mut Marks,
        _text: &'m mut Text,
    ) -> Result<FromTerminal<'m>, Fault> {
        marks.clear();
        read::terminal(msg)
    }

    fn read_answer<'m>(&self, msg: &'m [u8], _text: &'m mut Text) -> Result<(FromCore<'m>, Option<u64>), Fault> {
        read::core(msg).map(|read| (read, None))
    }

    fn route_core(&self, msg: &[u8]) -> Route {
        read::route(msg)
    }

    fn acknowledge(&self, _hop: &Hop<'_>, msg: &[u8], w: &mut Writer<'_>) {
        answer::acknowledge(msg, w);
    }

    fn acknowledge_core(&self, _hop: &Hop<'_>, msg: &[u8], w: &mut Writer<'_>) {
        answer::acknowledge_core(msg, w);
    }

    fn acknowledge_step(&self, _hop: &Hop<'_>, msg: &[u8], w: &mut Writer<'_>) {
        answer::acknowledge_step(msg, w);
    }

    fn transaction(&self, msg: &[u8]) -> Option<u32> {
        read::transaction(msg)
    }

    fn step_transaction(&self, msg: &[u8]) -> Option<u32> {
        Message::salvage(msg)
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

    /// MGCP has no stock terminals: nothing is read as one, and nothing written.
    fn write_digest(&self, _hop: &Hop<'_>, _msg: &[u8], _idc: Idc<'_>, _w: &mut Writer<'_>) -> Result<(), Full> {
        Err(Full)
    }

    fn binding(&self, _registration: &[u8], _marks: &Marks, _w: &mut Writer<'_>) -> Result<(), Full> {
        Ok(())
    }

    fn rebinding(&self, _session: &SessionRef<'_>, _refresh: &[u8], _w: &mut Writer<'_>) -> Result<(), Full> {
        Ok(())
    }

    fn answers_registration(&self, _msg: &[u8]) -> bool {
        false
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
