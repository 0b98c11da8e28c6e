//! Bindings to lanes.

use super::candidates::{self, Place, UNCONFIRMED_MS, until};
use super::{Binding, Change, Keyed, Location, Session, Unchanged, changes, sessions};
use crate::peers::Peer;
use hashbrown::HashMap;
use portunus_signalling::Protocol;

impl Location {
    /// Binds an identity to a lane and to nothing else: at once where it is bound nowhere else, and elsewhere once it
    /// shows life there.
    ///
    /// # Errors
    /// [`Unchanged::Full`], and then nothing has changed.
    pub(crate) fn bind_lane(
        &mut self,
        now_ms: u64,
        idc: &str,
        (protocol, lane): (Protocol, Peer),
        expires_s: u32,
        session: &Session,
    ) -> Result<Vec<Change>, Unchanged> {
        let held = self.record(idc).map_or(&[][..], |r| r.bindings.as_slice());
        let (before, place) = (sessions(held.iter()), Place::Lane(protocol, lane));
        let others = held.iter().filter(|b| b.expires_ms > now_ms && b.place() != place);
        let mut next: Vec<Binding> = others.cloned().collect();
        let candidate = candidates::waits(place, &next);
        if !candidate {
            next.retain(|b| b.candidate);
        }
        let waiting = |b: &Binding| b.candidate && b.lane.is_some();
        if candidate && next.iter().filter(|b| waiting(b)).count() >= self.limits.bindings_each {
            // The one that has waited longest.
            let at = next.iter().enumerate().filter(|(_, b)| waiting(b)).min_by_key(|(_, b)| b.age).map(|(i, _)| i);
            at.map(|i| next.remove(i));
        }
        self.age += 1;
        let granted_ms = until(now_ms, expires_s);
        next.push(Binding {
            protocol,
            lane: Some(lane),
            uri: Box::default(),
            path: Box::default(),
            q_milli: 1000,
            expires_ms: if candidate { granted_ms.min(now_ms + UNCONFIRMED_MS) } else { granted_ms },
            granted_ms,
            session: session.clone(),
            candidate,
            call_id: 0,
            cseq: 0,
            age: self.age,
        });
        let after = sessions(next.iter());
        self.commit(now_ms, idc, next)?;
        Ok(changes(&before, &after, core::slice::from_ref(session)))
    }

    /// Ends what an identity is, or would be, bound to: this lane.
    pub(crate) fn unbind_lane(&mut self, now_ms: u64, idc: &str, (protocol, lane): (Protocol, Peer)) -> Vec<Change> {
        let Some(record) = self.record(idc) else { return Vec::new() };
        let before = sessions(record.bindings.iter());
        let place = Place::Lane(protocol, lane);
        let next: Vec<Binding> = record.bindings.iter().filter(|b| b.place() != place).cloned().collect();
        let after = sessions(next.iter());
        // Nothing is inserted, so there is room.
        match self.commit(now_ms, idc, next) {
            Ok(()) => changes(&before, &after, &[]),
            Err(_) => Vec::new(),
        }
    }

    /// Moves the end of a binding to `expires_s` from now; its session. `None`: not bound by this protocol.
    pub(crate) fn touch(&mut self, now_ms: u64, protocol: Protocol, idc: &str, expires_s: u32) -> Option<Session> {
        let slot = *self.index.get(idc)?;
        let record = self.records.get_mut(slot as usize)?.as_mut()?;
        let bound = |b: &&mut Binding| b.protocol == protocol && b.lane.is_some() && !b.candidate;
        let binding = record.bindings.iter_mut().find(bound).filter(|b| b.expires_ms > now_ms)?;
        binding.expires_ms = until(now_ms, expires_s);
        let (due, session) = (binding.expires_ms, binding.session.clone());
        self.due_by(slot, due);
        Some(session)
    }

    /// Whose lane this is: who is bound to it, or waits there.
    pub(crate) fn owner(&self, now_ms: u64, protocol: Protocol, lane: Peer) -> Option<&str> {
        let (idc, place) = (self.by_lane.get(&(protocol, lane))?, Place::Lane(protocol, lane));
        self.find(now_ms, idc)?.any(|b| b.place() == place).then_some(&**idc)
    }

    /// The lane that an identity is bound to by this protocol.
    pub(crate) fn lane_of(&self, now_ms: u64, protocol: Protocol, idc: &str) -> Option<Peer> {
        self.find(now_ms, idc)?.find(|b| b.protocol == protocol && !b.candidate).and_then(|b| b.lane)
    }

