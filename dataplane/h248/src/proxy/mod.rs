//! The proxy's side: [`H248`] gives the engine what it knows of H.248.

mod answer;
mod notes;
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

/// H.248, as the engine sees it.
///
/// What the contract leaves to the protocol, and is so here:
/// * The proxy answers every transaction of the registration itself, on either side, and its own commands bear
///   identifiers made of the hop's salt. In a session identifiers pass unchanged.
/// * Towards a gateway the proxy is its controller: what passes down bears the proxy's message identifier. Towards the
///   core a message keeps the gateway's, which is its identity.
/// * Replies go to the source of a message, so ServiceChangeAddress is taken out of whatever passes, in both
///   directions: the core reaches the gateway by its lane, the gateway the core by the proxy.
/// * A session's ServiceChange of ROOT is a refresh where it makes a gateway known (restart, disconnected, failover,
///   handoff), and ends the registration where it is forced. A graceful one announces its end, which a forced one makes.
/// * Whoever is not authenticated gets Error 402 for each transaction request. A reply, an error or an acknowledgement
///   is never answered. The answer to a malformed message is Error 400 in a reply where its transaction's identifier
///   can be read, else for the whole message; 406 for a version other than 1 to 3; 413 for too many transactions. The
///   binary encoding is answered in it. No such answer is more than three times as long as what it answers.
/// * A session remembers nothing ([`Signalling::binding`] is empty), and there are no stock phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct H248;

impl H248 {
    /// As [`Signalling::read_marked`]; names stand in the message as they are.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn read_terminal<'m>(&self, msg: &'m [u8]) -> Result<FromTerminal<'m>, Fault> {
        read::terminal(msg, None)
    }

    /// As [`Signalling::read_answer`], whose second value is always `None` here.
    ///
    /// # Errors
    /// A [`Fault`].
    pub fn read_core<'m>(&self, msg: &'m [u8]) -> Result<FromCore<'m>, Fault> {
        read::core(msg)
    }
}

impl Signalling for H248 {
    fn protocol(&self) -> Protocol {
        Protocol::H248
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
        read::terminal(msg, Some(marks))
    }

    fn read_answer<'m>(&self, msg: &'m [u8], _text: &'m mut Text) -> Result<(FromCore<'m>, Option<u64>), Fault> {
        read::core(msg).map(|read| (read, None))
    }

    fn route_core(&self, msg: &[u8]) -> Route {
        read::route(msg)
    }

    fn acknowledge(&self, hop: &Hop<'_>, msg: &[u8], w: &mut Writer<'_>) {
        answer::acknowledge(hop, msg, w);
    }

    fn acknowledge_core(&self, hop: &Hop<'_>, msg: &[u8], w: &mut Writer<'_>) {
        answer::acknowledge_core(hop, msg, w);
    }

    fn acknowledge_step(&self, hop: &Hop<'_>, msg: &[u8], w: &mut Writer<'_>) {
        answer::acknowledge_step(hop, msg, w);
    }

    fn transaction(&self, msg: &[u8]) -> Option<u32> {
        read::transaction(msg)
    }

    fn step_transaction(&self, msg: &[u8]) -> Option<u32> {
        Message::salvage(msg)?.1
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
        _core_msg: &[u8],
        s10: &S10<'_>,
        w: &mut Writer<'_>,
    ) -> Result<Range<usize>, Full> {
        steps::s10(hop, s7_msg, s10, w)
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
        answer::fault(hop, request, fault, w)
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

    fn write_digest(&self, _hop: &Hop<'_>, _msg: &[u8], _idc: Idc<'_>, _w: &mut Writer<'_>) -> Result<(), Full> {
        // No message is read as one of a stock phone's.
        Err(Full)
    }

    fn binding(&self, _registration: &[u8], _marks: &Marks, w: &mut Writer<'_>) -> Result<(), Full> {
        w.finish().map(|_| ())
    }

    fn rebinding(&self, _session: &SessionRef<'_>, _refresh: &[u8], w: &mut Writer<'_>) -> Result<(), Full> {
        w.finish().map(|_| ())
    }

    fn answers_registration(&self, msg: &[u8]) -> bool {
        read::answers_registration(msg)
    }

    fn relay_up(&self, hop: &Hop<'_>, session: &SessionRef<'_>, msg: &[u8], w: &mut Writer<'_>) -> Result<Up, Fault> {
        relay::up(hop, session, msg, w)
    }

    fn relay_down(
        &self,
        hop: &Hop<'_>,
        _session: &SessionRef<'_>,
        msg: &[u8],
        w: &mut Writer<'_>,
    ) -> Result<(), Fault> {
        relay::down(hop, msg, w)
    }

    fn write_core_fault(&self, hop: &Hop<'_>, request: &[u8], fault: &Fault, w: &mut Writer<'_>) -> Result<bool, Full> {
        answer::fault(hop, request, fault, w)
    }

    fn answer_own(&self, hop: &Hop<'_>, request: &[u8], reachable: bool, w: &mut Writer<'_>) -> Result<(), Full> {
        answer::own(hop, request, reachable, w)
    }
}
