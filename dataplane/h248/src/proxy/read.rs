//! Messages into steps: what a gateway or the core says.

use super::notes::Noted;
use crate::carriage::core::idc;
use crate::carriage::steps::{Signal, Step, mentions, param_fault};
use crate::view::{CommandKind, Kind, Message, Transaction};
use portunus_keydist::params::Params;
use portunus_signalling::{Fault, FaultKind, FromCore, FromTerminal, Marks, Of, Route};

/// Refuses the authentication header, where s10 has its MAC: only the proxy sends one.
pub(super) fn forbid_auth(msg: &Message<'_>) -> Result<(), Fault> {
    match msg.auth() {
        None => Ok(()),
        Some(auth) => Err(msg.fault(FaultKind::Forbidden, "authentication header", auth.data)),
    }
}

pub(super) fn requests<'m>(msg: &Message<'m>) -> impl Iterator<Item = Transaction<'m>> + use<'m> {
    msg.transactions().filter(|t| t.kind == Kind::Request)
}

/// [`portunus_signalling::Signalling::read_marked`].
pub(super) fn terminal<'m>(octets: &'m [u8], marks: Option<&mut Marks>) -> Result<FromTerminal<'m>, Fault> {
    let msg = Message::parse(octets)?;
    forbid_auth(&msg)?;
    let bad = |e| param_fault(&msg, octets, &e);
    let step = Step::of(&msg)?;
    if let (Some(step), Some(marks)) = (&step, marks) {
        Noted::mark(&msg, step, marks);
    }
    match step {
        Some(Step::Register { params, .. }) => Ok(FromTerminal::S1(params.s1(idc(&msg)?).map_err(bad)?)),
        Some(Step::Response { params, .. }) => Ok(FromTerminal::S7(params.s7(idc(&msg)?).map_err(bad)?)),
        Some(Step::Signal { .. }) => Err(msg.fault(FaultKind::Forbidden, "signal", octets)),
        None if requests(&msg).next().is_some() => Ok(FromTerminal::Request { idc: msg.mid().idc() }),
        None => Ok(FromTerminal::Response { ticket: None }),
    }
}

/// [`portunus_signalling::Signalling::read_answer`].
pub(super) fn core(octets: &[u8]) -> Result<FromCore<'_>, Fault> {
    let msg = Message::parse(octets)?;
    let bad = |e| param_fault(&msg, octets, &e);
    let missing = |what| msg.fault(FaultKind::Malformed, what, octets);
    match Step::of(&msg)? {
        Some(Step::Signal { name: Signal::Chal, params, .. }) => {
            let (n1, rand) = (params.n1.ok_or(missing("n1"))?, params.rand.ok_or(missing("rand"))?);
            Ok(FromCore::Challenge { of: Of::N1(n1), idc: None, idsp: params.idsp.ok_or(missing("idsp"))?, rand })
        }
        Some(Step::Signal { name: Signal::Key, params, .. }) => {
            let (s9, rand) = params.s9().map_err(bad)?;
            Ok(FromCore::Key { of: Of::Rand(rand), idc: None, s9 })
        }
        Some(Step::Signal { name: Signal::Fail, params, .. }) => {
            let of = of_refusal(&params).ok_or(missing("rand"))?;
            Ok(FromCore::Refused { of, refusal: params.refusal().map_err(bad)? })
        }
        Some(_) => Err(msg.fault(FaultKind::Unsupported, "command", octets)),
        None => Ok(other(&msg)),
    }
}

/// The registration that a refusal belongs to.
fn of_refusal(params: &Params<'_>) -> Option<Of> {
    params.rand.map(Of::Rand).or(params.n1.map(Of::N1))
}

/// A message that is no step: an answer where it has one for a registration, else a request where it has any.
fn other<'m>(msg: &Message<'_>) -> FromCore<'m> {
    let answer = |t: Transaction<'_>| FromCore::Answer {
        of: Of::Lane,
        last: matches!(t.kind, Kind::Reply | Kind::Error),
        success: t.kind == Kind::Reply && !t.failed(),
    };
    if let Some(t) = msg.transactions().find(|t| t.kind == Kind::Reply && changes_root(t)) {
        return answer(t);
    }
    let asks = requests(msg).next().is_some();
    let first = msg.transactions().find(|t| t.kind != Kind::ResponseAck).or_else(|| msg.transactions().next());
    match first {
        Some(t) if !asks => answer(t),
        _ => FromCore::Request { idc: None },
    }
}

/// True for a ServiceChange of ROOT and the reply to one.
pub(super) fn changes_root(t: &Transaction<'_>) -> bool {
    t.actions().any(|a| a.commands().any(|c| c.kind == CommandKind::ServiceChange && c.is_root()))
}

/// [`portunus_signalling::Signalling::route_core`].
pub(super) fn route(octets: &[u8]) -> Route {
    match Message::reread(octets) {
        // Half a step is one too: whoever waits for it hears what is wrong.
        Ok(msg) if mentions(&msg) => Route::Step,
        Ok(_) => Route::Lane,
        Err(fault) if fault.kind == FaultKind::Unreadable => Route::Unknown,
        Err(_) => Route::Lane,
    }
}

/// [`portunus_signalling::Signalling::transaction`]: the one that changes ROOT, where one does.
pub(super) fn transaction(octets: &[u8]) -> Option<u32> {
    let msg = Message::reread(octets).ok()?;
    let mut first = None;
    for t in msg.transactions().filter(|t| !matches!(t.kind, Kind::ResponseAck | Kind::Error)) {
        if changes_root(&t) {
            return Some(t.id);
        }
        first = first.or(Some(t.id));
    }
    first
}

/// [`portunus_signalling::Signalling::answers_registration`].
pub(super) fn answers_registration(octets: &[u8]) -> bool {
    Message::parse(octets).is_ok_and(|msg| msg.transactions().any(|t| t.kind == Kind::Reply && changes_root(&t)))
}
