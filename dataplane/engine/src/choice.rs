//! What a new session is protected by: the mechanism chosen, its keys, and what the terminal is told of it.

use crate::api::Meta;
use crate::classes::Pair;
use crate::config::Policy;
use crate::site::Site;
use crate::store::sessions::Sessions;
use portunus_channel::esp::Esp;
use portunus_channel::{End, Keys, Mechanism, datagrams, tls};
use portunus_keydist::mech::{Mech, MechList, Sel};
use portunus_keydist::schedule::{Secret, TrafficCtx};
use portunus_keydist::{Idc, Idsp, N1, Random};
use portunus_signalling::Signalling;

/// Draws of N2b for each worker, until one leads to this worker. That all of so many fail happens once in e^64.
const DRAWS: u32 = 64;

/// A mechanism that terminal, policy and listeners agree on.
#[derive(Clone, Copy)]
pub(crate) enum Choice {
    /// One for datagrams, the terminal's end of it, and the proxy's port.
    Datagrams(&'static dyn Mechanism, End, u16),
    /// `ipsec-man`, done by the host's kernel: the terminal's end, where its messages will come from, and the proxy's outer
    /// port.
    Kernel(End, Meta, u16),
    /// `tls`, and the proxy's port.
    Tls(u16),
}

impl Choice {
    /// The choice for a terminal that registers at `listener` in this protocol.
    ///
    /// # Errors
    /// No mechanism is left; true where one was but for a floor.
    pub(crate) fn of(
        site: &Site,
        (policy, pair): (&Policy, Pair),
        mechs: &MechList,
        (listener, signalling): (u8, &dyn Signalling),
        kernel: impl Fn(End) -> Option<(Meta, u16)>,
    ) -> Result<Self, bool> {
        let port = |mech: Mech| site.protected_port(listener, mech, signalling.protocol());
        let choose = |floors| mechs.choose(&policy.mechanisms(pair, floors), |mech| port(mech).is_some());
        let entry = choose(true).ok_or_else(|| choose(false).is_some())?;
        let made = entry.mech.and_then(|mech| match datagrams(mech) {
            Some(mechanism) => {
                let terminal = mechanism.offered(&entry)?;
                let installed = (mech == Mech::Esp).then(|| kernel(terminal)).flatten();
                let done_here = || Some(Self::Datagrams(mechanism, terminal, port(mech)?));
                installed.map_or_else(done_here, |(meta, outer)| Some(Self::Kernel(terminal, meta, outer)))
            }
            None => Some(Self::Tls(port(mech)?)),
        });
        made.ok_or(false)
    }

    pub(crate) fn mech(self) -> Mech {
        match self {
            Self::Datagrams(mechanism, ..) => mechanism.mech(),
            Self::Kernel(..) => Mech::Esp,
            Self::Tls(_) => Mech::Tls,
        }
    }

    /// The terminal's end.
    pub(crate) fn terminal(self) -> End {
        match self {
            Self::Datagrams(_, terminal, _) | Self::Kernel(terminal, ..) => terminal,
            Self::Tls(_) => End::default(),
        }
    }

    /// Where its messages will come from, where the kernel protects them.
    pub(crate) const fn kernel(self) -> Option<Meta> {
        match self {
            Self::Kernel(_, meta, _) => Some(meta),
            Self::Datagrams(..) | Self::Tls(_) => None,
        }
    }

    /// N2b, and the keys that follow from it. What names a session of `tls` is derived, so N2b is drawn until the name is
    /// one of this worker's.
    pub(crate) fn keys(
        self,
        site: &Site,
        secret: &Secret,
        (idc, idsp, n1b): (Idc<'_>, Idsp<'_>, &N1),
        rng: &mut dyn Random,
    ) -> Option<(N1, Keys)> {
        let token = self.mech().token();
        for _ in 0..DRAWS * u32::from(site.workers) {
            let n2b = N1::from_bits(rng.next_u64());
            let ctx = TrafficCtx { idc, idsp, n1b, n2b: &n2b, token };
            match self {
                Self::Datagrams(mechanism, ..) => return Some((n2b, mechanism.derive(secret, &ctx))),
                Self::Kernel(..) => return Some((n2b, Esp.derive(secret, &ctx))),
                Self::Tls(_) if tls::identity(secret, &ctx).worker(site.workers) == site.worker => {
                    return Some((n2b, tls::derive(secret, &ctx).into()));
                }
                Self::Tls(_) => {}
            }
        }
        None
    }

    /// What the terminal is told: the answer that names the proxy's end of the session in `slot`.
    pub(crate) fn answer(self, site: &Site, sessions: &Sessions, slot: u32) -> Option<Sel> {
        match self {
            Self::Datagrams(mechanism, _, port) => {
                let handle = sessions.handle(slot, mechanism)?;
                let inner = site.inner_port(sessions.get(slot)?.protocol);
                Some(mechanism.answer(End { handle, port: inner }, port))
            }
            Self::Kernel(_, meta, outer) => {
                let inner = site.listener(meta.listener)?.address.port();
                Some(Esp.answer(End { handle: sessions.handle(slot, &Esp)?, port: inner }, outer))
            }
            Self::Tls(port) => Some(Sel::tls(port)),
        }
    }
}
