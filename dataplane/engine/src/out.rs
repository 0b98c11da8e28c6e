//! The way out: messages are written straight into the sink's buffers, and what does not leave is counted.

use crate::api::{Meta, Sink, To};
use crate::counters::Counters;
use portunus_signalling::{Full, Writer};

impl Meta {
    /// Where answers to this message go.
    pub(crate) const fn back(&self) -> To {
        To::Access { listener: self.listener, conn: self.conn, addr: self.source }
    }
}

/// Sends what `write` writes; true when it was queued. Nothing is sent when `write` writes nothing, when it does not
/// fit, or when it is longer than `limit` octets: then there is a counter.
pub(crate) fn send(
    sink: &mut dyn Sink,
    counters: &mut Counters,
    to: To,
    limit: usize,
    write: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), Full>,
) -> bool {
    let mut wrote = false;
    let queued = sink.send(to, &mut |buf| {
        let mut w = Writer::new(buf);
        match write(&mut w).and_then(|()| w.finish()) {
            Ok(0) => None,
            Ok(len) if len > limit => {
                counters.amplification_limited += 1;
                None
            }
            Ok(len) => {
                wrote = true;
                Some(len)
            }
            Err(Full) => {
                counters.write_full += 1;
                None
            }
        }
    });
    if !queued {
        match to {
            To::Core { .. } => counters.core_queue_full += 1,
            To::Access { .. } => counters.access_queue_full += 1,
        }
    }
    queued && wrote
}

/// Sends octets as they stand.
pub(crate) fn send_octets(sink: &mut dyn Sink, counters: &mut Counters, to: To, limit: usize, octets: &[u8]) -> bool {
    send(sink, counters, to, limit, &mut |w| {
        w.put(octets);
        Ok(())
    })
}
