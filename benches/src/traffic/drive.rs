//! Requests in closed loop: every terminal has one under way and asks again when it has its reply.

use super::callers::Callers;
use crate::keys::{REALM, identity};
use core::net::SocketAddr;
use core::time::Duration;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use portunus_io::listen::{self, Buffers};
use portunus_io::{Batch, Rx as _, Tx as _, UdpPort};
use portunus_keydist::Now;
use portunus_terminal::sip::Transmit;
use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const SOCKETS: usize = 8;
const BATCH: usize = 64;
const MESSAGE_MAX: usize = 4_096;
/// A request without a reply is asked again after this.
const REPEAT: Duration = Duration::from_millis(500);
/// Highest latency told apart, microseconds.
const SLOWEST_US: u64 = 60_000_000;

/// What came of a slice.
pub(super) struct Done {
    pub(super) answered: u32,
    pub(super) repeated: u32,
    pub(super) elapsed: Duration,
    pub(super) latency_us: Histogram<u64>,
}

struct Socket {
    port: UdpPort,
    local: SocketAddr,
    tx: Batch,
    ready: bool,
}

/// Terminals behind sockets.
pub(super) struct Drive {
    callers: Callers,
    terminals: usize,
    sockets: Vec<Socket>,
    poll: Poll,
    start: Instant,
    /// When each terminal asked; `None` when it awaits nothing.
    asked: Vec<Option<Instant>>,
    said: u64,
}

/// A request as a terminal at `local` sends it: some 600 octets.
pub(super) fn request(n: usize, serial: u64, local: SocketAddr) -> String {
    let idc = identity(n as u64);
    format!(
        "MESSAGE sip:peer@{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{serial:016x};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{idc}>;tag={n:08x}\r\nTo: <sip:peer@{REALM}>\r\n\
         Call-ID: {n:08x}-{serial:016x}\r\nCSeq: 1 MESSAGE\r\nUser-Agent: bench/1.0\r\nContent-Type: text/plain\r\n\
         Content-Length: 160\r\n\r\n{:x<160}",
        ""
    )
}

impl Drive {
    /// So many terminals behind some sockets of 127.0.0.1.
    pub(super) fn new(callers: Callers, terminals: u32) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::new();
        for i in 0..SOCKETS {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let mut port = UdpPort::new(listen::udp(any, Buffers { receive: 8 << 20, send: 8 << 20 })?, BATCH);
            poll.registry().register(&mut port, Token(i), Interest::READABLE)?;
            let local = port.local_addr()?;
            sockets.push(Socket { port, local, tx: Batch::new(BATCH, MESSAGE_MAX), ready: true });
        }
        let terminals = terminals.max(1) as usize;
        Ok(Self { callers, terminals, sockets, poll, start: Instant::now(), asked: vec![None; terminals], said: 0 })
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.start.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }

    fn send(&mut self, n: usize, to: SocketAddr, octets: &[u8]) {
        let Some(socket) = self.sockets.get_mut(n % SOCKETS) else { return };
        if socket.tx.is_full() {
            let _ = socket.port.send(&mut socket.tx);
        }
        // What a full socket does not take is asked again.
        socket.tx.push(to, octets);
    }

    fn send_all(&mut self, out: Vec<(usize, Transmit)>) {
        out.into_iter().for_each(|(n, sent)| self.send(n, sent.to, &sent.octets));
    }

    /// Registers all terminals, where they have anybody to register with.
    pub(super) fn register(&mut self, limit: Duration) -> io::Result<()> {
        let until = Instant::now() + limit;
        let mut started = 0;
        loop {
            let now = self.now();
            let Callers::Agreed(agreed) = &mut self.callers else { return Ok(()) };
            let active = agreed.active();
            if active == self.terminals {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!("{active} of {} terminals registered", self.terminals)));
            }
            let mut out = agreed.on_timer(now);
            while started < self.terminals && started < active + 64 {
                let local = self.sockets.get(started % SOCKETS).map(|s| s.local).ok_or(io::ErrorKind::NotFound)?;
                let first = agreed.start(now, local).ok_or(io::ErrorKind::InvalidInput)?;
                out.extend(first.into_iter().map(|t| (started, t)));
                started += 1;
            }
            self.send_all(out);
            self.turn(&mut |_, _| {})?;
        }
    }

    /// Sends what waits, and takes what has come; `replied` hears of each terminal that got its reply.
    fn turn(&mut self, replied: &mut dyn FnMut(&mut Self, usize)) -> io::Result<()> {
        for socket in &mut self.sockets {
            let _ = socket.port.send(&mut socket.tx);
        }
        if !self.sockets.iter().any(|s| s.ready) {
            let mut events = Events::with_capacity(SOCKETS);
            self.poll.poll(&mut events, Some(Duration::from_millis(20)))?;
            for event in events.iter() {
                if let Some(socket) = self.sockets.get_mut(event.token().0) {
                    socket.ready = true;
                }
            }
        }
        let mut rx = Batch::new(BATCH, MESSAGE_MAX);
        for i in 0..SOCKETS {
            let Some(socket) = self.sockets.get_mut(i).filter(|s| s.ready) else { continue };
            rx.clear();
            socket.ready = !socket.port.recv(&mut rx).map(|r| r.drained).unwrap_or(true);
            let now = self.now();
            let mut answered = Vec::new();
            for (from, octets) in rx.iter_mut() {
                let (reply, out) = self.callers.take(now, from, octets);
                answered.extend(reply);
                self.send_all(out);
            }
            answered.into_iter().for_each(|n| replied(self, n));
        }
        Ok(())
    }

    fn ask(&mut self, n: usize) {
        self.said += 1;
        let Some(local) = self.sockets.get(n % SOCKETS).map(|s| s.local) else { return };
        let text = request(n, self.said, local);
        let now = self.now();
        if let Some((to, octets)) = self.callers.seal(now, n, text.as_bytes()) {
            self.send(n, to, &octets);
        }
        if let Some(place) = self.asked.get_mut(n) {
            *place = Some(Instant::now());
        }
    }

    /// So many requests and their replies.
    pub(super) fn exchange(&mut self, requests: u32, limit: Duration) -> io::Result<Done> {
        let mut latency_us = Histogram::new_with_bounds(1, SLOWEST_US, 3).map_err(io::Error::other)?;
        latency_us.auto(true);
        let (began, mut answered, mut asked, mut repeated) = (Instant::now(), 0, 0, 0);
        self.asked.iter_mut().for_each(|place| *place = None);
        for n in 0..self.terminals.min(requests as usize) {
            self.ask(n);
            asked += 1;
        }
        while answered < requests && began.elapsed() < limit {
            self.turn(&mut |drive, n| {
                // A reply that comes twice answers nothing the second time.
                let Some(since) = drive.asked.get_mut(n).and_then(Option::take) else { return };
                latency_us.saturating_record(since.elapsed().as_micros() as u64);
                answered += 1;
                if asked < requests {
                    asked += 1;
                    drive.ask(n);
                }
            })?;
            for n in 0..self.terminals {
                if self.asked.get(n).copied().flatten().is_some_and(|since| since.elapsed() > REPEAT) {
                    repeated += 1;
                    self.ask(n);
                }
            }
        }
        Ok(Done { answered, repeated, elapsed: began.elapsed(), latency_us })
    }
}
