//! Connections of mechanism `tls`, as the simulator carries them: the real ends of `portunus_channel::tls` and the real
//! framing on a wire that keeps the order of octets, as TCP does. OpenSSL draws its own randomness, so the octets of a
//! record differ from run to run; how many they are, when they pass and what becomes of them does not, and nothing else
//! is ever looked at. So a number still is a whole run.

use crate::proxy::{Out, Proxy};
use core::net::SocketAddr;
use portunus_channel::tls::{Connection, Ended, Limits, Server, hello};
use portunus_engine::{Meta, Packet};
use portunus_keydist::Now;
use portunus_signalling::Protocol;
use portunus_sip::frame::{Frame, Framer};
use std::collections::BTreeMap;

/// Octets of plaintext taken at once.
const ROOM: usize = 8_192;
/// Octets of a TPKT header (RFC 1006 section 6): version 3, reserved, length of the packet with its header.
const TPKT: usize = 4;

/// Octets under way on a connection.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The connection.
    pub conn: u32,
    /// The client's address.
    pub client: SocketAddr,
    /// The proxy's listener.
    pub server: SocketAddr,
    /// True towards the proxy.
    pub up: bool,
    /// The first ones of the connection.
    pub opens: bool,
    /// The octets.
    pub bytes: Vec<u8>,
    /// Nothing follows them.
    pub ends: bool,
}

impl Segment {
    /// What answers on the same connection.
    pub fn back(&self, bytes: Vec<u8>, ends: bool) -> Self {
        Self { up: !self.up, opens: false, bytes, ends, ..*self }
    }
}

/// How messages are told apart on a stream.
enum Framing {
    /// By Content-Length.
    Sip(Framer),
    /// By packets of RFC 1006, as H.248.1 annex D.2 asks for.
    Tpkt,
}

/// One end of a connection: messages in, octets out, and the reverse.
pub struct Line {
    tls: Connection,
    inward: Vec<u8>,
    framing: Framing,
}

impl Line {
    /// Over this connection.
    pub fn new(tls: Connection, protocol: Protocol) -> Self {
        let framing = if protocol == Protocol::Sip { Framing::Sip(Framer::new()) } else { Framing::Tpkt };
        Self { tls, inward: Vec::new(), framing }
    }

    /// The client's first octets.
    pub fn start(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        // What is wrong with it shows when nothing comes of it.
        let _ = self.tls.start(&mut out);
        out
    }

    /// True once messages may pass.
    pub fn is_open(&self) -> bool {
        self.tls.is_established()
    }

    /// Takes the peer's octets: the messages in them, and whether the connection lives on.
    pub fn take(&mut self, octets: &[u8], out: &mut Vec<u8>) -> (Vec<Vec<u8>>, bool) {
        let (mut messages, mut shown) = (Vec::new(), octets);
        loop {
            let mut room = [0u8; ROOM];
            let taken = self.tls.take(shown, &mut room, out);
            shown = &[];
            let Ok(taken) = taken else { return (messages, false) };
            self.inward.extend_from_slice(&room[..taken.plain]);
            loop {
                match self.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(()) => return (messages, false),
                }
            }
            if !taken.more {
                return (messages, true);
            }
        }
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let Framing::Sip(framer) = &mut self.framing else { return self.next_packet() };
        loop {
            match framer.next(&self.inward) {
                Frame::Incomplete => return Ok(None),
                Frame::Message(n) => return Ok(Some(self.inward.drain(..n).collect())),
                Frame::Ping(n) | Frame::Pong(n) => drop(self.inward.drain(..n)),
                Frame::Broken(_) => return Err(()),
            }
        }
    }

    fn next_packet(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let Some((&[version, _, high, low], _)) = self.inward.split_first_chunk::<TPKT>() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if version != 3 || len < TPKT {
            return Err(());
        }
        Ok((self.inward.len() >= len).then(|| self.inward.drain(..len).skip(TPKT).collect()))
    }

    /// The protected form of a message.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn put(&mut self, message: &[u8]) -> Result<Vec<u8>, Ended> {
        let mut framed = match self.framing {
            Framing::Sip(_) => Vec::new(),
            Framing::Tpkt => {
                let len = u16::try_from(message.len() + TPKT).map_err(|_| Ended::Slow)?.to_be_bytes();
                vec![3, 0, len[0], len[1]]
            }
        };
        framed.extend_from_slice(message);
        let mut out = Vec::new();
        self.tls.put(&framed, &mut out)?;
        Ok(out)
    }

    /// Says that nothing follows.
    pub fn close(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.tls.close(&mut out);
        out
    }
}

/// How far a connection has come at its proxy.
enum Phase {
    /// The first octets, of a ClientHello that is not complete.
    Hello(Vec<u8>),
    /// OpenSSL has it. The session that its ClientHello named, 0 for none, and whether the engine has heard that the
    /// handshake succeeded.
    Begun { line: Line, kid: u64, told: bool },
}

struct End {
    phase: Phase,
    meta: Meta,
    worker: usize,
    protocol: Protocol,
    client: SocketAddr,
    server: SocketAddr,
}

