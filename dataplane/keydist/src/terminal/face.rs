//! What the terminal's role takes and gives.

use crate::ident::N1;
use crate::mech::{MechList, Sel};
use crate::schedule::Secret;
use crate::steps::{Refusal, S1, S10};
#[cfg(doc)]
use crate::terminal::Terminal;
use crate::timing::{BackOff, Repeat};

/// What terminals of a kind share.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is offered, always, in full.
    pub mechs: MechList,
    /// How far the proxy's TS may be from the terminal's corrected clock, in milliseconds.
    pub window_ms: u64,
    /// How long a challenge lives at the proxy, in milliseconds: an s6 that is older when it comes is not worth an s7.
    pub challenge_ms: u64,
    /// For s1 and s7: the transport's schedule.
    pub repeat: Repeat,
    /// For the confirmation.
    pub confirm: Repeat,
    /// After failures.
    pub back_off: BackOff,
    /// How many challenges one registration may bring: the first and the renewed ones.
    pub challenges: u8,
    /// How many cookies, and how many corrections of the clock, one registration may bring each.
    pub repeats_of_s1: u8,
    /// When to register anew, in thousandths of the key's life: from, to; the time between is drawn by lot.
    pub renew_permille: (u32, u32),
}

impl Config {
    /// The defaults for a list and a transport.
    pub fn new(mechs: MechList, repeat: Repeat) -> Self {
        Self {
            mechs,
            window_ms: 30_000,
            challenge_ms: 10_000,
            repeat,
            confirm: Repeat::CONFIRM,
            back_off: BackOff::DEFAULT,
            challenges: 4,
            repeats_of_s1: 3,
            renew_permille: (750, 900),
        }
    }
}

/// Why a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// Nothing of this kind is awaited, or its N1 is not that of the message under way: not looked at any further.
    NotAwaited,
    /// Another proxy's name.
    Proxy,
    /// The proxy's TS is out of the window.
    Clock,
    /// The challenge was older than it lives when it came, for s1 or s6 was lost too often: the next registration
    /// begins at once.
    Late,
    /// One challenge, cookie or clock correction more than a registration may bring.
    TooMany,
    /// The wrap does not open: made for another terminal, another challenge or another N1a, or altered.
    Wrap,
    /// The MAC does not verify.
    Mac,
    /// The echoed list is not, octet by octet, what was offered: somebody altered it on its way.
    List,
    /// The chosen mechanism was not offered, or lacks its parameters.
    Mechanism,
    /// The carriage found terms that differ from what was asked: Contact missing, or a longer expiry.
    Terms,
}

impl Reject {
    /// True when the key was discarded and the registration begins afresh, after the back-off; false when the message
    /// was ignored and the right one is still awaited.
    pub const fn ends_attempt(self) -> bool {
        !matches!(self, Self::NotAwaited)
    }

    /// The reason in words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::NotAwaited => "not awaited",
            Self::Proxy => "it names another proxy",
            Self::Clock => "the proxy's time is outside the window",
            Self::Late => "the challenge had come too late to be answered",
            Self::TooMany => "one challenge, cookie or clock correction too many",
            Self::Wrap => "the wrapped key does not open",
            Self::Mac => "the MAC does not verify",
            Self::List => "the echoed mechanism list is not the one offered",
            Self::Mechanism => "the chosen mechanism was not offered or lacks its parameters",
            Self::Terms => "the registered terms are not those asked for",
        }
    }
}

impl core::fmt::Display for Reject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.what())
    }
}

impl core::error::Error for Reject {}

/// Why a registration failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No answer in time.
    Silence,
    /// Nothing protected verified in time.
    Unconfirmed,
    /// Refused.
    Refused(Refusal),
    /// An answer that may not be accepted.
    Rejected(Reject),
}

/// What follows a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// Send this at once.
    Send(S1<'a>),
    /// Be quiet until [`Terminal::on_timer`] says [`Todo::Start`].
    Wait {
        /// Monotonic milliseconds.
        until_ms: u64,
    },
}

/// What a timer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Send the last s1 or s7 again, the same octets.
    Repeat,
    /// Send a protected message without content, under a new sequence number.
    Confirm,
    /// The registration under way failed; another follows by itself.
    GaveUp(Failure),
    /// Call [`Terminal::start`].
    Start,
    /// The key's life is over: forget the session's keys.
    SessionEnded,
}

/// Why there is a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// s1 or s7 is to be repeated or given up.
    Answer,
    /// The confirmation is to be repeated or given up.
    Confirmation,
    /// The back-off ends.
    BackOff,
    /// Time to register anew.
    Renewal,
    /// The session's key ends.
    SessionEnd,
}

/// s10 as the carriage read it.
#[derive(Debug, Clone)]
pub struct KeyMessage<'a> {
    /// The step.
    pub s10: S10<'a>,
    /// The message's octets exactly as received.
    pub message: &'a [u8],
    /// Where its MAC stands: 64 hex digits, or 32 octets in H.323.
    pub mac_field: core::ops::Range<usize>,
    /// True when the message repeats the terminal's own Contact (or what stands for it) and an expiry no longer than
    /// asked; protocols without such terms say true.
    pub terms_kept: bool,
}

/// A key that was accepted. The session is provisional until [`Terminal::on_protected`].
#[derive(Debug, Clone)]
pub struct Established {
    /// S: the traffic keys come from it. Drop it once they are derived.
    pub secret: Secret,
    /// The chosen mechanism and the proxy's parameters.
    pub sel: Sel,
    /// N1 of s7.
    pub n1b: N1,
    /// N2 of s10.
    pub n2b: N1,
    /// The key's life in seconds.
    pub life_s: u32,
}
