//! Several links to the core, one for each protocol, as one.

use core::ops::Range;
use std::io;
use std::net::SocketAddr;

use mio::Registry;
use mio::event::Event;
use portunus_engine::Reading;
use portunus_keydist::Now;
use portunus_signalling::Protocol;

use crate::own::OwnLinks;
use crate::upstream::{CoreMessage, Deliver, Upstream};

struct Part {
    protocol: Protocol,
    link: Box<dyn Upstream>,
    tokens: Range<usize>,
}

/// See the module.
#[derive(Default)]
pub struct Links {
    parts: Vec<Part>,
}

impl core::fmt::Debug for Links {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|part| part.protocol)).finish()
    }
}

impl Links {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the link of a protocol. The first one says where the core reaches the proxy, so SIP, which writes that into
    /// its messages, is to be added first.
    #[must_use]
    pub fn with(mut self, protocol: Protocol, link: Box<dyn Upstream>) -> Self {
        self.parts.push(Part { protocol, link, tokens: 0..0 });
        self
    }
}

impl Upstream for Links {
    fn start(&mut self, registry: &Registry, tokens: Range<usize>) -> io::Result<SocketAddr> {
        let share = tokens.len() / self.parts.len().max(1);
        let mut reached = None;
        for (nth, part) in self.parts.iter_mut().enumerate() {
            let from = tokens.start + nth * share;
            part.tokens = from..from + share;
            let at = part.link.start(registry, part.tokens.clone())?;
            reached = reached.or(Some(at));
        }
        reached.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no link to the core"))
    }

    fn yield_links(&mut self, registry: &Registry, own: &mut OwnLinks) -> io::Result<()> {
        self.parts.iter_mut().try_for_each(|part| part.link.yield_links(registry, own))
    }

    fn send(&mut self, now: Now, message: CoreMessage<'_>) -> bool {
        let part = self.parts.iter_mut().find(|part| part.protocol == message.protocol);
        part.is_some_and(|part| part.link.send(now, message))
    }

    fn flush(&mut self, now: Now, up: &mut dyn Deliver) {
        self.parts.iter_mut().for_each(|part| part.link.flush(now, up));
    }

    fn on_ready(&mut self, now: Now, event: &Event, up: &mut dyn Deliver) {
        let token = event.token().0;
        if let Some(part) = self.parts.iter_mut().find(|part| part.tokens.contains(&token)) {
            part.link.on_ready(now, event, up);
        }
    }

    fn hungry(&self) -> bool {
        self.parts.iter().any(|part| part.link.hungry())
    }

    fn on_timer(&mut self, now: Now, up: &mut dyn Deliver) {
        self.parts.iter_mut().for_each(|part| part.link.on_timer(now, up));
    }

    fn next_deadline(&self) -> Option<u64> {
        self.parts.iter().filter_map(|part| part.link.next_deadline()).min()
    }

    fn descriptors(&self) -> usize {
        self.parts.iter().map(|part| part.link.descriptors()).sum()
    }

    fn follows_sessions(&self) -> bool {
        self.parts.iter().any(|part| part.link.follows_sessions())
    }

    fn on_session(&mut self, now: Now, name: u64, worker: u8, active: bool) {
        self.parts.iter_mut().for_each(|part| part.link.on_session(now, name, worker, active));
    }

    fn readings(&self, show: &mut dyn FnMut(Reading)) {
        self.parts.iter().for_each(|part| part.link.readings(show));
    }
}
