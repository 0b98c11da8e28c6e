//! A connection's way: octets in their order, sent again where they are lost, and what becomes of a connection whose end
//! crashes or moves. Attackers on the path change octets and break connections off; elsewhere they say again what they
//! have heard.

use super::{Event, World, column};
use crate::ladder::Fate;
use crate::net::{addr, link};
use crate::phone;
use crate::proxy;
use crate::secured::Segment;
use core::net::SocketAddr;
use portunus_channel::tls::{Client, Limits};
use std::collections::BTreeMap;

/// A connection of a terminal's.
struct Wire {
    phone: usize,
    proxy: usize,
    client: SocketAddr,
    server: SocketAddr,
    /// When the last octets of each way arrive.
    arrives: [u64; 2],
}

/// All connections.
pub(super) struct Streams {
    client: Client,
    wires: BTreeMap<u32, Wire>,
    last: u32,
    /// First octets of connections, as anybody on the path heard them.
    heard: Vec<Segment>,
}

/// Openings remembered.
const HEARD: usize = 20;

impl Streams {
    pub(super) fn new() -> Self {
        match Client::new(Limits::default()) {
            Ok(client) => Self { client, wires: BTreeMap::new(), last: 0, heard: Vec::new() },
            Err(e) => panic!("OpenSSL of this build: {e}"),
        }
    }
}

impl World {
    /// A terminal wants a connection for a session.
    pub(super) fn connect(&mut self, i: usize, kid: u64) {
        self.streams.last += 1;
        let conn = self.streams.last;
        self.oracle.connects(&self.phones[i], kid, conn);
        let Some(segment) = self.phones[i].connect(kid, conn, &self.streams.client) else { return };
        let (client, server) = (segment.client, segment.server);
        let Some(proxy) = addr::proxy_of(server) else { return };
        self.streams.wires.insert(conn, Wire { phone: i, proxy, client, server, arrives: [0; 2] });
        if self.streams.heard.len() < HEARD {
            self.streams.heard.push(segment.clone());
        }
        self.send_segment(segment);
    }

    /// A terminal has no use for the connection of a session any more.
    pub(super) fn hang_up(&mut self, i: usize, kid: u64) {
        if let Some(segment) = self.phones[i].hang_up(kid) {
            self.send_segment(segment);
        }
    }

    /// What terminals say and hear inside connections.
    pub(super) fn phone_streams(&mut self, out: &phone::Out) {
        for (conn, message) in &out.inside {
            self.oracle.stream_heard(*conn, false, message);
        }
        for (conn, message) in &out.outside {
            self.oracle.stream_said(*conn, true, message);
        }
    }

    /// What proxies say and hear there.
    pub(super) fn proxy_streams(&mut self, out: &proxy::Out) {
        for conn in &out.opened {
            self.oracle.secured(*conn);
        }
        for (conn, message) in &out.inside {
            self.oracle.stream_heard(*conn, true, message);
        }
        for (conn, message) in &out.outside {
            self.oracle.stream_said(*conn, false, message);
        }
    }

    /// Somebody sends on a connection.
    pub(super) fn send_segment(&mut self, mut segment: Segment) {
        self.oracle.look("a connection", &segment.bytes);
        let mut fate = Fate::Arrives;
        if !self.calm() && self.rng.chance(self.scenario.malice.edit / 3) && self.tamper(&mut segment) {
            fate = Fate::Edited;
        }
        let Some(wire) = self.streams.wires.get(&segment.conn) else { return };
        let kind = link(wire.client, wire.server);
        let after = self.now_ms + self.net.delay(self.now_ms, &self.scenario, kind);
        let Some(wire) = self.streams.wires.get_mut(&segment.conn) else { return };
        let last = &mut wire.arrives[usize::from(segment.up)];
        *last = after.max(*last);
        let at = *last;
        self.draw_segment(&segment, fate);
        self.at(at, Event::Stream(segment));
    }