    /// The next identity that a lane protocol is to be told has left a lane.
    pub(crate) fn take_left(&mut self) -> Option<(Protocol, Box<str>, Peer)> {
        self.left.pop()
    }
}

/// Keeps the lanes in step with an identity's bindings: `before` were there and are gone, or are in `after` again.
pub(super) fn moved(
    by_lane: &mut HashMap<(Protocol, Peer), Box<str>, Keyed>,
    left: &mut Vec<(Protocol, Box<str>, Peer)>,
    idc: &str,
    before: &[Binding],
    after: &[Binding],
) {
    for (protocol, lane) in before.iter().filter_map(|b| Some((b.protocol, b.lane?))) {
        if by_lane.get(&(protocol, lane)).is_some_and(|owner| **owner == *idc) {
            by_lane.remove(&(protocol, lane));
        }
        if !after.iter().any(|b| b.place() == Place::Lane(protocol, lane)) {
            left.push((protocol, idc.into(), lane));
        }
    }
    for (protocol, lane) in after.iter().filter_map(|b| Some((b.protocol, b.lane?))) {
        by_lane.insert((protocol, lane), idc.into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Contacts, Limits, Update, Wanted};
    use super::*;
    use portunus_keydist::SystemRandom;

    fn lane(n: u16) -> Peer {
        Peer::Udp(([192, 0, 2, 1], n).into())
    }

    fn session(n: u8) -> Session {
        Session { rand: [n; 16], idsp: "sp1".into(), ipc: ([198, 51, 100, n], 2427).into() }
    }

    fn sip(t: &mut Location, now_ms: u64, expires_s: u32, session: &Session) -> Vec<Change> {
        let list = [Wanted { uri: b"sip:a@h", q_milli: 1000, expires_s }];
        let contacts = Contacts::List(&list);
        let update =
            Update { idc: "gw", call_id: b"c", cseq: 1, path: b"", contacts, session, fresh: true, vouched: false };
        t.update(now_ms, &update).unwrap()
    }

    #[test]
    fn one_name_space_over_all_protocols() {
        let mut t =
            Location::new(Limits { identities: 2, bindings_each: 2, remember_ms: 1000 }, &mut SystemRandom::new());
        let (mgcp, h248) = ((Protocol::Mgcp, lane(1)), (Protocol::H248, lane(2)));
        assert_eq!(t.bind_lane(0, "gw", mgcp, 60, &session(1)).unwrap(), [Change::Started(session(1))]);
        assert_eq!(t.owner(1, Protocol::Mgcp, lane(1)), Some("gw"));
        assert!(t.owner(1, Protocol::H248, lane(1)).is_none() && t.take_left().is_none());
        // Elsewhere it waits, in whatever protocol.
        assert_eq!(t.bind_lane(2, "gw", h248, 60, &session(2)).unwrap(), [Change::Started(session(2))]);
        assert_eq!((t.owner(2, Protocol::H248, lane(2)), t.lane_of(2, Protocol::H248, "gw")), (Some("gw"), None));
        assert_eq!((t.lane_of(2, Protocol::Mgcp, "gw"), t.take_left()), (Some(lane(1)), None));
        assert_eq!(t.confirm_lane(2, "gw", h248), Some(vec![Change::Ended(session(1))]));
        assert_eq!(t.take_left(), Some((Protocol::Mgcp, "gw".into(), lane(1))));
        assert_eq!((t.owner(2, Protocol::Mgcp, lane(1)), t.lane_of(2, Protocol::H248, "gw")), (None, Some(lane(2))));
        // What SIP ends is SIP's own; what it binds waits, and then is bound by nothing else.
        assert!(sip(&mut t, 3, 0, &session(3)).is_empty());
        assert_eq!(sip(&mut t, 3, 60, &session(3)), [Change::Started(session(3))]);
        assert!(t.best(3, "gw").is_none() && t.take_candidate().is_some());
        assert_eq!(t.confirm(3, "gw", "sp1"), [Change::Ended(session(2))]);
        assert_eq!(t.take_left(), Some((Protocol::H248, "gw".into(), lane(2))));
        assert_eq!(t.bind_lane(4, "gw", mgcp, 60, &session(4)).unwrap(), [Change::Started(session(4))]);
        assert!(t.best(4, "gw").is_some_and(|b| b.session == session(3)));
        assert_eq!(t.confirm_lane(4, "gw", mgcp), Some(vec![Change::Ended(session(3))]));
        assert!(t.best(4, "gw").is_none() && t.bindings() == 1);
    }

    #[test]
    fn life_is_prolonged_and_ends() {
        let mut t =
            Location::new(Limits { identities: 2, bindings_each: 2, remember_ms: 1000 }, &mut SystemRandom::new());
        t.bind_lane(0, "gw", (Protocol::Mgcp, lane(1)), 60, &session(1)).unwrap();
        assert!(t.touch(50_000, Protocol::H248, "gw", 60).is_none());
        assert_eq!(t.touch(50_000, Protocol::Mgcp, "gw", 60), Some(session(1)));
        // Shorter than what it had: it ends then.
        assert!(t.touch(50_000, Protocol::Mgcp, "gw", 30).is_some());
        let mut ended = Vec::new();
        t.expire(79_999, 10, |idc, s, n| ended.push((idc.to_owned(), s.rand[0], n)));
        assert!(ended.is_empty());
        t.expire(80_000, 10, |idc, s, n| ended.push((idc.to_owned(), s.rand[0], n)));
        assert_eq!(ended, [("gw".to_owned(), 1, 1)]);
        assert_eq!(t.take_left(), Some((Protocol::Mgcp, "gw".into(), lane(1))));
        assert!(t.touch(80_001, Protocol::Mgcp, "gw", 60).is_none() && t.by_lane.is_empty());
        // The same lane again, and once more by another session.
        t.bind_lane(81_000, "gw", (Protocol::Mgcp, lane(1)), 60, &session(1)).unwrap();
        let again = t.bind_lane(81_000, "gw", (Protocol::Mgcp, lane(1)), 60, &session(2)).unwrap();
        assert_eq!(again, [Change::Ended(session(1)), Change::Started(session(2))]);
        assert_eq!((t.take_left(), t.by_lane.len()), (None, 1));
        assert_eq!(t.unbind_lane(81_001, "gw", (Protocol::Mgcp, lane(1))), [Change::Ended(session(2))]);
        assert!(t.take_left().is_some() && t.bindings() == 0);
    }

    #[test]
    fn what_nobody_confirms_runs_out_and_changes_nothing() {
        let mut t =
            Location::new(Limits { identities: 2, bindings_each: 2, remember_ms: 1000 }, &mut SystemRandom::new());
        let at = |n| (Protocol::H248, lane(n));
        t.bind_lane(0, "gw", at(1), 600, &session(1)).unwrap();
        // Of those that wait the oldest gives way.
        for n in 2..=4 {
            t.bind_lane(n, "gw", at(n as u16), 600, &session(n as u8)).unwrap();
        }
        assert_eq!((t.bindings(), t.candidates), (3, 2));
        assert_eq!((t.take_left(), t.take_left()), (Some((Protocol::H248, "gw".into(), lane(2))), None));
        // Where it is its time goes on, also when it registers there again; where it waits, it does not.
        t.bind_lane(5, "gw", at(1), 600, &session(5)).unwrap();
        assert_eq!(t.touch(6, Protocol::H248, "gw", 600), Some(session(5)));
        let mut ended = Vec::new();
        t.expire(UNCONFIRMED_MS + 4, 10, |_, s, _| ended.push(s.rand[0]));
        assert_eq!((ended, t.bindings(), t.has_candidates()), (vec![3, 4], 1, false));
        assert_eq!((t.lane_of(40_000, Protocol::H248, "gw"), t.by_lane.len()), (Some(lane(1)), 1));
        assert!(t.confirm_lane(40_000, "gw", at(4)).is_none());
        // Confirmed in time it has all that was granted, and what waited elsewhere goes on waiting.
        t.bind_lane(50_000, "gw", at(3), 600, &session(6)).unwrap();
        t.bind_lane(50_000, "gw", at(4), 600, &session(7)).unwrap();
        assert_eq!(t.confirm_lane(51_000, "gw", at(3)), Some(vec![Change::Ended(session(5))]));
        t.expire(90_000, 10, |_, s, _| assert_eq!(s.rand[0], 7));
        assert_eq!(t.lane_of(649_999, Protocol::H248, "gw"), Some(lane(3)));
        assert!(t.lane_of(650_000, Protocol::H248, "gw").is_none());
        // Whoever is bound nowhere any more still waits where it waits, and is bound at once where it comes next.
        t.bind_lane(600_000, "gw", at(4), 600, &session(8)).unwrap();
        assert_eq!(t.unbind_lane(600_001, "gw", at(3)), [Change::Ended(session(6))]);
        assert_eq!(
            (t.lane_of(600_001, Protocol::H248, "gw"), t.owner(600_001, Protocol::H248, lane(4))),
            (None, Some("gw"))
        );
        t.bind_lane(600_002, "gw", at(1), 600, &session(9)).unwrap();
        assert_eq!(t.lane_of(600_002, Protocol::H248, "gw"), Some(lane(1)));
    }
}
