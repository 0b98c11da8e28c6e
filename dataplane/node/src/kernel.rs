//! The thread that has the host's kernel do the ESP of sessions: what workers wish for goes to [`Installer`], its requests by
//! netlink to the kernel, the answers back, and what a session lost to its worker.
//!
//! ```text
//!  worker --Wish--> ring --+                        +--> netlink --> kernel
//!  worker --Wish--> ring --+--> Installer (channel) |
//!                          |                        +<-- answers, peers that moved
//!  control <-- orders: the session's channel is gone; the kernel takes no more at present
//! ```
//!
//! Where the machine's kernel lacks ESP the tests here and those of `portunus_io::xfrm` say that they did not run; they and
//! registrations of three protocols passed on Debian's 6.1 (amd64).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use portunus_channel::kernel::{Ask, Half, Installer, Pair, Report};
use portunus_engine::{Command, Reading};
use portunus_io::xfrm::{Answer, Association, Direction, Netlink, Policy, Request, SaId, encapsulate};
use std::os::fd::AsRawFd;
use zeroize::Zeroize;

use crate::clock::Clock;
use crate::control::Order;
use crate::readings::{Board, counters};
use crate::worker::{Bell, WAKER};

/// Whose associations and policies are this product's: "PKd1". One process a host has them.
const OWNER: u32 = 0x504b_6431;
/// Numbers of the kernel's replay window (spec section 5: 1024 at least).
const WINDOW: u32 = 1024;
/// An SPI that no session has, for asking whether the kernel has ESP at all.
const PROBE_SPI: u32 = 0xffff_fffe;
/// Wishes that wait in a worker's ring.
pub(crate) const WISHES: usize = 1024;
/// Milliseconds for which new sessions are protected in the worker after the kernel has refused one.
const REST_MS: u64 = 60_000;
const SLEEP_MS: u64 = 1_000;
const PUBLISH_MS: u64 = 100;
const KERNEL: Token = Token(WAKER + 1);

/// That the host's kernel is to do ESP (mechanism `ipsec-man`), for listeners of
/// [`portunus_engine::ListenerKind::Kernel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelEsp {
    /// Where ESP in UDP arrives.
    pub outer: SocketAddr,
    /// Sessions at most; further ones are protected in the workers.
    pub sessions: usize,
}

/// What a worker wishes for. What has been taken is [`Wish::Nothing`].
#[derive(Debug)]
pub(crate) enum Wish {
    Nothing,
    Install(Pair),
    End(u64),
}

/// A worker's way to the thread.
pub(crate) struct ToKernel {
    pub(crate) wishes: rtrb::Producer<Wish>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) pushed: bool,
}

impl ToKernel {
    pub(crate) fn wish(&mut self, wish: Wish) -> bool {
        let pushed = self.wishes.push(wish).is_ok();
        self.pushed |= pushed;
        pushed
    }

    pub(crate) fn flush(&mut self) {
        if core::mem::take(&mut self.pushed) {
            self.bell.ring();
        }
    }
}

counters! {
    /// What became of the sessions that the kernel was asked for.
    KernelCounters {
        Counter kernel_installed "Sessions whose two associations the kernel has granted";
        Counter kernel_refused "Sessions for which the kernel refused an association, or was silent";
        Counter kernel_gone "Sessions whose associations went missing, or whose terminal's address changed";
        Counter kernel_strays "Associations of a former life of this process removed at start";
        Counter kernel_answers_lost "Times that answers of the kernel were lost and its list was read again";
        Gauge kernel_sessions_held "Sessions that have associations in the kernel";
    }
}

/// The kernel's side, opened: policies stand, the outer port is the kernel's, and it has ESP.
pub(crate) struct Opened {
    netlink: Netlink,
    policies: Vec<Policy>,
    /// Kept open: the kernel takes ESP out of what arrives there.
    outer: UdpSocket,
}

