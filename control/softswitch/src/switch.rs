//! The softswitch's face: one registration core, one agent a protocol.

use crate::agent::{Agent, Ctx};
use crate::config::{Config, ConfigError};
use crate::counters::Counters;
use crate::peers::{self, Peer};
use crate::state::{AskId, Core, Effect, Gauges};
use crate::{h248, mgcp, ras, sip};
use portunus_aaa::{AaaAnswer, Unreachable};
use portunus_keydist::{Now, Random};
use portunus_signalling::Protocol;

/// A softswitch for four protocols. See the crate's words for its place.
pub struct Softswitch {
    core: Core,
    /// In the order of [`PROTOCOLS`].
    agents: [Box<dyn Agent>; 4],
}

/// Every protocol, in the order of its number.
const PROTOCOLS: [Protocol; 4] = [Protocol::Sip, Protocol::Mgcp, Protocol::H248, Protocol::Ras];

impl core::fmt::Debug for Softswitch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Softswitch").field("gauges", &self.gauges()).finish_non_exhaustive()
    }
}

impl Softswitch {
    /// An empty softswitch.
    ///
    /// # Errors
    /// [`ConfigError`]: the configuration's fault.
    pub fn new(config: Config, random: Box<dyn Random + Send>) -> Result<Self, ConfigError> {
        let mut core = Core::new(config, random)?;
        let agents: [Box<dyn Agent>; 4] = [
            Box::new(sip::Registrar::new(&mut core)),
            Box::new(mgcp::CallAgent::new(&mut core)),
            Box::new(h248::Controller::new(&mut core)),
            Box::new(ras::Gatekeeper::new(&mut core)),
        ];
        Ok(Self { core, agents })
    }

    /// Calls an agent.
    fn call(
        &mut self,
        now: Now,
        protocol: Protocol,
        out: &mut Vec<Effect>,
        f: impl FnOnce(&mut dyn Agent, &mut Ctx<'_>),
    ) {
        let [sip, mgcp, h248, ras] = &mut self.agents;
        let agent = match protocol {
            Protocol::Sip => sip,
            Protocol::Mgcp => mgcp,
            Protocol::H248 => h248,
            Protocol::Ras => ras,
        };
        f(&mut **agent, &mut Ctx { core: &mut self.core, now, protocol, out });
    }

    /// Tells agents of the terminals that left them.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some((protocol, idc, lane)) = self.core.location.take_left() {
            self.call(now, protocol, out, |agent, ctx| agent.on_left(ctx, &idc, lane));
        }
        self.core.counters.transaction_evicted += self.core.transactions.take_evicted();
    }

    /// Takes one message from a neighbour. Nothing is ever said to a stranger.
    pub fn on_message(&mut self, now: Now, protocol: Protocol, from: Peer, bytes: &[u8], out: &mut Vec<Effect>) {
        if !peers::is_trusted(&self.core.config, protocol, from) {
            self.core.counters.stranger += 1;
            return;
        }
        self.core.counters.received += 1;
        if bytes.len() > self.core.config.limits.message {
            self.core.counters.unreadable += 1;
            return;
        }
        self.call(now, protocol, out, |agent, ctx| agent.on_message(ctx, from, bytes));
        self.settle(now, out);
    }

    /// Takes what became of a question. Each [`Effect::Ask`] must see exactly one of these.
    pub fn on_aaa(&mut self, now: Now, id: AskId, outcome: Result<AaaAnswer, Unreachable>, out: &mut Vec<Effect>) {
        let Some((asked, outcome)) = self.core.answered(now, id, outcome, out) else { return };
        let vector = self.core.vector(now, asked.kind, outcome);
        let waiting = asked.waiting;
        self.call(now, waiting.protocol, out, |agent, ctx| agent.on_vector(ctx, &waiting, &vector));
        self.settle(now, out);
    }

    /// Does what time asks for.
    pub fn on_timer(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(id) = self.core.overdue(now) {
            self.on_aaa(now, id, Err(Unreachable), out);
        }
        self.core.on_timer(now, out);
        for protocol in PROTOCOLS {
            self.call(now, protocol, out, |agent, ctx| agent.on_timer(ctx));
        }
        self.settle(now, out);
    }

    /// When [`Softswitch::on_timer`] has something to do next, monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.agents.iter().filter_map(|a| a.next_deadline()).chain(self.core.next_deadline()).min()
    }

    /// What happened since start.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// How full the tables are.
    pub fn gauges(&self) -> Gauges {
        self.core.gauges()
    }

    /// Where an identity can be reached now, best first, for the administrator and the simulator: SIP Contact URIs, or
    /// `mgcp:`, `h248:`, `ras:` and the lane.
    pub fn bindings_of(&self, now: Now, idc: &str) -> Vec<String> {
        let held = self.core.location.find(now.mono_ms, idc).into_iter().flatten();
        let mut found: Vec<_> = held.filter(|b| b.is_reached()).collect();
        found.sort_by_key(|b| core::cmp::Reverse(b.rank()));
        found.into_iter().map(|b| b.spelled()).collect()
    }
}