impl End {
    fn back(&self, bytes: Vec<u8>, ends: bool) -> Segment {
        let (client, server) = (self.client, self.server);
        Segment { conn: self.meta.conn, client, server, up: false, opens: false, bytes, ends }
    }
}

/// The connections of a proxy process, whichever of its workers holds them.
pub struct Connections {
    tls: Server,
    ends: BTreeMap<u32, End>,
}

impl Connections {
    /// None yet.
    pub fn new() -> Self {
        match Server::new(Limits::default()) {
            Ok(tls) => Self { tls, ends: BTreeMap::new() },
            Err(e) => panic!("OpenSSL of this build: {e}"),
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

impl Proxy {
    /// Octets came on a connection to a listener of `tls` that speaks this protocol.
    pub fn stream(&mut self, now: Now, segment: &Segment, (listener, protocol): (u8, Protocol)) -> Out {
        let mut out = Out::default();
        if segment.opens {
            let meta = Meta { source: segment.client, listener, conn: segment.conn };
            let (client, server) = (segment.client, segment.server);
            let end = End { phase: Phase::Hello(Vec::new()), meta, worker: 0, protocol, client, server };
            self.streams.ends.insert(segment.conn, end);
        }
        if !self.streams.ends.contains_key(&segment.conn) {
            if !segment.ends {
                out.segments.push(segment.back(Vec::new(), true));
            }
            return out;
        }
        let alive = !segment.bytes.is_empty() && self.stream_octets(now, segment, &mut out);
        let alive = (alive || segment.bytes.is_empty()) && !segment.ends;
        if !alive {
            self.stream_gone(segment.conn, !segment.ends, &mut out);
        }
        out
    }

    /// False: the connection is over.
    fn stream_octets(&mut self, now: Now, segment: &Segment, out: &mut Out) -> bool {
        let mut octets = segment.bytes.clone();
        let Some(end) = self.streams.ends.get_mut(&segment.conn) else { return false };
        if let Phase::Hello(first) = &mut end.phase {
            first.extend_from_slice(&octets);
            let Ok(offer) = hello::read(first) else { return false };
            let Some(offer) = offer else { return true };
            octets = core::mem::take(first);
            // As among real workers: the one that the identity names looks the session up.
            let workers = self.engines.len() as u8;
            end.worker = offer.id.map_or(0, |id| usize::from(id.worker(workers)));
            let engine = self.engines.get_mut(end.worker);
            let found = offer.id.and_then(|id| engine?.tls_session(&id));
            let (kid, psk) = found.unzip();
            let Ok(connection) = self.streams.tls.connection(offer.id, psk) else { return false };
            let line = Line::new(connection, end.protocol);
            end.phase = Phase::Begun { line, kid: kid.unwrap_or_default(), told: false };
        }
        let Phase::Begun { line, kid, told } = &mut end.phase else { return false };
        let mut reply = Vec::new();
        let (messages, alive) = line.take(&octets, &mut reply);
        let opened = line.is_open() && !core::mem::replace(told, line.is_open());
        let (kid, meta, worker) = (*kid, end.meta, end.worker);
        if !reply.is_empty() {
            let segment = end.back(reply, false);
            out.segments.push(segment);
        }
        if opened {
            out.opened.push(segment.conn);
            let secured = self.with_engine(now, worker, out, |engine, sink| engine.on_secured(now, kid, &meta, sink));
            if secured != Some(true) {
                return false;
            }
        }
        for mut message in messages {
            out.inside.push((segment.conn, message.clone()));
            let packets = &mut [Packet { meta, bytes: &mut message }];
            self.with_engine(now, worker, out, |engine, sink| engine.on_inside(now, kid, packets, sink));
        }
        alive && self.streams.ends.contains_key(&segment.conn)
    }

    /// A connection is over; `says`: the proxy is the one who ends it.
    fn stream_gone(&mut self, conn: u32, says: bool, out: &mut Out) {
        let Some(mut end) = self.streams.ends.remove(&conn) else { return };
        let mut last = Vec::new();
        if let Phase::Begun { line, kid, told } = &mut end.phase {
            if let (true, Some(engine)) = (*told, self.engines.get_mut(end.worker)) {
                engine.on_connection_gone(*kid, conn);
            }
            last = line.close();
        }
        if says {
            let segment = end.back(last, true);
            out.segments.push(segment);
        }
    }

    /// True while messages may pass on a connection.
    pub fn is_wired(&self, conn: u32) -> bool {
        let end = self.streams.ends.get(&conn);
        end.is_some_and(|end| matches!(end.phase, Phase::Begun { told: true, .. }))
    }

    /// The engine sends on a connection.
    pub(crate) fn stream_send(&mut self, conn: u32, message: Vec<u8>, out: &mut Out) {
        let Some(end) = self.streams.ends.get_mut(&conn) else { return };
        let Phase::Begun { line, .. } = &mut end.phase else { return };
        match line.put(&message) {
            Ok(octets) => {
                let segment = end.back(octets, false);
                out.segments.push(segment);
                out.outside.push((conn, message));
            }
            Err(_) => self.stream_gone(conn, true, out),
        }
    }

    /// The engine closes a connection.
    pub(crate) fn stream_end(&mut self, conn: u32, out: &mut Out) {
        self.stream_gone(conn, true, out);
    }
}
