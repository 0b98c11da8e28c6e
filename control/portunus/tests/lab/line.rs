//! One terminal of the project's on a socket of its own, driven step by step: for tests that look at what it is told.

use portunus_keydist::mech::Mech;
use portunus_keydist::{Key, Now, SystemRandom};
use portunus_signalling::Protocol;
use portunus_terminal::agent::Agent;
use portunus_terminal::{Endpoint, Event, Path, Profile, Transport, offering};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest sleep, so that others have their turn.
const NAP: Duration = Duration::from_millis(10);

pub struct Line<A> {
    pub terminal: Endpoint<A>,
    pub rng: SystemRandom,
    /// What it was told so far.
    pub events: Vec<Event>,
    /// What it wants sent inside the connection of its session, where its mechanism is `tls`.
    pub inside: Vec<Vec<u8>>,
    socket: UdpSocket,
    began: Instant,
}

impl<A: Agent> Line<A> {
    /// A terminal that begins to register.
    pub fn start(protocol: Protocol, server: SocketAddr, idsp: &str, who: (&str, &Key), agent: A) -> Self {
        Self::offering(Mech::Sealed, protocol, (server, idsp), who, agent)
    }

    /// The same, offering this mechanism.
    pub fn offering(
        mech: Mech,
        protocol: Protocol,
        (server, idsp): (SocketAddr, &str),
        who: (&str, &Key),
        agent: A,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(NAP)).expect("set");
        let local = socket.local_addr().expect("its address");
        let mechs = offering(mech);
        let realm = who.0.rsplit_once('@').map_or("example.test", |(_, host)| host);
        let profile = Profile::new(server, Transport::Udp, idsp, realm, &mechs).expect("a profile");
        let profile = Arc::new(profile.speaking(protocol));
        let terminal = Endpoint::with(agent, profile, who.0, who.1, local, 1).expect("a terminal");
        let (events, inside, began) = (vec![], vec![], Instant::now());
        let mut line = Self { terminal, rng: SystemRandom::new(), events, inside, socket, began };
        let now = line.now();
        line.terminal.start(now, &mut line.rng);
        line
    }

    /// Its address.
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("its address")
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
        Now { mono_ms: self.began.elapsed().as_millis() as u64, wall_ms: wall as u64 }
    }

    /// Sends what is to be sent, and takes what comes within a moment.
    pub fn turn(&mut self) {
        let mut room = [0; 9_000];
        loop {
            let now = self.now();
            self.terminal.on_timer(now, &mut self.rng);
            while let Some(out) = self.terminal.poll_transmit() {
                match out.path {
                    Path::Secured { .. } => self.inside.push(out.octets),
                    Path::Signalling | Path::Sealed => _ = self.socket.send_to(&out.octets, out.to).expect("sent"),
                }
            }
            while let Some(event) = self.terminal.poll_event() {
                self.events.push(event);
            }
            let Ok((len, from)) = self.socket.recv_from(&mut room) else { return };
            let now = self.now();
            self.terminal.on_datagram(now, &mut self.rng, from, &mut room[..len]);
        }
    }

    /// Waits until it was told something like this, with `meanwhile` called again and again.
    pub fn until(&mut self, what: &str, is: impl Fn(&Event) -> bool, mut meanwhile: impl FnMut()) {
        let until = Instant::now() + Duration::from_secs(15);
        while !self.events.iter().any(&is) {
            assert!(Instant::now() < until, "{} was never told: {what}; but: {:#?}", self.terminal.idc(), self.events);
            meanwhile();
            self.turn();
        }
    }

    /// Waits until its session is active.
    pub fn active(&mut self) {
        self.until("its session is active", |e| matches!(e, Event::Active(_)), || ());
    }
}
