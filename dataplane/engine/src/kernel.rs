//! Sessions of `ipsec-man` whose ESP the host's kernel does: it is asked when s10 leaves, and from then on their messages
//! come and go in the clear, by a listener whose port the kernel lets nothing else pass at.

use crate::api::{Packet, Sink};
use crate::engine::Engine;
use portunus_channel::Said;
use portunus_channel::esp::Esp;
use portunus_channel::kernel::Pair;
use portunus_keydist::Now;

impl Engine {
    /// Asks for a new session's associations where it is one of these; false: the kernel cannot be asked.
    pub(crate) fn install(&mut self, slot: u32, sink: &mut dyn Sink) -> bool {
        let Some(session) = self.sessions.get(slot) else { return true };
        let Some(spi_c) = session.kernel_spi() else { return true };
        let (meta, keys) = (session.meta(), session.keys.clone());
        let listener = self.site.listener(meta.listener);
        let outer = self.site.kernel_outer(meta.listener).unwrap_or_default();
        let (Some(listener), Some(kid), Some(spi_s)) =
            (listener, self.sessions.kid(slot), self.sessions.handle(slot, &Esp).and_then(|spi| spi.try_into().ok()))
        else {
            return false;
        };
        let pair = Pair {
            kid,
            here: listener.address,
            there: meta.source,
            // Where its datagrams come from shows with the first of them.
            outer: (outer, 0),
            spi: (spi_s, spi_c),
            c2s: keys.c2s,
            s2c: keys.s2c,
        };
        let asked = sink.install(pair);
        *(if asked { &mut self.counters.kernel_sessions } else { &mut self.counters.kernel_unasked }) += 1;
        asked
    }

    /// Messages that the kernel verified: whose they are, their source says. An empty one is a confirmation.
    pub(crate) fn on_opened_by_kernel(&mut self, now: Now, packets: &[Packet<'_>], sink: &mut dyn Sink) {
        for packet in packets {
            let Some(slot) = self.sessions.by_kernel(&packet.meta) else {
                self.counters.kernel_unknown += 1;
                continue;
            };
            let said = if packet.bytes.is_empty() { Said::Confirmation } else { Said::Message };
            self.take_opened(now, slot, (said, packet.bytes), sink);
        }
    }

    /// Sends the first `len` octets of the scratch buffer, or nothing but the datagram, by the listener whose port the kernel
    /// protects.
    pub(crate) fn leave_to_kernel(&mut self, slot: u32, len: usize, sink: &mut dyn Sink) {
        let (Some(session), Some(content)) = (self.sessions.get(slot), self.scratch.get(..len)) else { return };
        let counters = &mut self.counters;
        let queued = sink.send(session.meta().back(), &mut |buf| {
            let Some(room) = buf.get_mut(..len) else {
                counters.write_full += 1;
                return None;
            };
            room.copy_from_slice(content);
            Some(len)
        });
        if !queued {
            self.counters.access_queue_full += 1;
        } else if len > 0 {
            self.counters.sealed_down += 1;
        }
    }
}
