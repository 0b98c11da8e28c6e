//! The links to the AuCs of other domains, on the AuC's own loop: their subscribers' questions go out by these, and the
//! answers are brought back to whoever asked.

use super::SOCKETS;
use crate::auc::Foreign;
use mio::event::Event;
use mio::{Registry, Token};
use portunus_aaa::net::{ClientRunner, RunnerConfig, ServerTicket};
use portunus_aaa::{AaaAnswer, AaaRequest, RequestId};
use portunus_keydist::{Now, SystemRandom};
use std::collections::BTreeMap;
use std::io;

/// One of them.
#[derive(Debug)]
pub struct ForeignRun {
    /// Its realms, and the key that it shares with us.
    pub foreign: Foreign,
    /// How it is asked.
    pub links: RunnerConfig,
}

/// A guest's question that is back.
pub(super) struct Back {
    pub(super) ticket: ServerTicket,
    pub(super) nth: usize,
    pub(super) request: AaaRequest,
    /// `None`: nobody answered in time.
    pub(super) answer: Option<AaaAnswer>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Abroad {
    links: Vec<ClientRunner>,
    open: BTreeMap<(usize, RequestId), (ServerTicket, AaaRequest)>,
}

impl Abroad {
    pub(super) fn new(links: Vec<RunnerConfig>) -> io::Result<Self> {
        let rng = || Box::new(SystemRandom::new());
        let links = links.into_iter().map(|config| ClientRunner::new(config, rng(), rng()));
        Ok(Self { links: links.collect::<io::Result<_>>()?, open: BTreeMap::new() })
    }

    /// Registers the sockets behind the listeners', which have so many tokens.
    pub(super) fn register(&mut self, registry: &Registry, listeners: usize, now: Now) -> io::Result<()> {
        let mut first = SOCKETS.0 + listeners;
        for link in &mut self.links {
            link.register(registry, Token(first), now)?;
            first += link.tokens();
        }
        Ok(())
    }

    pub(super) fn on_ready(&mut self, now: Now, event: &Event) {
        // Each knows its own tokens.
        let _ = self.links.iter_mut().any(|link| link.on_ready(now, event));
    }

    pub(super) fn on_timer(&mut self, now: Now) {
        for link in &mut self.links {
            if link.next_deadline().is_some_and(|due| due <= now.mono_ms) {
                link.on_timer(now);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.links.iter().filter_map(ClientRunner::next_deadline).min()
    }

    /// Asks; the ticket comes back where that cannot be.
    pub(super) fn ask(
        &mut self,
        now: Now,
        ticket: ServerTicket,
        (nth, request): (usize, AaaRequest),
    ) -> Result<(), ServerTicket> {
        let asked = self.links.get_mut(nth).and_then(|link| link.request(now, request.clone()).ok());
        match asked {
            Some(id) => {
                self.open.insert((nth, id), (ticket, request));
                Ok(())
            }
            None => Err(ticket),
        }
    }

    /// The next that is back.
    pub(super) fn poll(&mut self) -> Option<Back> {
        for (nth, link) in self.links.iter_mut().enumerate() {
            while let Some(event) = link.poll_event() {
                if let Some((ticket, request)) = self.open.remove(&(nth, event.id)) {
                    return Some(Back { ticket, nth, request, answer: event.outcome.ok() });
                }
            }
        }
        None
    }

    pub(super) fn flush(&mut self, now: Now) {
        self.links.iter_mut().for_each(|link| link.flush(now));
    }
}
