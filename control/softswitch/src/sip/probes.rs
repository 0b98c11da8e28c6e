//! Asks a terminal that may have moved to another proxy for a sign of life there: OPTIONS (RFC 3261 section 11) to its
//! candidate binding. While its session there is not confirmed, the proxy answers 480 in its place.
//!
//! Asked 0.3 s after s9, then ever less often until the session would have died unconfirmed. Most terminals never have
//! two places, so none of this costs anything then; when too many have at once, the rest are left to their next request
//! or refresh.

use super::relay::{first_uri, is_our_via};
use crate::agent::Ctx;
use crate::peers::{self, Peer};
use crate::state::{Core, Effect};
use portunus_codec::hex_u64;
use portunus_keydist::Now;
use portunus_sip::view::{Message, Uri};
use std::collections::{BTreeMap, BTreeSet};

/// Before the first question, and between the first and the second.
const FIRST_MS: u64 = 300;
/// Longest time between two questions.
const MOST_MS: u64 = 4_000;
/// A session that nobody confirmed is dead by then (30 s, and what is on its way).
const PATIENCE_MS: u64 = 40_000;
/// Most terminals asked at once.
const PROBES: usize = 1_024;
/// How the Call-ID of a question begins.
const CALL_ID: &str = "where-";

#[derive(Debug)]
struct Probe {
    due_ms: u64,
    gap_ms: u64,
    until_ms: u64,
    call: u64,
    cseq: u32,
}

/// The questions under way.
#[derive(Debug, Default)]
pub(super) struct Probes {
    by_idc: BTreeMap<Box<str>, Probe>,
    due: BTreeSet<(u64, Box<str>)>,
}

impl Probes {
    /// Whoever got a candidate is asked.
    pub(super) fn begin(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(idc) = ctx.core.location.take_candidate() {
            self.forget(&idc);
            if self.by_idc.len() >= PROBES {
                continue;
            }
            let (due_ms, until_ms) = (ctx.now.mono_ms + FIRST_MS, ctx.now.mono_ms + PATIENCE_MS);
            let call = ctx.core.random.next_u64();
            self.due.insert((due_ms, idc.clone()));
            self.by_idc.insert(idc, Probe { due_ms, gap_ms: FIRST_MS, until_ms, call, cseq: 0 });
        }
    }

    fn forget(&mut self, idc: &str) -> Option<Probe> {
        let (idc, probe) = self.by_idc.remove_entry(idc)?;
        self.due.remove(&(probe.due_ms, idc));
        Some(probe)
    }

    /// Asks whoever is due.
    pub(super) fn on_timer(&mut self, ctx: &mut Ctx<'_>) {
        while self.next_deadline().is_some_and(|due| due <= ctx.now.mono_ms) {
            let Some((_, idc)) = self.due.pop_first() else { return };
            let Some(mut probe) = self.by_idc.remove(&idc) else { continue };
            probe.cseq += 1;
            let asked = ask(ctx, &idc, &probe);
            probe.due_ms = ctx.now.mono_ms + probe.gap_ms;
            probe.gap_ms = (2 * probe.gap_ms).min(MOST_MS);
            if asked && probe.due_ms <= probe.until_ms {
                self.due.insert((probe.due_ms, idc.clone()));
                self.by_idc.insert(idc, probe);
            }
        }
    }

    /// When the next one is due, monotonic milliseconds.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes an answer to a question; false: it is none.
    pub(super) fn answered(&mut self, ctx: &mut Ctx<'_>, from: Peer, msg: &Message<'_>) -> bool {
        let Some(call) = msg.call_id().strip_prefix(CALL_ID.as_bytes()) else { return false };
        let mut vias = msg.vias();
        let ours = vias.next().is_some_and(|via| is_our_via(ctx.core, &via));
        if !ours || vias.next().is_some() {
            return false;
        }
        drop(vias);
        let Some(token) = msg.to().sip().and_then(|uri| uri.token()) else { return false };
        let idc = token.as_idc().as_str();
        let known = self.by_idc.get(idc).is_some_and(|p| *call == hex_u64(p.call));
        // What a terminal would say to a call (RFC 3261 section 11.2); anything else may be the proxy's own words.
        let spoke = matches!(msg.status(), 200..=299 | 486 | 600..=699);
        if known && spoke && ctx.core.alive(ctx.now, idc, from, ctx.out) {
            self.forget(idc);
        }
        true
    }
}

/// One question; false when there is nobody to ask any more.
fn ask(ctx: &mut Ctx<'_>, idc: &str, probe: &Probe) -> bool {
    let Some(binding) = ctx.core.location.candidate(ctx.now.mono_ms, idc) else { return false };
    let hop = first_uri(&binding.path).unwrap_or(&binding.uri);
    let Some(to) = Uri::parse(hop).and_then(|uri| peers::named(&ctx.core.config, &uri)) else { return false };
    let (uri, path) = (binding.uri.clone(), binding.path.clone());
    let (own, realm, cseq) = (ctx.core.config.own, ctx.core.config.realm.clone(), probe.cseq);
    let branch = ctx.core.keyed.parts(5, &[&probe.call.to_be_bytes(), &cseq.to_be_bytes()]);
    let written = ctx.write(|w| {
        w.put(b"OPTIONS ").put(&uri).put(b" SIP/2.0\r\nVia: SIP/2.0/UDP ").text(&own.to_string());
        w.put(b";branch=z9hG4bK").put(&hex_u64(branch)).put(b"\r\nMax-Forwards: 70\r\n");
        if !path.is_empty() {
            w.put(b"Route: ").put(&path).put(b"\r\n");
        }
        w.put(b"From: <sip:").text(&realm).put(b">;tag=").put(&hex_u64(branch)).put(b"\r\nTo: <").put(&uri);
        w.put(b">\r\nCall-ID: ").text(CALL_ID).put(&hex_u64(probe.call));
        w.put(b"\r\nCSeq: ").decimal(cseq.into()).put(b" OPTIONS");
        w.put(b"\r\nContent-Length: 0\r\n\r\n");
        Ok(())
    });
    if let Some(bytes) = written {
        ctx.send(to, bytes);
    }
    true
}

impl Core {
    /// A terminal showed life through this neighbour: should it be a candidate there, then that is where it is from now
    /// on. True when it moved.
    pub(super) fn alive(&mut self, now: Now, idc: &str, from: Peer, out: &mut Vec<Effect>) -> bool {
        let Some(binding) = self.location.candidate(now.mono_ms, idc) else { return false };
        let idsp = binding.session.idsp.clone();
        if peers::serves(&self.config, portunus_signalling::Protocol::Sip, from, &idsp).is_none() {
            return false;
        }
        let changes = self.location.confirm(now.mono_ms, idc, &idsp);
        self.counters.moved += 1;
        self.account(idc, &changes, out);
        true
    }
}
