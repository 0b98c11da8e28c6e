//! A terminal as the simulator runs it: the real terminal, with a clock and an address of its own.

use crate::clock::Clock;
use crate::dialect::{self, Dialect};
use crate::net::{Datagram, addr};
use crate::prng::Prng;
use crate::proxy;
use crate::scenario::Scenario;
use crate::secured::{Line, Segment};
use core::net::SocketAddr;
use portunus_channel::tls::Client;
use portunus_keydist::mech::MechList;
use portunus_keydist::{Key, Now};
use portunus_signalling::Protocol;
use portunus_terminal::sip::SipTerminal;
use portunus_terminal::{AnyTerminal, Event, Path, Profile, Transport};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What came out of a terminal.
#[derive(Debug, Default)]
pub struct Out {
    /// Datagrams.
    pub sends: Vec<Datagram>,
    /// Events.
    pub events: Vec<Event>,
    /// Octets on connections.
    pub segments: Vec<Segment>,
    /// Messages into connections.
    pub outside: Vec<(u32, Vec<u8>)>,
    /// Messages out of connections.
    pub inside: Vec<(u32, Vec<u8>)>,
}

impl Out {
    /// True when nothing at all came of it.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.events.is_empty() && self.segments.is_empty()
    }

    /// What came after it.
    fn append(&mut self, mut later: Self) {
        self.sends.append(&mut later.sends);
        self.events.append(&mut later.events);
        self.segments.append(&mut later.segments);
        self.outside.append(&mut later.outside);
        self.inside.append(&mut later.inside);
    }
}

/// The connection of a session of `tls`.
struct Wire {
    conn: u32,
    server: SocketAddr,
    line: Line,
    told: bool,
}

/// The real terminal. One that speaks SIP can be told what to say to whom.
#[derive(Debug)]
enum Terminal {
    Sip(SipTerminal),
    Other(AnyTerminal),
}

/// Does the same with whichever it is.
macro_rules! each {
    ($terminal:expr, $t:ident => $does:expr) => {
        match $terminal {
            Terminal::Sip($t) => $does,
            Terminal::Other($t) => $does,
        }
    };
}

/// A terminal, and what is fixed about it.
pub struct Phone {
    /// Its number.
    pub index: usize,
    /// Who it is.
    pub idc: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Through which proxy it registers.
    pub proxy: usize,
    /// What it offers, in canonical form.
    pub mechs: String,
    /// Its clock.
    pub clock: Clock,
    /// Where it is seen.
    pub addr: SocketAddr,
    /// How often it has moved.
    moves: u16,
    /// How often it was started.
    starts: u32,
    /// Messages that it sent to others.
    pub said: u32,
    key: Key,
    rng: Prng,
    profile: Arc<Profile>,
    terminal: Option<Terminal>,
    /// By session.
    wires: BTreeMap<u64, Wire>,
}

impl core::fmt::Debug for Phone {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Phone({}, {:?}, {:?}, {:?})", self.idc, self.terminal, self.profile, self.key)
    }
}

/// The name of the `index`-th subscriber, as its protocol spells it.
pub fn name(scenario: &Scenario, index: usize) -> String {
    let dialect = dialect::of(spoken(scenario, index));
    match ["alice", "bob", "carol", "dave", "erin"].get(index) {
        Some(name) => dialect.idc(name),
        None => dialect.idc(&format!("t{index}")),
    }
}

/// What the `index`-th subscriber's terminal speaks.
pub fn spoken(scenario: &Scenario, index: usize) -> Protocol {
    scenario.protocols.get(index).copied().unwrap_or(Protocol::Sip)
}

fn profile(scenario: &Scenario, proxy: usize, protocol: Protocol, mechs: &str) -> Arc<Profile> {
    let (server, idsp) = (addr::access(proxy, protocol), proxy::name(scenario, proxy));
    match Profile::new(server, Transport::Udp, &idsp, "example.test", mechs) {
        Ok(profile) => Arc::new(Profile { expires_s: scenario.expires_s, ..profile.speaking(protocol) }),
        Err(e) => panic!("the simulator's own configuration: {e}"),
    }
}

