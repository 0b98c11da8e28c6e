//! Connections of mechanism `tls` on a worker: the layer between a connection's octets and its messages, and the way to
//! the worker that holds the session.
//!
//! ```text
//!  accepted --ClientHello--> identity --- another worker's --> its queue --+
//!                               |                                          | adopted
//!                               | ours                                     v
//!                               +--> PSK from the handler --> handshake --> open: messages inside the session
//! ```
//!
//! The system gives a connection to any worker; the identity in its ClientHello names the one that holds the session
//! ([`Identity::worker`]). The connection goes there with the octets that were read, before anything else was made of it.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use mio::Registry;
use portunus_channel::tls::{Connection, Ended, Identity, Psk, Server, hello};
use portunus_io::stream::{Departing, Layer, LayerEnd, MakeLayer, Passed, StreamCounters};
use portunus_keydist::Now;

use crate::handler::Handler;
use crate::outputs::Outputs;
use crate::readings::WorkerCounters;
use crate::worker::Bell;

/// Connections that wait for a worker that has not looked yet.
const WAITING: usize = 256;

/// How far a connection has come.
enum Phase {
    /// The first octets, of a ClientHello that is not complete.
    Hello(Vec<u8>),
    /// The identity that somebody has to look up, and the octets up to here.
    Asking(Identity, Vec<u8>),
    /// OpenSSL has it; octets that it has not been shown yet.
    Begun(Box<Connection>, Vec<u8>),
    /// No memory for it.
    Lost,
}

/// TLS between the octets and the messages of a connection.
struct Secured {
    server: Arc<Server>,
    phase: Phase,
}

/// Makes the layers of a listener's connections.
pub(crate) fn layers(server: &Arc<Server>) -> MakeLayer {
    let server = Arc::clone(server);
    Box::new(move || Box::new(Secured { server: Arc::clone(&server), phase: Phase::Hello(Vec::new()) }))
}

impl Secured {
    fn begin(&mut self, id: Option<Identity>, psk: Option<Psk>, first: Vec<u8>) {
        self.phase = match self.server.connection(id, psk) {
            Ok(connection) => Phase::Begun(Box::new(connection), first),
            Err(_) => Phase::Lost,
        };
    }
}

impl Layer for Secured {
    fn take(&mut self, octets: &[u8], room: &mut [u8], out: &mut Vec<u8>) -> Result<Passed, LayerEnd> {
        let waits = Ok(Passed { octets: 0, more: false });
        match &mut self.phase {
            Phase::Begun(connection, first) => {
                let held = core::mem::take(first);
                let taken = if held.is_empty() {
                    connection.take(octets, room, out)
                } else {
                    connection.take(&[&held, octets].concat(), room, out)
                };
                taken.map(|taken| Passed { octets: taken.plain, more: taken.more }).map_err(index)
            }
            Phase::Hello(first) => {
                first.extend_from_slice(octets);
                let Some(offer) = hello::read(first).map_err(index)? else { return waits };
                let first = core::mem::take(first);
                match offer.id {
                    Some(id) => self.phase = Phase::Asking(id, first),
                    None => {
                        self.begin(None, None, first);
                        return Ok(Passed { octets: 0, more: true });
                    }
                }
                waits
            }
            Phase::Asking(_, first) => {
                first.extend_from_slice(octets);
                waits
            }
            Phase::Lost => Err(index(Ended::Memory)),
        }
    }

