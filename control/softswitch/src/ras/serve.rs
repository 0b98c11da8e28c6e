//! What registered endpoints ask and are asked.

use super::steps::{granted_s, own};
use super::{Gatekeeper, Purpose};
use crate::agent::Ctx;
use crate::peers::Peer;
use core::net::SocketAddr;
use portunus_h323::carriage::write_fault;
use portunus_h323::view::{Aliases, Kind, Message, Reason};
use portunus_h323::write::{self, NakReason};
use portunus_signalling::{Fault, FaultKind};

/// Aliases of a called party that are looked up.
const CALLED_MAX: usize = 16;
/// Longest alias that can be somebody's here, octets of UTF-8 ([`portunus_keydist::ident::IDC_MAX`]).
const ALIAS_MAX: usize = portunus_keydist::ident::IDC_MAX;
/// What is not served here.
const UNSERVED: Fault = Fault { kind: FaultKind::Unsupported, what: "RasMessage", at: 0 };

impl Gatekeeper {
    /// A request that is no step, or an InfoRequestResponse that nobody asked for: of a registered endpoint, in its own
    /// name.
    pub(super) fn on_request(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) {
        // An endpoint that starts again may begin to count again: what it is called tells its registrations apart.
        let mut key = format!("{:?} {} ", msg.kind(), msg.seq()).into_bytes();
        key.extend(msg.endpoint_id().map_or(&[][..], |id| id.octets()));
        let Some(transaction) = ctx.begin(from, &key) else { return };
        let idc = self.endpoints.sender(ctx, from, |_| true);
        let answer = match &idc {
            Some(idc) => self.served(ctx, idc, msg),
            // Whoever is not registered here, or no longer: it is told so and registers anew.
            None => {
                ctx.core.counters.unreachable += 1;
                absent(ctx, msg)
            }
        };
        match answer.filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => ctx.answer(transaction, from, bytes),
            None => ctx.forget(transaction),
        }
    }

    /// The answer to an endpoint's request; none, or an empty one, where none is due.
    fn served(&mut self, ctx: &mut Ctx<'_>, idc: &str, msg: &Message<'_>) -> Option<Vec<u8>> {
        let (kind, seq) = (msg.kind(), msg.seq());
        let misnamed = self.misnamed(idc, msg);
        self.on_alive(ctx, idc);
        if let Some(reason) = misnamed {
            return reject(ctx, kind, seq, reason);
        }
        match kind {
            Kind::GatekeeperRequest => {
                let at = own(ctx);
                ctx.write(|w| write::gatekeeper_confirm(seq, &self.name, at, w))
            }
            Kind::RegistrationRequest => self.renew(ctx, idc, msg),
            Kind::UnregistrationRequest => {
                // It goes by itself, so there is nobody to tell.
                if let Some(lane) = ctx.lane_of(idc) {
                    self.endpoints.remove(idc, lane);
                }
                ctx.unbind(idc);
                ctx.write(|w| write::confirm(Kind::UnregistrationConfirm, seq, w))
            }
            Kind::AdmissionRequest => match self.admitted(ctx, idc, msg) {
                Ok(at) => ctx.write(|w| write::admission_confirm(seq, msg.bandwidth().unwrap_or(0), at, w)),
                Err(reason) => reject(ctx, kind, seq, reason),
            },
            Kind::DisengageRequest => ctx.write(|w| write::confirm(Kind::DisengageConfirm, seq, w)),
            Kind::LocationRequest => match self.called(ctx, msg.destination()) {
                Some(at) => {
                    let gatekeeper = own(ctx);
                    ctx.write(|w| write::location_confirm(seq, at, gatekeeper, w))
                }
                None => reject(ctx, kind, seq, Reason::REQUEST_DENIED),
            },
            // As admission does, whatever is asked for: nothing is counted here.
            Kind::BandwidthRequest => ctx.write(|w| write::bandwidth_confirm(seq, msg.bandwidth().unwrap_or(0), w)),
            Kind::InfoRequestResponse if !msg.need_response() => None,
            Kind::InfoRequestResponse => ctx.write(|w| write::info_request_ack(seq, w)),
            Kind::ResourcesAvailableIndicate | Kind::InfoRequest => {
                ctx.write(|w| write::unknown_message_response(seq, msg.octets(), w))
            }
            _ => ctx.write(|w| write_fault(msg.octets(), &UNSERVED, w).map(|_| ())),
        }
    }

    /// Why a request is not in its sender's name, if it is not: other aliases, or what another registration is called.
    fn misnamed(&mut self, idc: &str, msg: &Message<'_>) -> Option<Reason> {
        let reject = msg.kind().reject()?;
        let foreign = match msg.kind() {
            Kind::GatekeeperRequest => !first_is(msg, idc),
            Kind::RegistrationRequest => (msg.has_aliases() || !msg.keep_alive()) && !first_is(msg, idc),
            // Of the endpoint that is called: the caller is named there.
            Kind::AdmissionRequest if msg.answer_call() => false,
            _ => {
                let mut named = msg.aliases().peekable();
                named.peek().is_some() && !named.any(|alias| alias.is(idc))
            }
        };
        if foreign {
            return Some(Reason::security_error(reject, 3));
        }
        let own = self.endpoints.get_mut(idc).map(|endpoint| &endpoint.own.id);
        let called = msg.endpoint_id();
        let same = called.zip(own).is_some_and(|(called, own)| called.is(own));
        match msg.kind() {
            Kind::RegistrationRequest if msg.keep_alive() && !same => Some(Reason::FULL_REGISTRATION_REQUIRED),
            Kind::GatekeeperRequest | Kind::RegistrationRequest => None,
            _ if called.is_none() || same => None,
            Kind::AdmissionRequest => Some(Reason::INVALID_ENDPOINT_IDENTIFIER),
            _ => Some(Reason::NOT_REGISTERED),
        }
    }

    /// A registration of an endpoint that has one: its time begins anew.
    fn renew(&mut self, ctx: &mut Ctx<'_>, idc: &str, msg: &Message<'_>) -> Option<Vec<u8>> {
        let ttl_s = granted_s(ctx, msg.time_to_live());
        let endpoint = self.endpoints.get_mut(idc)?;
        endpoint.own.ttl_s = ttl_s;
        if let Some(signal) = msg.call_signal_address() {
            endpoint.own.signal = signal;
        }
        let id = endpoint.own.id.clone();
        ctx.refresh(idc, ttl_s);
        self.on_alive(ctx, idc);
        let aliases = if msg.keep_alive() { &[][..] } else { &[idc][..] };
        let confirmed = self.confirmed(ctx, aliases, &id, ttl_s);
        ctx.write(|w| write::registration_confirm(msg.seq(), &confirmed, None, w))
    }

    /// Where an admitted call goes.
    fn admitted(&mut self, ctx: &Ctx<'_>, idc: &str, msg: &Message<'_>) -> Result<SocketAddr, Reason> {
        if msg.answer_call() {
            let own = self.endpoints.get_mut(idc).map(|endpoint| endpoint.own.signal);
            return own.ok_or(Reason::CALLER_NOT_REGISTERED);
        }
        if msg.destination().next().is_none() {
            return Err(Reason::INCOMPLETE_ADDRESS);
        }
        self.called(ctx, msg.destination()).ok_or(Reason::CALLED_PARTY_NOT_REGISTERED)
    }

    /// Where the first of these that is registered takes calls.
    fn called(&mut self, ctx: &Ctx<'_>, aliases: Aliases<'_>) -> Option<SocketAddr> {
        aliases.take(CALLED_MAX).find_map(|alias| {
            let mut room = [0u8; ALIAS_MAX];
            let len = alias.put(&mut room)?;
            let name = core::str::from_utf8(room.get(..len)?).ok()?;
            ctx.lane_of(name)?;
            self.endpoints.get_mut(name).map(|endpoint| endpoint.own.signal)
        })
    }

    /// A sign of life: it is asked again after half of its time.
    pub(super) fn on_alive(&mut self, ctx: &Ctx<'_>, idc: &str) {
        let Some(endpoint) = self.endpoints.get_mut(idc) else { return };
        let time_s = endpoint.own.ttl_s.min(ctx.core.config.silent_s);
        self.endpoints.heard(idc, ctx.now.mono_ms + u64::from(time_s) * 500);
    }

    /// Asks an endpoint whether it is there.
    pub(super) fn audit(&mut self, ctx: &mut Ctx<'_>, idc: &str, lane: Peer) {
        let begun = self.endpoints.begin_audit(idc, lane).is_some();
        let purpose = Purpose::Audit { idc: idc.into(), lane };
        if begun && !self.command(ctx, lane, purpose, |seq, w| write::info_request(seq, 0, w)) {
            self.endpoints.put_off(ctx, idc, lane);
        }
    }
}