impl Phone {
    /// A terminal that is switched off: the `who`-th subscriber's, and the `index`-th of all.
    pub fn new(scenario: &Scenario, who: usize, index: usize, key: Key, rng: &mut Prng) -> Self {
        let (proxy, protocol) = (who % scenario.proxies, spoken(scenario, who));
        let mechs = scenario.mechs.get(who).copied().unwrap_or(portunus_terminal::MECHS);
        let canonical = MechList::from_sip(mechs).map(|l| l.as_str().to_owned()).unwrap_or_default();
        let clock = Clock { mono: rng.between(0, 1 << 40), wall: scenario.clock_off.get(who).copied().unwrap_or(0) };
        Self {
            index,
            idc: name(scenario, who),
            protocol,
            proxy,
            mechs: canonical,
            clock,
            addr: addr::public(index, 0),
            moves: 0,
            starts: 0,
            said: 0,
            key,
            rng: rng.fork(),
            profile: profile(scenario, proxy, protocol, mechs),
            terminal: None,
            wires: BTreeMap::new(),
        }
    }

    /// Switches it on: it begins to register.
    pub fn start(&mut self, world_ms: u64) -> Out {
        self.starts += 1;
        let tag = self.index as u32 * 1000 + self.starts;
        let (profile, local) = (self.profile.clone(), addr::local(self.index));
        let (idc, key, rng) = (&self.idc, &self.key, &mut self.rng);
        self.terminal = match self.protocol {
            Protocol::Sip => SipTerminal::new(profile, idc, key, local, tag, rng).map(Terminal::Sip),
            _ => AnyTerminal::any(profile, idc, key, local, tag, rng).map(Terminal::Other),
        };
        self.with(world_ms, |t, now, rng| each!(t, t => t.start(now, rng)))
    }

    /// It uses another proxy from its next start on.
    pub fn roam(&mut self, scenario: &Scenario, proxy: usize) {
        let mechs = self.mechs.replace(' ', ", ");
        (self.proxy, self.profile) = (proxy, profile(scenario, proxy, self.protocol, &mechs));
    }

    /// Switches it off, without a word.
    pub fn crash(&mut self) {
        self.terminal = None;
        self.wires.clear();
    }

    /// It is seen elsewhere from now on.
    pub fn moved(&mut self) {
        self.moves += 1;
        self.addr = addr::public(self.index, self.moves);
    }

    fn with(&mut self, world_ms: u64, f: impl FnOnce(&mut Terminal, Now, &mut Prng)) -> Out {
        let mut out = Out::default();
        let Some(terminal) = &mut self.terminal else { return out };
        f(terminal, self.clock.now(world_ms), &mut self.rng);
        each!(terminal, t => {
            while let Some(event) = t.poll_event() {
                out.events.push(event);
            }
            while let Some(t) = t.poll_transmit() {
                match t.path {
                    Path::Secured { kid } => say(&mut self.wires, kid, self.addr, t.octets, &mut out),
                    Path::Signalling | Path::Sealed => {
                        out.sends.push(Datagram { from: self.addr, to: t.to, bytes: t.octets });
                    }
                }
            }
        });
        out
    }

    /// It opens the connection of a session under this number.
    pub fn connect(&mut self, kid: u64, conn: u32, client: &Client) -> Option<Segment> {
        let (server, id, psk) = each!(self.terminal.as_mut()?, t => t.connection_key(kid))?;
        let mut line = Line::new(client.connection(id, psk).ok()?, self.protocol);
        let bytes = line.start();
        self.wires.insert(kid, Wire { conn, server, line, told: false });
        Some(Segment { conn, client: self.addr, server, up: true, opens: true, bytes, ends: false })
    }

    /// Octets came on a connection.
    pub fn receive_stream(&mut self, world_ms: u64, segment: &Segment) -> Out {
        let Some((kid, wire)) = self.wires.iter_mut().find(|(_, w)| w.conn == segment.conn) else {
            return Out::default();
        };
        let (kid, conn, mut reply) = (*kid, segment.conn, Vec::new());
        let (messages, alive) = match segment.bytes.is_empty() {
            true => (Vec::new(), true),
            false => wire.line.take(&segment.bytes, &mut reply),
        };
        let open = wire.line.is_open();
        let opened = open && !core::mem::replace(&mut wire.told, open);
        let mut out = self.with(world_ms, |t, now, rng| {
            if opened {
                each!(t, t => t.on_secured(now, rng, kid));
            }
        });
        // What it says in answer stands behind the end of its handshake.
        if !reply.is_empty() {
            out.segments.insert(0, segment.back(reply, false));
        }
        for message in messages {
            out.inside.push((conn, message.clone()));
            out.append(self.with(world_ms, |t, now, rng| each!(t, t => t.on_inside(now, rng, kid, &message))));
        }
        if !alive || segment.ends {
            if !segment.ends {
                out.segments.push(segment.back(Vec::new(), true));
            }
            out.append(self.lose(world_ms, kid));
        }
        out
    }

