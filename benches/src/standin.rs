//! The core that stands behind every element of a measurement, on a thread of its own: fast, with real vectors, so
//! that neither a softswitch's nor an AuC's cost hides what is measured.
//!
//! Three ways of being asked, told apart by the socket and the message:
//! - behind the proxy it gets s2 and s8 and answers s5 and s9, as softswitch and AuC do;
//! - behind a plain SIP proxy (Kamailio) it gets s1 and s7 as terminals sent them, with that proxy's Via and Path on
//!   top. Such a proxy does not speak PKD1, so the stand-in is signalling proxy and core in one and answers s6 and s10;
//!   since the terminal checks a MAC over s10 as it arrives, the MAC leaves out the Via that is removed on the way;
//! - behind a floor it gets s1 and s7 with a trailer (or, from the node's threads, a label) and answers s6 and s10 with
//!   the same.
//!
//! One stand-in speaks one protocol; receipts of commands (MGCP, H.248) it writes before the step that follows.

use crate::floor::{Trailer, trailer};
use crate::keys::{IDSP, REALM, key_of};
use crate::traffic::floor::{self, TRAFFIC};
use core::net::SocketAddr;
use core::time::Duration;
use mio::{Events, Interest, Poll, Token};
use portunus_codec::Writer;
use portunus_io::listen::{self, Buffers};
use portunus_io::{Batch, Rx as _, Tx as _, UdpPort};
use portunus_keydist::Now;
use portunus_signalling::Protocol;
use portunus_sip::view::{Message, Name};
use portunus_terminal::farend::{Core, Did, FarEnd};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const BATCH: usize = 64;
/// Joined datagrams received by one system call.
const JOINED: usize = 16;
const MESSAGE_MAX: usize = 8_192;

/// What it has done.
#[derive(Debug, Default)]
pub struct Counts {
    /// Challenges: s5 or s6.
    pub challenged: AtomicU64,
    /// Registrations granted and thereby stored: s9 or s10.
    pub granted: AtomicU64,
    /// Anything else that was answered.
    pub other: AtomicU64,
    /// Octets of that.
    pub other_octets: AtomicU64,
    /// What nothing could be made of.
    pub dropped: AtomicU64,
}

