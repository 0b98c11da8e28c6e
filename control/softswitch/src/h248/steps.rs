//! The registration: s2 and s8 in, s5, s9 and refusals out, each a command of its own that is repeated until the proxy
//! has it.

use super::{Controller, Purpose, Spoken};
use crate::agent::{Bound, Ctx};
use crate::behind::Served;
use crate::peers::Peer;
use crate::registration::{Judged, Origin, Vector, Waiting};
use portunus_h248::carriage::core::{self, FromProxy};
use portunus_h248::carriage::message;
use portunus_h248::view::Message;
use portunus_keydist::ident::{N1, Rand};
use portunus_keydist::steps::{Refusal, S2, S5, S8};

/// What a refusal names: the Rand of a challenge, or the N1 of an s2.
#[derive(Clone, Copy)]
enum Names<'a> {
    Rand(&'a Rand),
    N1(&'a N1),
}

impl Controller {
    /// An s2 or s8: replied to at once, and looked at once.
    pub(super) fn on_step(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>, step: &FromProxy<'_>) {
        // s2 comes from a port that many gateways share.
        let (key, id, reply) = match step {
            FromProxy::Register { id, version, s2, .. } => {
                (format!("{id} {}", s2.n1), *id, format!("C=-{{SC=ROOT{{SV{{V={version}}}}}}}"))
            }
            FromProxy::Response { id, .. } => (id.to_string(), *id, "C=-{N=ROOT}".to_owned()),
        };
        let Some(tx) = ctx.begin(from, key.as_bytes()) else { return };
        if let Some(bytes) = ctx.write(|w| message::write_reply(&self.sender(msg.version()), id, &reply, w)) {
            ctx.answer(tx, from, bytes);
        }
        let origin = Origin { protocol: ctx.protocol, from, transaction: tx, request: msg.octets() };
        match step {
            FromProxy::Register { version, s2, .. } => self.on_s2(ctx, &origin, *version, s2),
            FromProxy::Response { version, s8, .. } => self.on_s8(ctx, &origin, *version, s8),
        }
    }

    fn on_s2(&mut self, ctx: &mut Ctx<'_>, origin: &Origin<'_>, version: u8, s2: &S2<'_>) {
        let refusal = match ctx.serves(origin.from, s2.idsp.as_str()) {
            None => Some(Refusal::Denied),
            Some(_) => ctx.s2(origin, s2, None).err(),
        };
        if let Some(refusal) = refusal {
            self.refuse(ctx, origin.from, version, &refusal, Names::N1(&s2.n1));
        }
    }

    fn on_s8(&mut self, ctx: &mut Ctx<'_>, origin: &Origin<'_>, version: u8, s8: &S8<'_>) {
        let Some(idsp) = ctx.serves(origin.from, s8.idsp.as_str()) else {
            return self.refuse(ctx, origin.from, version, &Refusal::Denied, Names::Rand(&s8.rand));
        };
        let refusal = match ctx.s8(origin, s8) {
            Judged::Right(s9) => {
                let expires_s = ctx.core.config.silent_s;
                let (lane, rand) = (origin.from, s8.rand);
                let bound = Bound { idc: s8.idc, idsp: &idsp, rand, ipc: s8.ipc, lane, expires_s };
                let before = self.gateways.on(s8.idc.as_str(), lane).map(|g| &g.own.served);
                let own = Spoken { version, request: 1, served: Served::new(before) };
                match self.gateways.register(ctx, &bound, own) {
                    Ok(()) => {
                        self.command(ctx, lane, version, Purpose::Step, |from, id, w| {
                            core::write_s9(from, id, s8.idsp, &rand, &s9, w)
                        });
                        return;
                    }
                    Err(retry_after_s) => Refusal::Busy { retry_after_s },
                }
            }
            Judged::Asked => return,
            Judged::Refused => Refusal::Denied,
            Judged::Busy { retry_after_s } => Refusal::Busy { retry_after_s },
        };
        self.refuse(ctx, origin.from, version, &refusal, Names::Rand(&s8.rand));
    }

    /// What became of the question for a vector.
    pub(super) fn challenge(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector) {
        let Ok(msg) = Message::parse(&waiting.request) else { return };
        let Ok(Some(step)) = core::read(&msg) else { return };
        let (version, names) = match &step {
            FromProxy::Register { version, s2, .. } => (*version, Names::N1(&s2.n1)),
            FromProxy::Response { version, s8, .. } => (*version, Names::Rand(&s8.rand)),
        };
        match vector {
            Vector::Challenge { idc, idsp, n1, rand } => {
                let s5 = S5 { idc: idc.as_idc(), idsp: idsp.as_idsp(), rand: *rand };
                self.command(ctx, waiting.from, version, Purpose::Step, |from, id, w| {
                    core::write_s5(from, id, &s5, n1, w)
                });
            }
            Vector::Busy { retry_after_s } => {
                let refusal = Refusal::Busy { retry_after_s: *retry_after_s };
                self.refuse(ctx, waiting.from, version, &refusal, names);
            }
            // Of stock phones, which speak SIP.
            Vector::Digest { .. } => {}
        }
    }

    fn refuse(&mut self, ctx: &mut Ctx<'_>, to: Peer, version: u8, refusal: &Refusal, names: Names<'_>) {
        self.command(ctx, to, version, Purpose::Step, |from, id, w| match names {
            Names::Rand(rand) => core::write_refusal(from, id, refusal, Some(rand), &N1::from_bits(0), w),
            Names::N1(n1) => core::write_refusal(from, id, refusal, None, n1, w),
        });
    }
}
