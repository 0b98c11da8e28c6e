//! Candidates: where a terminal would be, should it turn out to be there.
//!
//! An answered challenge (s8) shows that the terminal made that answer, not that it got its key: whoever keeps s10 from
//! it could otherwise move it to a proxy where it has no session (spec section 2: nothing that an unconfirmed session
//! says moves a terminal). Within one proxy nothing moves, because the binding is the proxy and the proxy knows which
//! session is active; a lane is the same for all sessions of a terminal with a proxy. So only a binding at *another*
//! place than where the terminal is bound waits:
//!
//! ```text
//!   s8 through another proxy, by another lane ──► candidate ──(sign of life from there)──► bound; the older end
//!                                                     └──(nobody confirmed: a lane's, after 32 s)──► gone, as if never
//! ```
//!
//! When the older bindings end first, SIP's candidate is where the terminal is tried, because there is nothing better; a
//! lane's is asked and nothing else. Either still gives way to whatever is bound next.
//!
//! A sign of life is whatever only an active session can bring about: a refresh that the proxy vouches for, a request
//! of the terminal's, its answer to a request of ours.

use super::{Binding, Change, Location, changes, sessions};
use crate::peers::Peer;
use portunus_keydist::bugs::{Bug, planted};
use portunus_signalling::Protocol;

/// How long a session may stay unconfirmed (spec section 2), and a little: so long waits a candidate that is a lane,
/// milliseconds.
pub(crate) const UNCONFIRMED_MS: u64 = 32_000;

/// Where a binding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// In SIP: at this proxy.
    Proxy(&'a str),
    /// In a protocol that has them: at this lane.
    Lane(Protocol, Peer),
}

impl Binding {
    pub(super) fn place(&self) -> Place<'_> {
        match self.lane {
            Some(lane) => Place::Lane(self.protocol, lane),
            None => Place::Proxy(&self.session.idsp),
        }
    }

    /// False where nothing is said to the terminal but whether it is there.
    pub(crate) fn is_reached(&self) -> bool {
        self.lane.is_none() || !self.candidate
    }
}

impl Location {
    /// True while there is a candidate anywhere: only then need signs of life be looked for.
    pub(crate) fn has_candidates(&self) -> bool {
        self.candidates > 0
    }

    /// Where an identity would be reached in SIP, should it show life there.
    pub(crate) fn candidate(&self, now_ms: u64, idc: &str) -> Option<&Binding> {
        self.find(now_ms, idc)?.filter(|b| b.candidate && b.lane.is_none()).max_by_key(|b| b.rank())
    }

    /// An identity that got a candidate in SIP since the last call.
    pub(crate) fn take_candidate(&mut self) -> Option<Box<str>> {
        self.named.pop()
    }

    /// The terminal shows life through this proxy: its candidate there becomes its place, and what is older ends.
    pub(crate) fn confirm(&mut self, now_ms: u64, idc: &str, idsp: &str) -> Vec<Change> {
        self.confirm_at(now_ms, idc, Place::Proxy(idsp)).unwrap_or_default()
    }

    /// The terminal shows life by this lane, as in [`Location::confirm`]; `None`: it does not wait there.
    pub(crate) fn confirm_lane(
        &mut self,
        now_ms: u64,
        idc: &str,
        (protocol, lane): (Protocol, Peer),
    ) -> Option<Vec<Change>> {
        self.confirm_at(now_ms, idc, Place::Lane(protocol, lane))
    }

    fn confirm_at(&mut self, now_ms: u64, idc: &str, place: Place<'_>) -> Option<Vec<Change>> {
        if !self.find(now_ms, idc)?.any(|b| b.candidate && b.place() == place) {
            return None;
        }
        let held = self.record(idc).map_or(&[][..], |r| r.bindings.as_slice());
        let (before, mut next) = (sessions(held.iter()), held.to_vec());
        alive(&mut next, place);
        let after = sessions(next.iter());
        // Nothing is inserted, so there is room.
        self.commit(now_ms, idc, next).ok()?;
        Some(changes(&before, &after, &[]))
    }
}

/// True when what a fresh registration binds at a place waits, beside what else is bound.
pub(super) fn waits(place: Place<'_>, beside: &[Binding]) -> bool {
    beside.iter().any(|b| !b.candidate && b.place() != place) && !planted(Bug::MovedUnconfirmed)
}

/// The terminal is at this place: what it has there no longer waits, and what it had elsewhere ends.
pub(super) fn alive(bindings: &mut Vec<Binding>, place: Place<'_>) {
    for b in bindings.iter_mut().filter(|b| b.candidate && b.place() == place) {
        b.candidate = false;
        b.expires_ms = b.granted_ms;
    }
    bindings.retain(|b| b.candidate || b.place() == place);
}

