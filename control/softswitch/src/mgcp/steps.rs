//! The registration: s2 and s8 in, s5, s9 and refusals out, each a command of its own that is repeated until the proxy
//! has it.

use super::{CallAgent, Known, Purpose, written};
use crate::agent::{Bound, Ctx};
use crate::behind::Served;
use crate::peers::Peer;
use crate::registration::{Judged, Origin, Vector, Waiting};
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::{N1, Rand};
use portunus_keydist::steps::{Refusal, S2, S5, S8};
use portunus_mgcp::carriage::core::{self, Ask, Registration, Txn};
use portunus_mgcp::code;
use portunus_mgcp::view::{Endpoint, Message};

/// What a refusal names: the Rand of a challenge, or the N1 of an s2.
#[derive(Clone, Copy)]
enum Names<'a> {
    Rand(&'a Rand),
    N1(&'a N1),
}

impl CallAgent {
    /// An s2 or s8: received at once, and looked at once.
    pub(super) fn on_step(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>, step: &Registration<'_>) {
        let transaction = step.transaction;
        // s2 comes from a port that many gateways share.
        let key = match step.ask {
            Ask::S2(s2) => format!("{transaction} {}", s2.n1),
            Ask::S8(_) => transaction.to_string(),
        };
        let Some(tx) = ctx.begin(from, key.as_bytes()) else { return };
        if let Some(bytes) = written(ctx, code::OK, transaction) {
            ctx.answer(tx, from, bytes);
        }
        let origin = Origin { protocol: ctx.protocol, from, transaction: tx, request: msg.octets() };
        match step.ask {
            Ask::S2(s2) => self.on_s2(ctx, &origin, &step.endpoint, &s2),
            Ask::S8(s8) => self.on_s8(ctx, &origin, &step.endpoint, &s8),
        }
    }

    fn on_s2(&mut self, ctx: &mut Ctx<'_>, origin: &Origin<'_>, endpoint: &Endpoint<'_>, s2: &S2<'_>) {
        let refusal = match ctx.serves(origin.from, s2.idsp.as_str()) {
            None => Some(Refusal::Denied),
            Some(_) => ctx.s2(origin, s2, None).err(),
        };
        if let Some(refusal) = refusal {
            self.refuse(ctx, origin.from, endpoint, &refusal, Names::N1(&s2.n1));
        }
    }

    fn on_s8(&mut self, ctx: &mut Ctx<'_>, origin: &Origin<'_>, endpoint: &Endpoint<'_>, s8: &S8<'_>) {
        let Some(idsp) = ctx.serves(origin.from, s8.idsp.as_str()) else {
            return self.refuse(ctx, origin.from, endpoint, &Refusal::Denied, Names::Rand(&s8.rand));
        };
        let refusal = match ctx.s8(origin, s8) {
            Judged::Right(s9) => {
                let expires_s = ctx.core.config.silent_s;
                let (lane, rand) = (origin.from, s8.rand);
                let bound = Bound { idc: s8.idc, idsp: &idsp, rand, ipc: s8.ipc, lane, expires_s };
                let before = self.gateways.on(s8.idc.as_str(), lane).map(|g| &g.own.served);
                let own = Known { local: endpoint.local.into(), served: Served::new(before) };
                match self.gateways.register(ctx, &bound, own) {
                    Ok(()) => {
                        return self.command(ctx, lane, endpoint, |t, w| core::write_s9(t, s8.idsp, &rand, &s9, w));
                    }
                    Err(retry_after_s) => Refusal::Busy { retry_after_s },
                }
            }
            Judged::Asked => return,
            Judged::Refused => Refusal::Denied,
            Judged::Busy { retry_after_s } => Refusal::Busy { retry_after_s },
        };
        self.refuse(ctx, origin.from, endpoint, &refusal, Names::Rand(&s8.rand));
    }

    /// What became of the question for a vector.
    pub(super) fn challenge(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector) {
        let Ok(msg) = Message::alone(&waiting.request) else { return };
        let Ok(Some(step)) = core::read(&msg) else { return };
        match vector {
            Vector::Challenge { idc, idsp, n1, rand } => {
                let s5 = S5 { idc: idc.as_idc(), idsp: idsp.as_idsp(), rand: *rand };
                self.command(ctx, waiting.from, &step.endpoint, |t, w| core::write_s5(t, &s5, n1, w));
            }
            Vector::Busy { retry_after_s } => {
                let refusal = Refusal::Busy { retry_after_s: *retry_after_s };
                let names = match &step.ask {
                    Ask::S2(s2) => Names::N1(&s2.n1),
                    Ask::S8(s8) => Names::Rand(&s8.rand),
                };
                self.refuse(ctx, waiting.from, &step.endpoint, &refusal, names);
            }
            // Of stock phones, which speak SIP.
            Vector::Digest { .. } => {}
        }
    }

    fn refuse(&mut self, ctx: &mut Ctx<'_>, to: Peer, endpoint: &Endpoint<'_>, refusal: &Refusal, names: Names<'_>) {
        self.command(ctx, to, endpoint, |t, w| match names {
            Names::Rand(rand) => core::write_fail(t, refusal, Some(rand), &N1::from_bits(0), w),
            Names::N1(n1) => core::write_fail(t, refusal, None, n1, w),
        });
    }

    /// Sends a step towards the gateway of `endpoint`.
    fn command(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: Peer,
        endpoint: &Endpoint<'_>,
        write: impl FnOnce(&Txn<'_>, &mut Writer<'_>) -> Result<(), Full>,
    ) {
        let transaction = self.commands.id();
        let x = format!("{transaction:x}");
        let txn = Txn { transaction, endpoint: core::challenged(endpoint), x: x.as_bytes() };
        if let Some(bytes) = ctx.write(|w| write(&txn, w)) {
            self.commands.send(ctx, transaction, to, bytes, Purpose::Step);
        }
    }
}
