//! What a seed means: who is there, what the network does, who crashes when, and what the attackers try.

use crate::dialect;
use crate::prng::Prng;
use portunus_engine::Cookies;
use portunus_keydist::mech::Mech;
use portunus_signalling::Protocol;

/// How the network treats one kind of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Lost, in a thousand.
    pub loss: u64,
    /// Delivered twice, in a thousand.
    pub duplicate: u64,
    /// Delivered with an octet changed, in a thousand.
    pub corrupt: u64,
    /// Least delay, milliseconds.
    pub delay: u64,
    /// Further delay drawn for each datagram, milliseconds: what puts them out of order.
    pub jitter: u64,
}

/// Roles that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// A signalling proxy (with the softswitch inside, in the direct topology).
    Proxy(usize),
    /// The softswitch.
    Switch,
    /// The authentication centre.
    Auc,
    /// A terminal.
    Phone(usize),
    /// A stock phone.
    Stock(usize),
}

/// Kinds of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkKind {
    /// Between terminals and proxies: everybody may listen, speak and change things here.
    Access,
    /// Between proxies and softswitch: trusted.
    Core,
    /// Between softswitch and AuC: RADIUS looks after itself.
    Aaa,
}

/// What a proxy holds while one key replaces another: the old one is that of the run's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The old one, and the new one beside it.
    OldNew,
    /// The new one, and the old one beside it.
    NewOld,
    /// The new one.
    New,
}

/// Something that goes wrong at a certain time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// A role stops, and starts again after so many milliseconds with nothing in memory.
    Crash(Node, u64),
    /// A proxy or a terminal stops in the middle of what it does next, when some of its messages have left and some have
    /// not, and starts again after so many milliseconds.
    Torn(Node, u64),
    /// A proxy's host takes what comes on connections for so many milliseconds, and nobody there reads it.
    Mute(usize, u64),
    /// Nothing passes on these links for so many milliseconds.
    Partition(LinkKind, u64),
    /// A terminal's address changes, as behind a NAT that forgot it.
    Move(usize),
    /// A terminal ends its registration, and registers again after so many milliseconds.
    Leave(usize, u64),
    /// A terminal goes over to another proxy, without a word to the one that it leaves.
    Roam(usize),
    /// Somebody with a terminal's key registers through another proxy and is gone before the key comes: a registration
    /// that nobody confirms.
    Half(usize),
    /// The AuC uses a proxy's new key from now on.
    Rotate(usize),
    /// A proxy takes other keys over.
    Hold(usize, Held),
}

/// What attackers may do in this run, each in a thousand of the moments when they act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Malice {
    /// Milliseconds between such moments; 0: no attackers.
    pub every: u64,
    /// On the path: changes what passes, in a thousand of the datagrams.
    pub edit: u64,
    /// On the path: sends a copy of an s7 from elsewhere before the real one arrives, in a thousand.
    pub race: u64,
    /// On the path: keeps an s7, all copies of it, and lets one go when its challenge is too old; in a thousand.
    pub hold: u64,
    /// Most datagrams of one flood.
    pub flood: u64,
    /// How many octets of a word a forger happens to guess right.
    pub luck: usize,
    /// The first terminal is an attacker's own: it has a key, a session, and speaks in other names.
    pub insider: bool,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The number it was drawn from.
    pub seed: u64,
    /// True: terminals face the softswitch directly (IDss, Kss).
    pub direct: bool,
    /// Signalling proxies.
    pub proxies: usize,
    /// Workers of each.
    pub workers: u8,
    /// Terminals.
    pub phones: usize,
    /// Stock phones, on listeners that admit them.
    pub stock: usize,
    /// Identities that attackers pretend to be although no subscriber has them.
    pub nobodies: usize,
    /// What each terminal speaks.
    pub protocols: Vec<Protocol>,
    /// Lanes that a proxy has for each protocol, at most.
    pub lanes: usize,
    /// After how many seconds of silence the softswitch forgets a gateway.
    pub silent_s: u32,
    /// Mechanism list of each terminal, as `Security-Client` has it.
    pub mechs: Vec<&'static str>,
    /// Mechanisms that proxies allow, in their order.
    pub allowed: &'static [Mech],
    /// Expiry that terminals ask for, seconds.
    pub expires_s: u32,
    /// Lifetime of keys, seconds.
    pub life_s: u32,
    /// Challenges after a wrong word.
    pub retries: u8,
    /// Cookie policy.
    pub cookies: Cookies,
    /// Weather by kind of link while things go wrong.
    pub access: Weather,
    /// See `access`.
    pub core: Weather,
    /// See `access`.
    pub aaa: Weather,
    /// How far each terminal's clock is off, milliseconds.
    pub clock_off: Vec<i64>,
    /// When what goes wrong, in order of time.
    pub mishaps: Vec<(u64, Mishap)>,
    /// Attackers.
    pub malice: Malice,
    /// When the trouble ends, milliseconds.
    pub calm_at: u64,
    /// By when everybody must be registered and reachable, milliseconds.
    pub deadline: u64,
}

/// What terminals offer. Whatever is allowed, and whatever the protocol can carry, one of each list is left.
const LISTS: [&str; 8] = [
    "x-pkd-sealed;q=1.0",
    "tls;q=0.9, x-pkd-sealed;q=0.5",
    "x-pkd-sealed",
    "ipsec-man;q=0.2;spi-c=4660;port-c=5066, x-pkd-sealed;q=0.7, tls;q=0.1",
    "ipsec-man;q=1.0, x-pkd-sealed;q=0.1",
    "x-pkd-sealed, ipsec-man, tls",
    "tls;q=0.8, ipsec-man;q=0.7, x-pkd-sealed;q=0.1",
    "x-pkd-other;q=1.0, ipsec-man;q=0.9, tls;q=0.9, x-pkd-sealed;q=0.2",
];

