//! Bugs planted on purpose, one at a time, so that the simulator can show that it finds each of them. Without the
//! feature `seeded-bugs`, which no production build sets, [`planted`] is a constant `false` and nothing of them is
//! compiled; with it they still sleep until a test wakes one for its own thread.

/// A bug that can be planted, by the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Softswitch: verification words are compared by their first octet.
    PrefixCompared,
    /// Terminal: the echoed list is not compared with its own.
    ListUnchecked,
    /// Terminal: s10's MAC is not verified.
    MacUnchecked,
    /// Proxy: N2a is not bound to the address that it was sent to.
    AddressUnbound,
    /// Proxy: an accepted N1, or challenge, is not marked as used.
    UseUnmarked,
    /// Proxy: a challenge serves for ever.
    ChallengeEternal,
    /// Proxy: a session is active without its terminal's confirmation.
    Unconfirmed,
    /// Proxy: answers are kept for retransmissions without regard to their source.
    SourcelessCache,
    /// Channel: every fourth sequence number is given out twice.
    SequenceRepeats,
    /// Softswitch: a registration through another proxy moves its terminal before it is confirmed.
    MovedUnconfirmed,
    /// AAA client: registrations of one identity that overlap share a vector.
    VectorShared,
    /// Anybody: a key's Debug prints it.
    KeyPrinted,
    /// Proxy: terminals share a lane, whoever they are.
    LaneShared,
    /// MGCP: the place of s10's MAC is said one octet too late.
    MacMisplaced,
    /// MGCP, H.248: what a terminal says in its session may name another one.
    NameUnbound,
    /// Proxy: a request in the clear is taken for the active session of whoever it names.
    PlainAccepted,
    /// Channel: the newest sequence number counts as not seen.
    WindowShort,
    /// Proxy: a session follows the source of whatever bears its handle, before it is verified.
    MovedUnverified,
    /// Proxy: its sequence numbers begin anew when a terminal is seen elsewhere.
    SequenceRestarts,
    /// Anybody: the mechanism with the lowest priority is chosen.
    WeakestChosen,
    /// Proxy: a terminal of `tls` without a connection is sent datagrams in the clear.
    ClearWithoutConnection,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::PrefixCompared,
        Self::ListUnchecked,
        Self::MacUnchecked,
        Self::AddressUnbound,
        Self::UseUnmarked,
        Self::ChallengeEternal,
        Self::Unconfirmed,
        Self::SourcelessCache,
        Self::SequenceRepeats,
        Self::MovedUnconfirmed,
        Self::VectorShared,
        Self::KeyPrinted,
        Self::LaneShared,
        Self::MacMisplaced,
        Self::NameUnbound,
        Self::PlainAccepted,
        Self::WindowShort,
        Self::MovedUnverified,
        Self::SequenceRestarts,
        Self::WeakestChosen,
        Self::ClearWithoutConnection,
    ];
}

#[cfg(feature = "seeded-bugs")]
thread_local! {
    static AWAKE: core::cell::Cell<Option<Bug>> = const { core::cell::Cell::new(None) };
}

/// Wakes one bug for this thread, or puts all to sleep.
#[cfg(feature = "seeded-bugs")]
pub fn wake(bug: Option<Bug>) {
    AWAKE.set(bug);
}

/// True while this bug is awake.
#[cfg(feature = "seeded-bugs")]
pub fn planted(bug: Bug) -> bool {
    AWAKE.get() == Some(bug)
}

/// Never: this build has no bugs planted.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}
