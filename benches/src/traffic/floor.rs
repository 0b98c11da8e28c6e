//! The channel of floor F1: keys that never change, opened and sealed as a proxy's are.

use portunus_channel::{Flow, Keys, Mechanism, OpenJob, Said, datagrams};
use portunus_io::Batch;
use portunus_keydist::ident::{Idc, Idsp, N1};
use portunus_keydist::mech::Mech;
use portunus_keydist::{SessionKey, TrafficCtx};
use std::net::SocketAddr;

/// Octets that the proxy adds to such a request, which is its Via. The floor appends as many; a test
/// holds it to that.
pub const TRAILER: usize = 107;
/// What a trailer says of a request that came protected.
pub const TRAFFIC: u8 = 0xff;

/// The handle that terminals use towards the floor, and it towards them.
const HANDLE: u64 = 0x0102_0304;
/// Messages opened at once.
const BATCH: usize = 64;

/// One side of the floor's channel.
pub struct Channel {
    mechanism: &'static dyn Mechanism,
    keys: Keys,
    flow: Flow,
    seq: u64,
}

impl core::fmt::Debug for Channel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Channel").field(&self.mechanism).finish()
    }
}

impl Channel {
    /// Always the same; `None` where the mechanism is none for datagrams.
    pub fn new(mech: Mech) -> Option<Self> {
        let mechanism = datagrams(mech)?;
        let n1 = N1::from_bits(9);
        let ctx =
            TrafficCtx { idc: Idc::new("floor")?, idsp: Idsp::new("floor")?, n1b: &n1, n2b: &n1, token: mech.token() };
        let keys = mechanism.derive(&SessionKey::new([5; 32]).secret(&[7; 16]), &ctx);
        let flow = Flow { handle: HANDLE, protocol: 1, ports: (5060, 5060) };
        Some(Self { mechanism, keys, flow, seq: 0 })
    }

    /// Opens what terminals sent, in one batch, and hands it to `pass`.
    pub fn upwards(&self, rx: &mut Batch, mut pass: impl FnMut(SocketAddr, &[u8])) {
        let mut messages = rx.iter_mut();
        loop {
            let mut from = Vec::with_capacity(BATCH);
            let mut jobs = Vec::with_capacity(BATCH);
            for (source, datagram) in messages.by_ref().take(BATCH) {
                from.push(source);
                let result = Ok((Said::Nothing, 0..0));
                jobs.push(OpenJob { key: &self.keys.c2s, flow: self.flow, datagram, result });
            }
            if jobs.is_empty() {
                return;
            }
            self.mechanism.open_batch(&mut jobs);
            for (source, job) in from.into_iter().zip(jobs) {
                if let Ok((Said::Message, range)) = job.result {
                    pass(source, job.datagram.get(range).unwrap_or_default());
                }
            }
        }
    }

    /// Seals a reply in the buffer that it leaves by.
    pub fn downwards(&mut self, message: &[u8], room: &mut [u8]) -> Option<usize> {
        self.seq += 1;
        let head = self.mechanism.format().head;
        room.get_mut(head..head + message.len())?.copy_from_slice(message);
        self.mechanism.seal_in_place(&self.keys.s2c, &self.flow, self.seq, message.len(), room).ok()
    }

    /// A terminal's request.
    pub fn seal_request(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.seq += 1;
        let mut out = vec![0; self.mechanism.sealed_len(message.len())];
        let mut w = portunus_codec::Writer::new(&mut out);
        self.mechanism.seal(&self.keys.c2s, &self.flow, self.seq, message, &mut w).ok()?;
        Some(out)
    }

    /// What the floor replied to a terminal.
    pub fn open_reply<'d>(&self, datagram: &'d mut [u8]) -> Option<&'d [u8]> {
        let opened = self.mechanism.open(&self.keys.s2c, &self.flow, datagram).ok()?;
        Some(opened.content)
    }
}