/// What proxies allow, in their order.
const ALLOWED: [&[Mech]; 5] = [
    &[Mech::Sealed],
    &[Mech::Sealed, Mech::Esp, Mech::Tls],
    &[Mech::Tls, Mech::Esp, Mech::Sealed],
    &[Mech::Esp, Mech::Sealed],
    &[Mech::Sealed, Mech::Tls],
];

impl Scenario {
    /// The run of a seed, over all protocols.
    pub fn draw(seed: u64) -> Self {
        let all: Vec<Protocol> = dialect::ALL.iter().map(|d| d.protocol()).collect();
        Self::draw_from(seed, &all)
    }

    /// The run of a seed in which terminals speak these protocols only.
    pub fn draw_from(seed: u64, protocols: &[Protocol]) -> Self {
        let r = &mut Prng::new(seed);
        let direct = r.chance(350);
        let phones = r.between(1, 5) as usize;
        let proxies = if direct { 1 } else { r.between(1, 2) as usize };
        let calm_at = r.between(20, 90) * 1000;
        let weather = |r: &mut Prng, harsh: u64| Weather {
            loss: r.between(0, harsh),
            duplicate: r.between(0, harsh / 3),
            corrupt: r.between(0, harsh / 8),
            delay: r.between(1, 40),
            jitter: r.between(0, 300) * r.between(0, 1),
        };
        let harsh = *r.pick(&[0, 100, 300, 400]).unwrap_or(&0);
        let access = weather(r, harsh);
        // Inside is a managed network whose checksums hold: things are late, lost or doubled, not changed.
        let inside = |w: Weather| Weather { loss: w.loss / 6, corrupt: 0, delay: w.delay / 8 + 1, ..w };
        let (core, aaa) = (inside(weather(r, harsh)), weather(r, harsh / 2));
        let mut s = Self {
            seed,
            direct,
            proxies,
            workers: r.between(1, 3) as u8,
            phones,
            stock: if r.chance(400) { r.between(1, 2) as usize } else { 0 },
            nobodies: 2,
            protocols: (0..phones).map(|_| *r.pick(protocols).unwrap_or(&Protocol::Sip)).collect(),
            // As few as may be: each terminal's, and one.
            lanes: r.between(phones as u64 + 1, 24) as usize,
            silent_s: *r.pick(&[60, 120, 600]).unwrap_or(&600),
            mechs: (0..phones).map(|_| *r.pick(&LISTS).unwrap_or(&LISTS[0])).collect(),
            allowed: r.pick(&ALLOWED).copied().unwrap_or(ALLOWED[0]),
            expires_s: *r.pick(&[60, 90, 180, 300]).unwrap_or(&60),
            life_s: *r.pick(&[60, 120, 86_400]).unwrap_or(&86_400),
            retries: r.between(0, 3) as u8,
            cookies: *r.pick(&[Cookies::Auto, Cookies::Always, Cookies::Never]).unwrap_or(&Cookies::Auto),
            access,
            core,
            aaa,
            clock_off: (0..phones)
                .map(|_| if r.chance(250) { r.between(0, 400_000) as i64 - 200_000 } else { 0 })
                .collect(),
            mishaps: Vec::new(),
            malice: Malice::default(),
            calm_at,
            deadline: calm_at + 1_200_000,
        };
        s.draw_mishaps(r);
        if r.chance(750) {
            s.malice = Malice {
                every: r.between(150, 1_500),
                edit: r.between(0, 120) * r.between(0, 1),
                race: r.between(0, 500) * r.between(0, 1),
                hold: r.between(0, 300) * r.between(0, 1),
                flood: r.between(0, 60),
                luck: r.between(0, 31) as usize,
                insider: r.chance(400),
            };
        }
        s
    }

    fn draw_mishaps(&mut self, r: &mut Prng) {
        let count = r.between(0, 6);
        for _ in 0..count {
            let at = r.between(200, self.calm_at - 5_000);
            let node = match r.between(0, 5) {
                0 | 1 => Node::Proxy(r.between(0, self.proxies as u64 - 1) as usize),
                2 if !self.direct => Node::Switch,
                3 => Node::Auc,
                _ => Node::Phone(r.between(0, self.phones as u64 - 1) as usize),
            };
            let phone = r.between(0, self.phones as u64 - 1) as usize;
            let link = *r.pick(&[LinkKind::Access, LinkKind::Core, LinkKind::Aaa]).unwrap_or(&LinkKind::Access);
            let mishap = match r.between(0, 9) {
                0..=2 => Mishap::Crash(node, r.between(0, 12_000)),
                8 if matches!(node, Node::Proxy(_) | Node::Phone(_)) => Mishap::Torn(node, r.between(0, 12_000)),
                3 => Mishap::Partition(link, r.between(500, 20_000)),
                4 => Mishap::Move(phone),
                5 if self.proxies > 1 => Mishap::Roam(phone),
                6 if self.proxies > 1 => Mishap::Half(phone),
                9 => Mishap::Mute(r.between(0, self.proxies as u64 - 1) as usize, r.between(500, 20_000)),
                _ => Mishap::Leave(phone, r.between(0, 5_000)),
            };
            self.mishaps.push((at, mishap));
        }
        self.mishaps.sort_by_key(|(at, _)| *at);
    }

    /// The weather on a kind of link at a time.
    pub fn weather(&self, now_ms: u64, link: LinkKind) -> Weather {
        if now_ms >= self.calm_at {
            return Weather { delay: 2, ..Weather::default() };
        }
        match link {
            LinkKind::Access => self.access,
            LinkKind::Core => self.core,
            LinkKind::Aaa => self.aaa,
        }
    }
}