pub(super) fn until(now_ms: u64, expires_s: u32) -> u64 {
    now_ms + u64::from(expires_s) * 1000
}

/// How many wait.
pub(super) fn count(bindings: &[Binding]) -> usize {
    bindings.iter().filter(|b| b.candidate).count()
}

#[cfg(test)]
mod tests {
    use super::super::{Contacts, Limits, Session, Update, Wanted};
    use super::*;
    use portunus_keydist::SystemRandom;

    fn table() -> Location {
        Location::new(Limits { identities: 2, bindings_each: 3, remember_ms: 1000 }, &mut SystemRandom::new())
    }

    fn session(sp: &str, n: u8) -> Session {
        Session { rand: [n; 16], idsp: sp.into(), ipc: ([198, 51, 100, n], 5060).into() }
    }

    /// Registers through a proxy: by an answered challenge (`fresh`) or because the proxy vouches for it.
    fn register(t: &mut Location, now_ms: u64, sp: &str, expires_s: u32, n: u8, fresh: bool) -> Vec<Change> {
        let (uri, session) = (format!("sip:a@{sp}"), session(sp, n));
        let list = [Wanted { uri: uri.as_bytes(), q_milli: 1000, expires_s }];
        let (contacts, cseq) = (Contacts::List(&list), u32::from(n));
        let update =
            Update { idc: "a", call_id: b"c", cseq, path: b"", contacts, session: &session, fresh, vouched: !fresh };
        t.update(now_ms, &update).unwrap()
    }

    fn place(t: &Location, now_ms: u64) -> String {
        t.best(now_ms, "a").map(|b| String::from_utf8_lossy(&b.uri).into_owned()).unwrap_or_default()
    }

    #[test]
    fn a_challenge_answered_through_another_proxy_moves_nobody() {
        let mut t = table();
        register(&mut t, 0, "sp1", 60, 1, true);
        assert!(!t.has_candidates() && t.take_candidate().is_none());
        assert_eq!(register(&mut t, 1, "sp2", 60, 2, true), [Change::Started(session("sp2", 2))]);
        assert_eq!((place(&t, 1), t.take_candidate().as_deref()), ("sip:a@sp1".into(), Some("a")));
        // Again and again, and a refresh where it is: it stays.
        register(&mut t, 2, "sp2", 60, 3, true);
        register(&mut t, 3, "sp1", 60, 4, false);
        register(&mut t, 4, "sp1", 60, 5, true);
        assert_eq!((place(&t, 4), t.has_candidates()), ("sip:a@sp1".into(), true));
        assert!(t.confirm(5, "a", "sp1").is_empty() && t.confirm(5, "b", "sp2").is_empty());
        assert_eq!(t.confirm(5, "a", "sp2"), [Change::Ended(session("sp1", 5))]);
        assert_eq!((place(&t, 5), t.has_candidates(), t.bindings()), ("sip:a@sp2".into(), false, 1));
    }

    #[test]
    fn a_refresh_through_the_new_proxy_is_a_sign_of_life() {
        let mut t = table();
        register(&mut t, 0, "sp1", 60, 1, true);
        register(&mut t, 1, "sp2", 60, 2, true);
        let changes = register(&mut t, 2, "sp2", 60, 3, false);
        assert!(
            matches!(&changes[..], [Change::Ended(a), Change::Refreshed(b)] if a.rand == [1; 16] && b.rand == [2; 16])
        );
        assert_eq!((place(&t, 2), t.has_candidates()), ("sip:a@sp2".into(), false));
    }

    #[test]
    fn a_candidate_beside_nothing_is_tried_and_gives_way() {
        let mut t = table();
        register(&mut t, 0, "sp1", 30, 1, true);
        register(&mut t, 1, "sp2", 60, 2, true);
        t.expire(30_000, 10, |_, s, _| assert_eq!(s.rand, [1; 16]));
        assert_eq!((place(&t, 30_000), t.has_candidates()), ("sip:a@sp2".into(), true));
        register(&mut t, 30_001, "sp1", 60, 3, true);
        assert_eq!(
            (place(&t, 30_001), t.take_candidate().is_some(), t.take_candidate()),
            ("sip:a@sp1".into(), true, None)
        );
        register(&mut t, 30_002, "sp2", 0, 4, false);
        assert_eq!((place(&t, 30_002), t.has_candidates()), ("sip:a@sp1".into(), false));
        // Candidates that run out are not counted for ever.
        register(&mut t, 30_003, "sp2", 30, 5, true);
        assert!(t.has_candidates());
        t.expire(60_003, 10, |_, s, _| assert_eq!(s.rand, [5; 16]));
        assert_eq!((place(&t, 60_003), t.has_candidates()), ("sip:a@sp1".into(), false));
    }
}