fn first_is(msg: &Message<'_>, idc: &str) -> bool {
    msg.aliases().next().is_some_and(|alias| alias.is(idc))
}

/// The rejection of a request of this kind and number.
fn reject(ctx: &mut Ctx<'_>, kind: Kind, seq: u16, reason: Reason) -> Option<Vec<u8>> {
    let kind = kind.reject()?;
    ctx.write(|w| write::reject(kind, seq, reason, None, w))
}

/// What nobody's request gets; empty where nothing is due.
fn absent(ctx: &mut Ctx<'_>, msg: &Message<'_>) -> Option<Vec<u8>> {
    let reason = match msg.kind() {
        Kind::RegistrationRequest => Reason::DISCOVERY_REQUIRED,
        Kind::GatekeeperRequest => Reason::security_denial(Kind::GatekeeperReject),
        Kind::AdmissionRequest => Reason::CALLER_NOT_REGISTERED,
        kind if kind.reject().is_some() => Reason::NOT_REGISTERED,
        Kind::InfoRequestResponse if msg.need_response() => {
            let seq = msg.seq();
            return ctx.write(|w| write::info_request_nak(seq, NakReason::NotRegistered, w));
        }
        _ => return ctx.write(|w| write_fault(msg.octets(), &UNSERVED, w).map(|_| ())),
    };
    reject(ctx, msg.kind(), msg.seq(), reason)
}