    fn put(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), LayerEnd> {
        match &mut self.phase {
            Phase::Begun(connection, _) => connection.put(octets, out).map_err(index),
            Phase::Hello(_) | Phase::Asking(..) | Phase::Lost => Err(index(Ended::Refused)),
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if let Phase::Begun(connection, _) = &mut self.phase {
            connection.close(out);
        }
    }

    fn asks(&self) -> Option<u128> {
        match &self.phase {
            Phase::Asking(id, _) => Some(u128::from_be_bytes(id.0)),
            Phase::Hello(_) | Phase::Begun(..) | Phase::Lost => None,
        }
    }

    fn answer(&mut self, secret: Option<&[u8; 32]>) {
        if let Phase::Asking(id, first) = &mut self.phase {
            let (id, first) = (*id, core::mem::take(first));
            self.begin(Some(id), secret.map(|secret| Psk::new(*secret)), first);
        }
    }

    fn is_open(&self) -> bool {
        matches!(&self.phase, Phase::Begun(connection, _) if connection.is_established())
    }
}

/// The number of a reason, for the streams' counters; [`tally`] has the names.
const fn index(ended: Ended) -> LayerEnd {
    LayerEnd(match ended {
        Ended::Closed => 0,
        Ended::Alert(_) => 1,
        Ended::NotTls => 2,
        Ended::Hello => 3,
        Ended::Unproven => 4,
        Ended::Refused => 5,
        Ended::Broken => 6,
        Ended::Long => 7,
        Ended::Flood => 8,
        Ended::Slow => 9,
        Ended::Memory => 10,
    })
}

/// Gives the streams' numbers their names.
pub(crate) fn tally(to: &mut WorkerCounters, from: &StreamCounters) {
    let [closed, alert, not_tls, hello, unproven, refused, broken, long, flood, slow, memory, ..] = from.layer;
    (to.tls_closed, to.tls_alert, to.tls_not_tls, to.tls_bad_hello) = (closed, alert, not_tls, hello);
    (to.tls_unproven, to.tls_refused, to.tls_broken) = (unproven, refused, broken);
    (to.tls_long, to.tls_flood, to.tls_slow, to.tls_memory) = (long, flood, slow, memory);
    (to.tls_late, to.stream_finished) = (from.opening_late, from.finished);
}

/// What another worker brings its connections to this one by.
#[derive(Clone)]
pub(crate) struct Neighbour {
    pub(crate) arrivals: Arc<ArrayQueue<Departing>>,
    pub(crate) bell: Arc<Bell>,
}

impl Neighbour {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { arrivals: Arc::new(ArrayQueue::new(WAITING)), bell }
    }
}

/// All workers' queues, and which of them is this one's.
pub(crate) struct Neighbours {
    pub(crate) all: Arc<[Neighbour]>,
    pub(crate) own: u8,
}

impl Neighbours {
    fn own(&self) -> Option<&Neighbour> {
        self.all.get(usize::from(self.own))
    }

    /// True when no connection waits for this worker.
    pub(crate) fn is_empty(&self) -> bool {
        self.own().is_none_or(|own| own.arrivals.is_empty())
    }

    /// Takes over what other workers brought; returns how many connections came.
    pub(crate) fn adopt(&self, now: Now, registry: &Registry, handler: &mut impl Handler, out: &mut Outputs) -> usize {
        let mut came = 0;
        while let Some(departing) = self.own().filter(|_| came < WAITING).and_then(|own| own.arrivals.pop()) {
            came += 1;
            let name = departing.asks();
            if let (Some(conn), Some(name)) = (out.streams.adopt(registry, departing, now.mono_ms), name) {
                look_up(conn, name, handler, out);
            }
        }
        came
    }

    /// A connection's ClientHello named a session: brings the connection to the worker that would hold it, or looks the
    /// session up.
    pub(crate) fn asked(
        &self,
        registry: &Registry,
        (conn, name): (u32, u128),
        handler: &mut impl Handler,
        out: &mut Outputs,
    ) {
        let owner = Identity(name.to_be_bytes()).worker(u8::try_from(self.all.len()).unwrap_or(u8::MAX));
        if owner == self.own {
            return look_up(conn, name, handler, out);
        }
        let Some(to) = self.all.get(usize::from(owner)) else { return };
        let Some(departing) = out.streams.release(registry, conn) else { return };
        match to.arrivals.push(departing) {
            Ok(()) => {
                out.counters.tls_handed_over += 1;
                to.bell.ring();
            }
            // Dropped, and so closed: its peer will try again.
            Err(_) => out.counters.tls_hand_over_full += 1,
        }
    }
}

fn look_up(conn: u32, name: u128, handler: &mut impl Handler, out: &mut Outputs) {
    let found = handler.tls_session(&Identity(name.to_be_bytes()));
    let (kid, psk) = found.unzip();
    out.streams.mark(conn, kid.unwrap_or_default());
    out.streams.answer(conn, psk.as_ref().map(Psk::expose));
}