impl Counts {
    fn count(&self, did: Option<Did>, octets: usize) {
        let counter = match did {
            Some(Did::Challenged) => &self.challenged,
            Some(Did::Granted) => &self.granted,
            Some(_) => {
                self.other_octets.fetch_add(octets as u64, Ordering::Relaxed);
                &self.other
            }
            None => &self.dropped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The stand-in at work; it stops when it is dropped.
#[derive(Debug)]
pub struct StandIn {
    /// Where a proxy of this product sends s2 and s8.
    pub behind_proxy: SocketAddr,
    /// Where plain proxies and floors send what terminals sent.
    pub behind_forwarder: SocketAddr,
    /// What it has done.
    pub counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl StandIn {
    /// Starts it on ephemeral ports of 127.0.0.1, or on `port` and the one after it.
    ///
    /// # Errors
    /// What the system reports.
    pub fn start(protocol: Protocol, port: u16) -> io::Result<Self> {
        let bind =
            |port| listen::udp(SocketAddr::from(([127, 0, 0, 1], port)), Buffers { receive: 16 << 20, send: 8 << 20 });
        // As the softswitch does: its messages and those of the elements before it pass the system joined where they can.
        let open = |port| {
            bind(port).map(|socket| {
                let mut port = UdpPort::new(socket, BATCH);
                port.coalesce();
                port
            })
        };
        let proxied = open(port)?;
        let forwarded = open(if port == 0 { 0 } else { port + 1 })?;
        let (behind_proxy, behind_forwarder) = (proxied.local_addr()?, forwarded.local_addr()?);
        let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&counts), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("stand-in core".into())
            .spawn(move || serve(protocol, proxied, forwarded, &counted, &stopped))?;
        Ok(Self { behind_proxy, behind_forwarder, counts, stop, thread: Some(thread) })
    }

    /// Waits until it ends, which it does by itself only for an error.
    ///
    /// # Errors
    /// That error.
    pub fn join(mut self) -> io::Result<()> {
        self.thread.take().and_then(|t| t.join().ok()).unwrap_or(Ok(()))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn core(protocol: Protocol) -> Core {
    Core::new(REALM, Box::new(|identity| Some(key_of(identity)))).speaking(protocol)
}

fn serve(
    protocol: Protocol,
    mut proxied: UdpPort,
    mut forwarded: UdpPort,
    counts: &Counts,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut proxied, Token(0), Interest::READABLE)?;
    poll.registry().register(&mut forwarded, Token(1), Interest::READABLE)?;
    let core = core(protocol);
    let far = FarEnd::new(self::core(protocol), IDSP, 9, false).ok_or(io::ErrorKind::InvalidInput)?;
    let mut behind = Behind { far, core: self::core(protocol), protocol, trailer: trailer(protocol) };
    let mut events = Events::with_capacity(8);
    let (mut rx, mut tx) = (Batch::coalescing(JOINED), Batch::new(BATCH, MESSAGE_MAX));
    let start = Instant::now();
    let mut ready = [true, true];
    while !stop.load(Ordering::Relaxed) {
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let now = Now { mono_ms: start.elapsed().as_millis() as u64, wall_ms };
        for (i, port) in [&mut proxied, &mut forwarded].into_iter().enumerate() {
            if !ready[i] {
                continue;
            }
            rx.clear();
            ready[i] = !port.recv(&mut rx).map(|r| r.drained).unwrap_or(true);
            for (from, octets) in rx.iter() {
                // What a full socket does not take is lost. A receipt and a step may follow.
                if tx.len() + 2 > BATCH {
                    let _ = port.send(&mut tx);
                    tx.clear();
                }
                if protocol != Protocol::Sip {
                    tx.push_with(from, |room| {
                        let mut w = Writer::new(room);
                        let written = match i {
                            0 => core.receipt(octets, &mut w),
                            _ => behind.receipt(octets, &mut w),
                        };
                        written.then(|| w.finish().ok()).flatten()
                    });
                }
                tx.push_with(from, |room| {
                    let mut w = Writer::new(room);
                    let did = match i {
                        0 => core.on_request(octets, &mut w),
                        _ => behind.forwarder(now, from, octets, &mut w),
                    };
                    counts.count(did, octets.len());
                    did.and_then(|_| w.finish().ok())
                });
            }
            let _ = port.send(&mut tx);
            tx.clear();
        }
        if !ready.contains(&true) {
            poll.poll(&mut events, Some(Duration::from_millis(200)))?;
            for event in events.iter() {
                ready[event.token().0.min(1)] = true;
            }
        }
    }
    Ok(())
}

/// Proxy and core in one, behind what forwards.
struct Behind {
    far: FarEnd,
    /// What answers requests inside sessions that it never sees.
    core: Core,
    protocol: Protocol,
    trailer: usize,
}

impl Behind {
    /// What is said at once to a step that came through a floor.
    fn receipt(&mut self, octets: &[u8], w: &mut Writer<'_>) -> bool {
        let Some((message, trailer)) = Trailer::split(octets, self.trailer) else { return false };
        let written = self.far.receipt(trailer.terminal, message, w);
        w.put(trailer.octets(self.trailer).get(..self.trailer).unwrap_or_default());
        written
    }

    fn forwarder(&mut self, now: Now, from: SocketAddr, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
        // The fill of a longer trailer is no such step.
        if let Some((message, trailer)) = Trailer::split(octets, floor::TRAILER).filter(|(_, t)| t.step == TRAFFIC) {
            let did = self.core.on_request(message, w)?;
            w.put(trailer.octets(floor::TRAILER).get(..floor::TRAILER)?);
            return Some(did);
        }
        if let Some((message, trailer)) = Trailer::split(octets, self.trailer) {
            let did = self.far.on_terminal(now, trailer.terminal, message, w)?;
            let step = if did == Did::Granted { 10 } else { 6 };
            w.put(Trailer { step, ..trailer }.octets(self.trailer).get(..self.trailer)?);
            return Some(did);
        }
        (self.protocol == Protocol::Sip).then(|| behind_forwarder(&mut self.far, now, from, octets, w))?
    }
}

fn behind_forwarder(far: &mut FarEnd, now: Now, from: SocketAddr, octets: &[u8], w: &mut Writer<'_>) -> Option<Did> {
    if let Some((label, message)) = labelled(octets) {
        w.put(label);
        // The message begins behind the label, and its MAC covers the message alone.
        let mut room = [0u8; MESSAGE_MAX];
        let mut answer = Writer::new(&mut room);
        let did = far.on_terminal(now, from, message, &mut answer)?;
        w.put(answer.written());
        return Some(did);
    }
    let (bare, via) = without_forwarder(octets)?;
    let mut room = [0u8; MESSAGE_MAX];
    let mut answer = Writer::new(&mut room);
    // The forwarder noted on the terminal's Via where it heard it; that is where it sends the answer.
    let terminal = Message::parse(&bare).ok()?.via().source().unwrap_or(from);
    let did = match far.on_terminal(now, terminal, &bare, &mut answer) {
        Some(did) => did,
        None => {
            let message = Message::parse(&bare).ok().filter(Message::is_request)?;
            portunus_sip::carriage::core::write_status(&message, "core", 200, "OK", None, &mut answer).ok()?;
            Did::Answered
        }
    };
    let answer = answer.written();
    let line = answer.iter().position(|c| *c == b'\n')? + 1;
    w.put(answer.get(..line)?).put(&via).put(answer.get(line..)?);
    Some(did)
}

/// What the floor in the node's threads sends: its label, which begins with a worker's number, and the message.
fn labelled(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    // No SIP message begins with a control character.
    octets.first().filter(|worker| **worker < b' ')?;
    octets.split_at_checked(portunus_node::floor::LABEL)
}

/// A request as the terminal sent it, and the topmost Via row, which the forwarder added along with Path.
fn without_forwarder(octets: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let message = Message::parse(octets).ok()?;
    let mut bare = Vec::with_capacity(octets.len());
    let mut via = None;
    let mut taken = 0;
    for (name, _, row) in message.headers() {
        let topmost = name == Name::Via && via.is_none();
        if topmost || name == Name::Path {
            bare.extend_from_slice(octets.get(taken..row.start)?);
            taken = row.end;
        }
        if topmost {
            via = Some(octets.get(row)?.to_vec());
        }
    }
    bare.extend_from_slice(octets.get(taken..)?);
    Some((bare, via?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forwarders_rows_come_off_and_the_rest_stays() {
        let bare = "REGISTER sip:a SIP/2.0\r\nVia: SIP/2.0/UDP t;branch=z9hG4bK1\r\nTo: <sip:b@a>\r\nFrom: <sip:b@a>;tag=1\r\n\
                    Call-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
        let via = "Via: SIP/2.0/UDP k;branch=z9hG4bK2\r\n";
        let forwarded = bare.replacen("Via:", &format!("{via}Via:"), 1);
        let forwarded = forwarded.replace("Content-Length: 0\r\n", "Content-Length: 0\r\nPath: <sip:k;lr>\r\n");
        let (b, v) = without_forwarder(forwarded.as_bytes()).unwrap();
        assert_eq!((String::from_utf8(b).unwrap(), String::from_utf8(v).unwrap()), (bare.into(), via.into()));
    }
}
