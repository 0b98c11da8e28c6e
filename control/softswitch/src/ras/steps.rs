//! The registration: s2 and s8 in, s5, s9 and refusals out, each the answer to its request.

use super::{Gatekeeper, Registered};
use crate::agent::{Bound, Ctx};
use crate::peers::Peer;
use crate::registration::{Judged, Origin, Vector, Waiting};
use crate::transactions::TransactionId;
use core::net::SocketAddr;
use portunus_codec::{Full, Writer};
use portunus_h323::carriage::core::{Ask, Named, read, write_refusal, write_s5, write_s9};
use portunus_h323::view::{Kind, Message};
use portunus_h323::write::Confirmed;
use portunus_keydist::ident::{Idc, Idsp, Rand};
use portunus_keydist::steps::{Refusal, S2, S8, S9};
use portunus_signalling::Text;
use std::fmt::Write as _;
use std::sync::Arc;

/// The port of call signalling (H.225.0), which this gatekeeper leaves to the endpoints.
const CALL_SIGNALLING: u16 = 1720;

/// A step's request: what its answers need.
struct Asked<'a> {
    transaction: TransactionId,
    from: Peer,
    of: (Kind, u16),
    idc: Idc<'a>,
    idsp: Idsp<'a>,
    named: Named<'a>,
}

impl Gatekeeper {
    pub(super) fn on_s2(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>, s2: &S2<'_>) {
        // It comes from a port that many endpoints share.
        let key = format!("{:?} {} {}", msg.kind(), msg.seq(), s2.n1);
        let Some(transaction) = ctx.begin(from, key.as_bytes()) else { return };
        let origin = Origin { protocol: ctx.protocol, from, transaction, request: msg.octets() };
        let refusal = match ctx.serves(from, s2.idsp.as_str()).map(|_| ctx.s2(&origin, s2, None)) {
            None => Refusal::Denied,
            Some(Ok(())) => return self.wait(ctx, transaction, from, msg.seq()),
            Some(Err(refusal)) => refusal,
        };
        let of = (msg.kind(), msg.seq());
        refuse(ctx, &Asked { transaction, from, of, idc: s2.idc, idsp: s2.idsp, named: Named::N1(&s2.n1) }, &refusal);
    }

    pub(super) fn on_s8(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>, s8: &S8<'_>) {
        let mut key = format!("{:?} {} ", msg.kind(), msg.seq());
        s8.rand.iter().for_each(|octet| _ = write!(key, "{octet:02x}"));
        let Some(transaction) = ctx.begin(from, key.as_bytes()) else { return };
        let of = (msg.kind(), msg.seq());
        let asked = Asked { transaction, from, of, idc: s8.idc, idsp: s8.idsp, named: Named::Rand(&s8.rand) };
        let Some(idsp) = ctx.serves(from, s8.idsp.as_str()) else { return refuse(ctx, &asked, &Refusal::Denied) };
        // Nobody could call it; nothing is used up by that.
        let Some(signal) = msg.call_signal_address() else { return refuse(ctx, &asked, &Refusal::Malformed) };
        let origin = Origin { protocol: ctx.protocol, from, transaction, request: msg.octets() };
        let refusal = match ctx.s8(&origin, s8) {
            Judged::Right(s9) => match self.register(ctx, &asked, (s8, signal, msg.time_to_live()), &idsp, &s9) {
                Ok(()) => return,
                Err(retry_after_s) => Refusal::Busy { retry_after_s },
            },
            Judged::Asked => return self.wait(ctx, transaction, from, msg.seq()),
            Judged::Refused => Refusal::Denied,
            Judged::Busy { retry_after_s } => Refusal::Busy { retry_after_s },
        };
        refuse(ctx, &asked, &refusal);
    }

    /// Binds an endpoint that proved itself, and sends s9.
    fn register(
        &mut self,
        ctx: &mut Ctx<'_>,
        asked: &Asked<'_>,
        (s8, signal, ttl): (&S8<'_>, SocketAddr, Option<u32>),
        idsp: &Arc<str>,
        s9: &S9,
    ) -> Result<(), u32> {
        let (lane, rand, ttl_s) = (asked.from, s8.rand, granted_s(ctx, ttl));
        let id = format!("{:016x}", ctx.core.random.next_u64());
        let own = Registered { id: id.as_str().into(), signal, ttl_s };
        let bound = Bound { idc: s8.idc, idsp, rand, ipc: s8.ipc, lane, expires_s: ttl_s };
        self.endpoints.register(ctx, &bound, own)?;
        let aliases = [s8.idc.as_str()];
        let confirmed = self.confirmed(ctx, &aliases, &id, ttl_s);
        answer(ctx, asked, |w| write_s9(asked.of.1, &confirmed, s8.idc, s8.idsp, &rand, s9, w));
        Ok(())
    }

    /// What RCF says.
    pub(super) fn confirmed<'a>(
        &'a self,
        ctx: &Ctx<'_>,
        aliases: &'a [&'a str],
        endpoint_id: &'a str,
        ttl: u32,
    ) -> Confirmed<'a> {
        let signal = SocketAddr::new(own(ctx).ip(), CALL_SIGNALLING);
        Confirmed { signal, aliases, gatekeeper_id: &self.name, endpoint_id, ttl }
    }

    /// What became of the question for a vector.
    pub(super) fn challenge(&mut self, ctx: &mut Ctx<'_>, waiting: &Waiting, vector: &Vector) {
        let Ok(msg) = Message::parse(&waiting.request) else { return };
        let mut text = Text::new();
        let (idc, idsp, n1a, rand): (_, _, _, Rand) = match read(&msg, &mut text) {
            Ok(Ask::S2(s2)) => (s2.idc, s2.idsp, Some(s2.n1), [0; 16]),
            Ok(Ask::S8(s8)) => (s8.idc, s8.idsp, None, s8.rand),
            Ok(Ask::None) | Err(_) => return,
        };
        let named = n1a.as_ref().map_or(Named::Rand(&rand), Named::N1);
        let (transaction, from, of) = (waiting.transaction, waiting.from, (msg.kind(), msg.seq()));
        let asked = Asked { transaction, from, of, idc, idsp, named };
        match vector {
            Vector::Challenge { n1, rand, .. } => answer(ctx, &asked, |w| write_s5(of, idc, idsp, n1, rand, w)),
            Vector::Busy { retry_after_s } => refuse(ctx, &asked, &Refusal::Busy { retry_after_s: *retry_after_s }),
            // Of stock phones, which speak SIP.
            Vector::Digest { .. } => {}
        }
    }
}

fn answer(ctx: &mut Ctx<'_>, asked: &Asked<'_>, write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) {
    if let Some(bytes) = ctx.write(write) {
        ctx.answer(asked.transaction, asked.from, bytes);
    }
}

fn refuse(ctx: &mut Ctx<'_>, asked: &Asked<'_>, refusal: &Refusal) {
    answer(ctx, asked, |w| write_refusal(asked.of, asked.idc, asked.idsp, &asked.named, refusal, w));
}

/// The time to live that a registration gets; never more than it asked for.
pub(super) fn granted_s(ctx: &Ctx<'_>, asked_s: Option<u32>) -> u32 {
    let expires = &ctx.core.config.expires;
    asked_s.unwrap_or(expires.default_s).min(expires.max_s).max(1)
}

/// Where neighbours reach the gatekeeper.
pub(super) fn own(ctx: &Ctx<'_>) -> SocketAddr {
    let config = &ctx.core.config;
    config.listeners.ras.unwrap_or(config.own)
}