    /// A connection is gone, or could not be had.
    pub fn lose(&mut self, world_ms: u64, kid: u64) -> Out {
        self.wires.remove(&kid);
        self.with(world_ms, |t, now, rng| each!(t, t => t.on_secured_lost(now, rng, kid)))
    }

    /// It has no use for the connection of a session any more.
    pub fn hang_up(&mut self, kid: u64) -> Option<Segment> {
        let mut wire = self.wires.remove(&kid)?;
        let (bytes, client) = (wire.line.close(), self.addr);
        Some(Segment { conn: wire.conn, client, server: wire.server, up: true, opens: false, bytes, ends: true })
    }

    /// What its owner says in a session who does not keep to the rules, where that has a connection.
    pub fn say_inside(&mut self, kid: u64, text: &[u8]) -> Out {
        let mut out = Out::default();
        say(&mut self.wires, kid, self.addr, text.to_vec(), &mut out);
        out
    }

    /// The connection of a session, once messages may pass.
    pub fn open_wire(&self, kid: u64) -> Option<u32> {
        self.wires.get(&kid).filter(|wire| wire.told).map(|wire| wire.conn)
    }

    /// The sessions that have a connection.
    pub fn wired(&self) -> Vec<u64> {
        self.wires.keys().copied().collect()
    }

    /// A datagram reached it.
    pub fn receive(&mut self, world_ms: u64, from: SocketAddr, bytes: &mut [u8]) -> Out {
        self.with(world_ms, |t, now, rng| each!(t, t => t.on_datagram(now, rng, from, bytes)))
    }

    /// Time has passed.
    pub fn timer(&mut self, world_ms: u64) -> Out {
        self.with(world_ms, |t, now, rng| each!(t, t => t.on_timer(now, rng)))
    }

    /// It ends its registration.
    pub fn leave(&mut self, world_ms: u64) -> Out {
        self.with(world_ms, |t, now, rng| _ = each!(t, t => t.deregister(now, rng)))
    }

    /// Its subscriber does something: one of a SIP phone's says something to somebody, or calls; another one's lifts the
    /// receiver, or puts it down.
    pub fn say(&mut self, world_ms: u64, method: &str, target: &str, body: &[u8]) -> Out {
        self.with(world_ms, |t, now, rng| match (t, method) {
            (Terminal::Sip(t), "BYE") => _ = t.hang_up(now, rng),
            (Terminal::Sip(t), "OPTIONS") => _ = t.send_request(now, rng, method, target, b""),
            (Terminal::Sip(t), _) => _ = t.send_request(now, rng, method, target, body),
            (Terminal::Other(t), _) => _ = t.probe(now, rng),
        })
    }

    /// When time matters next, in the world's time.
    pub fn deadline(&self) -> Option<u64> {
        let (at, _) = each!(self.terminal.as_ref()?, t => t.next_deadline())?;
        Some(self.clock.world(at))
    }

    /// The handle of its active session.
    pub fn active(&self) -> Option<u64> {
        each!(self.terminal.as_ref()?, t => t.kid())
    }

    /// How it spells what it says.
    pub fn dialect(&self) -> &'static dyn Dialect {
        dialect::of(self.protocol)
    }
}

/// Says something on the connection of a session.
fn say(wires: &mut BTreeMap<u64, Wire>, kid: u64, client: SocketAddr, message: Vec<u8>, out: &mut Out) {
    let Some(Wire { conn, server, line, .. }) = wires.get_mut(&kid) else { return };
    if let Ok(bytes) = line.put(&message) {
        let (conn, server) = (*conn, *server);
        out.segments.push(Segment { conn, client, server, up: true, opens: false, bytes, ends: false });
        out.outside.push((conn, message));
    }
}
