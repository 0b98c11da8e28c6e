//! The call agent's end: reads the registrations that a proxy sent, writes the steps that follow.

use super::step;
use crate::PACKAGE;
use crate::code::what;
use crate::view::{Endpoint, Message, Name, Verb, fault};
use crate::write::command_to;
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{Idsp, N1, Rand};
use portunus_keydist::steps::{Refusal, S2, S5, S8, S9};
use portunus_signalling::{Fault, FaultKind};

/// A command of a proxy's that belongs to a registration.
#[derive(Debug, Clone)]
pub struct Registration<'m> {
    /// Its transaction, to be answered with 200.
    pub transaction: u32,
    /// Its endpoint.
    pub endpoint: Endpoint<'m>,
    /// Its request identifier; empty in s2, which has none.
    pub x: &'m [u8],
    /// What it asks for.
    pub ask: Ask<'m>,
}

/// What it asks for.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'m> {
    /// s2: a challenge.
    S2(S2<'m>),
    /// s8: the word is to be compared.
    S8(S8<'m>),
}

/// Reads one message of a proxy's; `None` where it is no step: what a session's gateway said.
///
/// # Errors
/// A [`Fault`] of a message that is meant to be a step.
pub fn read<'m>(msg: &Message<'m>) -> Result<Option<Registration<'m>>, Fault> {
    let Some((verb, endpoint)) = msg.command() else { return Ok(None) };
    let idc = || step::idc(msg).ok_or(fault(FaultKind::Malformed, what::ENDPOINT, 0));
    let (x, ask): (&[u8], _) = match (verb, msg.find(Name::Pkd)) {
        (Verb::Rsip, Some(line)) => {
            let of = |e| step::of_params(e, what::PKD, line.at);
            let params = portunus_keydist::params::Params::read_services(line.value).map_err(of)?;
            (b"", Ask::S2(params.s2(idc()?).map_err(of)?))
        }
        (Verb::Ntfy, None) => {
            let Some(event) = step::only_event(msg, Name::ObservedEvents)? else { return Ok(None) };
            let at = msg.find(Name::ObservedEvents).map_or(0, |l| l.at);
            if !event.is(PACKAGE, "resp") {
                return Err(fault(FaultKind::Malformed, what::EVENTS, at));
            }
            let of = |e| step::of_params(e, what::PARAMETERS, at);
            (step::request_id(msg)?, Ask::S8(step::params(&event, at)?.s8(idc()?).map_err(of)?))
        }
        (_, Some(line)) => return Err(fault(FaultKind::Malformed, what::PKD, line.at)),
        _ => return Ok(None),
    };
    Ok(Some(Registration { transaction: msg.transaction(), endpoint, x, ask }))
}

/// How a command of the call agent's is named.
#[derive(Debug, Clone, Copy)]
pub struct Txn<'a> {
    /// Its transaction.
    pub transaction: u32,
    /// Its endpoint; [`challenged`] says which.
    pub endpoint: Endpoint<'a>,
    /// Its request identifier: 1 to 32 hexadecimal digits.
    pub x: &'a [u8],
}

/// The endpoint that a challenge goes to: the one that registered, or `aaln/1` where that was a wildcard.
pub fn challenged<'a>(registered: &Endpoint<'a>) -> Endpoint<'a> {
    match registered.is_wildcard() {
        true => Endpoint { local: b"aaln/1", domain: registered.domain },
        false => *registered,
    }
}

/// s5, with the N1 of the s2 that it answers.
///
/// # Errors
/// [`Full`].
pub fn write_s5(t: &Txn<'_>, s5: &S5<'_>, n1: &N1, w: &mut Writer<'_>) -> Result<(), Full> {
    command_to(Verb::Rqnt, t.transaction, &t.endpoint, w);
    step::put_event(t.x, "S", "chal", w, |q| q.s5(s5, n1));
    w.finish().map(|_| ())
}

/// s9.
///
/// # Errors
/// [`Full`].
pub fn write_s9(t: &Txn<'_>, idsp: Idsp<'_>, rand: &Rand, s9: &S9, w: &mut Writer<'_>) -> Result<(), Full> {
    command_to(Verb::Rqnt, t.transaction, &t.endpoint, w);
    step::put_event(t.x, "S", "key", w, |q| q.s9(idsp, rand, s9));
    w.finish().map(|_| ())
}

/// A refusal; `rand` is that of the challenge where there was one.
///
/// # Errors
/// [`Full`].
pub fn write_fail(
    t: &Txn<'_>,
    refusal: &Refusal,
    rand: Option<&Rand>,
    n1: &N1,
    w: &mut Writer<'_>,
) -> Result<(), Full> {
    command_to(Verb::Rqnt, t.transaction, &t.endpoint, w);
    step::put_event(t.x, "S", "fail", w, |q| q.core_refusal(refusal, rand, n1));
    w.finish().map(|_| ())
}
