//! The way out: queueing messages, and sending what is queued.

use std::io::{self, Write};

use super::{Framing, Layer, Streams, Undeliverable, shelve};

impl Streams {
    /// Queues what `write` writes into the buffer of `max` octets that it is given; [`Streams::flush`] sends it.
    ///
    /// # Errors
    /// [`Undeliverable`]: nothing was queued.
    pub fn write_with(
        &mut self,
        conn: u32,
        max: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Undeliverable> {
        let Some((slot, _)) = self.of(conn) else {
            self.counters.gone += 1;
            return Err(Undeliverable::Gone);
        };
        let Some(connection) = self.slots.get_mut(slot as usize).and_then(|place| place.connection.as_deref_mut())
        else {
            return Err(Undeliverable::Gone);
        };
        if connection.out.capacity() == 0 {
            connection.out = self.spare.pop().unwrap_or_default();
        }
        let from = connection.out.len();
        if from - connection.out_from >= self.limits.write_max {
            self.counters.slow += 1;
            self.close(slot);
            return Err(Undeliverable::Slow);
        }
        let framing = connection.framing;
        let behind = connection.layer.as_deref().map(Layer::is_open);
        let place = if behind == Some(true) { &mut self.plain } else { &mut connection.out };
        // Nothing is sent past a layer that is not open.
        if behind == Some(false) || !put_message(&framing, place, max, write) {
            return Err(Undeliverable::Declined);
        }
        if let Some(layer) = &mut connection.layer {
            let put = layer.put(&self.plain, &mut connection.out);
            self.plain.clear();
            if let Err(why) = put {
                self.counters.layer_ended(why);
                self.close(slot);
                return Err(Undeliverable::Gone);
            }
        }
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(slot);
        }
        Ok(())
    }

    /// Sends what a connection that is about to be closed still has to say, as far as the system takes it at once.
    pub(super) fn last_words(&mut self, slot: u32) {
        let Some(connection) = self.connection(slot) else { return };
        let waiting = connection.out.get(connection.out_from..).unwrap_or_default();
        if !waiting.is_empty() {
            // Whether it arrives is the peer's affair: the connection is over in any case.
            let _ = connection.stream.write(waiting);
            self.counters.calls += 1;
        }
    }

    /// Sends what was queued, one call a connection; what the system does not take waits for its readiness.
    pub fn flush(&mut self) {
        while let Some(slot) = self.dirty.pop() {
            let Some(connection) = self.slots.get_mut(slot as usize).and_then(|s| s.connection.as_deref_mut()) else {
                continue;
            };
            connection.dirty = false;
            let waiting = connection.out.get(connection.out_from..).unwrap_or_default();
            if waiting.is_empty() {
                if connection.finishing {
                    self.counters.finished += 1;
                    self.close(slot);
                }
                continue;
            }
            self.counters.calls += 1;
            match connection.stream.write(waiting) {
                Ok(0) => {
                    self.counters.closed += 1;
                    self.close(slot);
                }
                Ok(count) if count == waiting.len() => {
                    connection.out_from = 0;
                    shelve(&mut self.spare, core::mem::take(&mut connection.out));
                    if connection.finishing {
                        self.counters.finished += 1;
                        self.close(slot);
                    }
                }
                Ok(count) => {
                    connection.out_from += count;
                    // Keeps the buffer from growing by what has left already.
                    if connection.out_from > connection.out.len() / 2 {
                        connection.out.drain(..connection.out_from);
                        connection.out_from = 0;
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => {
                    self.counters.closed += 1;
                    self.close(slot);
                }
            }
        }
    }
}

/// Appends what `write` writes, behind its header, to `out`; false, and `out` is as before, when it writes nothing or
/// no header can announce it.
fn put_message(
    framing: &Framing,
    out: &mut Vec<u8>,
    max: usize,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> bool {
    let (from, lead) = (out.len(), framing.lead());
    out.resize(from + lead + max, 0);
    let len = out.get_mut(from + lead..).and_then(write).filter(|&len| len <= max);
    let framed = len.filter(|&len| put_header(framing, out.get_mut(from..), len));
    out.truncate(framed.map_or(from, |len| from + lead + len));
    framed.is_some()
}

/// Writes what precedes a message of `len` octets; false when there is no such header.
fn put_header(framing: &Framing, place: Option<&mut [u8]>, len: usize) -> bool {
    let Some(header) = framing.header else { return true };
    match (header(len), place.and_then(|place| place.first_chunk_mut())) {
        (Some(header), Some(place)) => {
            *place = header;
            true
        }
        _ => false,
    }
}