/// Waits for the kernel's answer to one request: at start, when nothing else is asked.
fn ask(netlink: &mut Netlink, request: &Request<'_>) -> io::Result<()> {
    let number = netlink.ask(request)?;
    let until = Instant::now() + Duration::from_secs(2);
    let mut outcome = None;
    while outcome.is_none() {
        let left = until.checked_duration_since(Instant::now()).ok_or(io::ErrorKind::TimedOut)?;
        if netlink.wait(left)? {
            netlink.hear(|answer| {
                if let Answer::Done { number: of, error } = answer
                    && of == number
                {
                    outcome = Some(error);
                }
            })?;
        }
    }
    match outcome {
        Some(0) | None => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Demands that everything at these inner places is protected, before anything listens there, and asks whether the kernel
/// has ESP.
///
/// # Errors
/// What the kernel says: no privilege (CAP_NET_ADMIN), no ESP. Nothing is demanded any more then.
pub(crate) fn open(config: &KernelEsp, inner: &[SocketAddr]) -> io::Result<Opened> {
    let mut netlink = Netlink::open()?;
    let outer = UdpSocket::bind(config.outer)?;
    encapsulate(&outer)?;
    let both = |local: &SocketAddr| {
        [Direction::In, Direction::Out].map(|direction| Policy { direction, local: *local, reqid: OWNER })
    };
    let policies: Vec<Policy> = inner.iter().flat_map(both).collect();
    let demand = |netlink: &mut Netlink| {
        policies.iter().try_for_each(|policy| ask(netlink, &Request::Demand(*policy)))?;
        probe(netlink, config.outer)
    };
    if let Err(error) = demand(&mut netlink) {
        release(&mut netlink, &policies);
        return Err(error);
    }
    Ok(Opened { netlink, policies, outer })
}

/// Installs an association that nobody can use, and removes it.
fn probe(netlink: &mut Netlink, outer: SocketAddr) -> io::Result<()> {
    let id = SaId { to: outer.ip(), spi: PROBE_SPI };
    let (ports, encapsulation) = ((9, 9), (outer.port(), outer.port()));
    let probe = Association { id, from: outer.ip(), ports, encapsulation, key: &[0; 36], reqid: OWNER, window: WINDOW };
    ask(netlink, &Request::Add(probe))?;
    ask(netlink, &Request::Remove(id))
}

fn release(netlink: &mut Netlink, policies: &[Policy]) {
    for policy in policies {
        // What is not there need not be released; nobody is left to be told of anything else.
        let _ = ask(netlink, &Request::Release(*policy));
    }
}

/// The thread's parts.
pub(crate) struct KernelThread {
    pub(crate) clock: Clock,
    opened: Opened,
    installer: Installer,
    wishes: Vec<rtrb::Consumer<Wish>>,
    orders: Sender<Order>,
    control: Arc<Bell>,
    poll: Poll,
    events: Events,
    bell: Arc<Bell>,
    shared: Arc<KernelShared>,
    counters: KernelCounters,
    resumes_ms: Option<u64>,
    published_ms: u64,
    /// Something was counted since.
    dirty: bool,
}

/// What others see of it.
pub(crate) struct KernelShared {
    pub(crate) board: Board,
    pub(crate) stop: AtomicBool,
}

impl KernelThread {
    pub(crate) fn new(
        clock: Clock,
        opened: Opened,
        config: &KernelEsp,
        (poll, bell): (Poll, Arc<Bell>),
        (wishes, orders, control): (Vec<rtrb::Consumer<Wish>>, Sender<Order>, Arc<Bell>),
    ) -> io::Result<Self> {
        let fd = opened.netlink.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), KERNEL, Interest::READABLE)?;
        let counters = KernelCounters::default();
        let board = Board::new(|show: &mut dyn FnMut(Reading)| counters.readings(show));
        Ok(Self {
            clock,
            opened,
            installer: Installer::new(config.sessions),
            wishes,
            orders,
            control,
            poll,
            events: Events::with_capacity(8),
            bell,
            shared: Arc::new(KernelShared { board, stop: AtomicBool::new(false) }),
            counters,
            resumes_ms: None,
            published_ms: 0,
            dirty: true,
        })
    }

    pub(crate) fn shared(&self) -> Arc<KernelShared> {
        Arc::clone(&self.shared)
    }

    /// Works until told to stop; then takes everything back, policies last.
    ///
    /// # Errors
    /// What netlink or waiting reports: the thread cannot go on then, and the ports stay closed to what is unprotected.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = self.clock.now().mono_ms;
            self.turn(now)?;
            if self.dirty && now.saturating_sub(self.published_ms) >= PUBLISH_MS {
                (self.published_ms, self.dirty) = (now, false);
                self.publish();
            }
            self.rest(now)?;
        }
        for id in self.installer.held() {
            let (to, spi) = id;
            ask(&mut self.opened.netlink, &Request::Remove(SaId { to, spi })).or_else(already_gone)?;
        }
        release(&mut self.opened.netlink, &self.opened.policies);
        self.publish();
        Ok(())
    }

    fn turn(&mut self, now: u64) -> io::Result<()> {
        let before = self.installer.len();
        for wishes in &mut self.wishes {
            self.dirty |= !wishes.is_empty();
            take(wishes, |wish| match wish {
                Wish::Install(pair) => self.installer.install(pair.clone()),
                Wish::End(kid) => self.installer.end(now, *kid),
                Wish::Nothing => {}
            });
        }
        self.installer.on_timer(now);
        self.converse(now)?;
        while let Some(report) = self.installer.report() {
            self.dirty = true;
            self.tell(now, report);
        }
        self.dirty |= self.installer.len() != before;
        if self.resumes_ms.is_some_and(|at| at <= now) {
            self.resumes_ms = None;
            self.order(Order::All(Command::Kernel(true)));
        }
        Ok(())
    }

    /// Asks what is to be asked, and hears what there is to hear, until there is neither.
    fn converse(&mut self, now: u64) -> io::Result<()> {
        loop {
            let mut asked = false;
            while let Some(question) = self.installer.question() {
                asked = true;
                match put(&mut self.opened.netlink, &question) {
                    Ok(number) => self.installer.sent(now, number),
                    Err(error) => self.installer.unsent(now, error.raw_os_error().unwrap_or_default()),
                }
            }
            let installer = &mut self.installer;
            let heard = self.opened.netlink.hear(|answer| match answer {
                Answer::Done { number, error } => installer.answered(now, number, error),
                Answer::Found { id, reqid: OWNER } => installer.listed(id.to, id.spi),
                Answer::End { number } => installer.list_ended(now, number),
                Answer::Moved { id, reqid: OWNER, to } => installer.moved(now, (id.to, id.spi), to),
                Answer::Found { .. } | Answer::Moved { .. } | Answer::Other => {}
            });
            match heard {
                Ok(false) if !asked => return Ok(()),
                Ok(_) => {}
                // ENOBUFS: more was to be heard than the socket holds.
                Err(error) if error.raw_os_error() == Some(105) => {
                    self.counters.kernel_answers_lost += 1;
                    self.installer.unsure();
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn tell(&mut self, now: u64, report: Report) {
        match report {
            Report::Installed(_) => self.counters.kernel_installed += 1,
            Report::Refused(kid, _) => {
                self.counters.kernel_refused += 1;
                // What it refused once it will refuse again: memory, a table that is full.
                if self.resumes_ms.replace(now + REST_MS).is_none() {
                    self.order(Order::All(Command::Kernel(false)));
                }
                self.order(Order::Channel(kid));
            }
            Report::Lost(kid) => {
                self.counters.kernel_gone += 1;
                self.order(Order::Channel(kid));
            }
        }
    }

    fn order(&self, order: Order) {
        // The control thread lives as long as the node.
        if self.orders.send(order).is_ok() {
            self.control.force();
        }
    }

    fn publish(&mut self) {
        self.counters.kernel_strays = self.installer.strays();
        self.counters.kernel_sessions_held = self.installer.len() as u64;
        let counters = self.counters;
        self.shared.board.publish(|show| counters.readings(show));
    }

    fn rest(&mut self, now: u64) -> io::Result<()> {
        self.bell.prepare();
        if self.wishes.iter().all(rtrb::Consumer::is_empty) {
            let deadlines = [self.installer.next_deadline(), self.resumes_ms];
            let longest = if self.dirty { PUBLISH_MS } else { SLEEP_MS };
            let next = deadlines.into_iter().flatten().min().map_or(longest, |at| at.saturating_sub(now));
            match self.poll.poll(&mut self.events, Some(Duration::from_millis(next.min(longest)))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.bell.awake();
        Ok(())
    }
}

impl core::fmt::Debug for KernelThread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("KernelThread").field("outer", &self.opened.outer).finish_non_exhaustive()
    }
}

/// ESRCH: somebody else has removed it.
fn already_gone(error: io::Error) -> io::Result<()> {
    if error.raw_os_error() == Some(3) { Ok(()) } else { Err(error) }
}

/// Takes all that waits, and leaves no key behind in the ring.
fn take(wishes: &mut rtrb::Consumer<Wish>, mut each: impl FnMut(&Wish)) {
    let waiting = wishes.slots();
    let Ok(mut chunk) = wishes.read_chunk(waiting) else { return };
    let (first, second) = chunk.as_mut_slices();
    for wish in first.iter_mut().chain(second) {
        each(wish);
        if let Wish::Install(pair) = wish {
            pair.c2s.zeroize();
            pair.s2c.zeroize();
        }
        *wish = Wish::Nothing;
    }
    chunk.commit_all();
}

/// One question, in the kernel's terms.
fn put(netlink: &mut Netlink, question: &Ask<'_>) -> io::Result<u32> {
    let mut key = [0; 36];
    let association = |half: &Half<'_>, key| Association {
        id: SaId { to: half.to, spi: half.spi },
        from: half.from,
        ports: half.ports,
        encapsulation: half.outer,
        key,
        reqid: OWNER,
        window: if half.inward { WINDOW } else { 0 },
    };
    if let Ask::Add(half) | Ask::Update(half) = question {
        half.key.material(&mut key);
    }
    let asked = match question {
        Ask::Add(half) => netlink.ask(&Request::Add(association(half, &key))),
        Ask::Update(half) => netlink.ask(&Request::Update(association(half, &key))),
        Ask::Remove(to, spi) => netlink.ask(&Request::Remove(SaId { to: *to, spi: *spi })),
        Ask::List => netlink.ask(&Request::List),
    };
    key.zeroize();
    asked
}