    /// Somebody on the path changes a bit, cuts octets off, or breaks the connection off.
    fn tamper(&mut self, segment: &mut Segment) -> bool {
        let len = segment.bytes.len() as u64;
        if len == 0 {
            return false;
        }
        match self.rng.between(0, 2) {
            0 => {
                let (at, bit) = (self.rng.between(0, len - 1), self.rng.between(0, 7));
                if let Some(octet) = segment.bytes.get_mut(at as usize) {
                    *octet ^= 1 << bit;
                }
            }
            1 => segment.bytes.truncate(self.rng.between(0, len - 1) as usize),
            _ => {
                segment.bytes.clear();
                segment.ends = true;
            }
        }
        true
    }

    fn draw_segment(&mut self, segment: &Segment, fate: Fate) {
        if self.ladder.is_on() {
            let Segment { conn, bytes, opens, ends, .. } = segment;
            let (first, last) = (if *opens { " opens" } else { "" }, if *ends { " ends" } else { "" });
            let text = format!("tls {conn}: {} octets{first}{last} {fate:?}", bytes.len());
            let p = addr::proxy_of(segment.server).unwrap_or_default();
            let who = match (segment.up, self.streams.wires.get(conn)) {
                (true, Some(wire)) => column(&self.phones[wire.phone].idc),
                _ => column(&proxy::name(&self.scenario, p)),
            };
            self.ladder.note(self.now_ms, &who, text);
        }
    }

    /// Octets arrive at an end.
    pub(super) fn stream_arrives(&mut self, segment: &Segment) {
        self.delivered += 1;
        if segment.up {
            let Some(p) = addr::proxy_of(segment.server) else { return };
            if self.mute.get(&p).is_some_and(|until| *until > self.now_ms) {
                return;
            }
            let now = self.proxies[p].clock.now(self.now_ms);
            match self.proxies[p].it.as_mut() {
                Some(proxy) => {
                    let out = proxy.receive_stream(now, segment);
                    self.proxy_out(p, Some(out));
                }
                // Nobody listens.
                None if !segment.ends => self.send_segment(segment.back(Vec::new(), true)),
                None => {}
            }
            return;
        }
        let Some(wire) = self.streams.wires.get(&segment.conn) else { return };
        let i = wire.phone;
        if self.phones[i].addr != wire.client {
            return;
        }
        if segment.ends {
            self.streams.wires.remove(&segment.conn);
        }
        let out = self.phones[i].receive_stream(self.now_ms, segment);
        self.phone_out(i, out, &[]);
    }

    /// A proxy process is no more: its host ends its connections.
    pub(super) fn streams_end(&mut self, p: usize) {
        let own = self.streams.wires.iter().filter(|(_, wire)| wire.proxy == p);
        let ends: Vec<Segment> = own
            .map(|(conn, wire)| {
                let (client, server) = (wire.client, wire.server);
                Segment { conn: *conn, client, server, up: false, opens: false, bytes: Vec::new(), ends: true }
            })
            .collect();
        for segment in ends {
            self.send_segment(segment);
        }
    }

    /// A terminal is seen elsewhere: its connections lead nowhere. It notices; the proxy does not.
    pub(super) fn streams_break(&mut self, i: usize) {
        for kid in self.phones[i].wired() {
            let out = self.phones[i].lose(self.now_ms, kid);
            self.phone_out(i, out, &[]);
        }
    }

    /// An attacker says from its own address what it heard a terminal open a connection with, or something else.
    pub(super) fn dial(&mut self) {
        let heard = self.rng.between(0, HEARD as u64 - 1) as usize;
        let Some(mut segment) = self.streams.heard.get(heard).cloned() else { return };
        self.streams.last += 1;
        (segment.conn, segment.client) = (self.streams.last, addr::attacker(9));
        if self.rng.chance(400) {
            self.tamper(&mut segment);
        }
        self.draw_segment(&segment, Fate::Forged);
        self.at(self.now_ms, Event::Stream(segment));
    }
}
