//! Bindings to lanes.

use super::{Binding, Change, Keyed, Location, Session, Unchanged, changes, sessions};
use crate::peers::Peer;
use hashbrown::HashMap;
use portunus_signalling::Protocol;

impl Location {
    /// Binds an identity to a lane and to nothing else.
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
        let before = self.record(idc).map_or_else(Vec::new, |r| sessions(r.bindings.iter()));
        self.age += 1;
        let binding = Binding {
            protocol,
            lane: Some(lane),
            uri: Box::default(),
            path: Box::default(),
            q_milli: 1000,
            expires_ms: until(now_ms, expires_s),
            session: session.clone(),
            candidate: false,
            call_id: 0,
            cseq: 0,
            age: self.age,
        };
        self.commit(now_ms, idc, vec![binding])?;
        let session = core::slice::from_ref(session);
        Ok(changes(&before, session, session))
    }

    /// Ends what an identity is bound to by a lane protocol.
    pub(crate) fn unbind_lane(&mut self, now_ms: u64, protocol: Protocol, idc: &str) -> Vec<Change> {
        let Some(record) = self.record(idc) else { return Vec::new() };
        let before = sessions(record.bindings.iter());
        let next: Vec<Binding> = record.bindings.iter().filter(|b| b.protocol != protocol).cloned().collect();
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
        let live = |b: &&mut Binding| b.protocol == protocol && b.lane.is_some() && b.expires_ms > now_ms;
        let binding = record.bindings.iter_mut().find(live)?;
        binding.expires_ms = until(now_ms, expires_s);
        let (due, session) = (binding.expires_ms, binding.session.clone());
        self.due_by(slot, due);
        Some(session)
    }

    /// Whose lane this is.
    pub(crate) fn whose(&self, now_ms: u64, protocol: Protocol, lane: Peer) -> Option<&str> {
        let idc = self.by_lane.get(&(protocol, lane))?;
        self.lane_of(now_ms, protocol, idc).is_some().then_some(&**idc)
    }

    /// The lane that an identity is bound to by this protocol.
    pub(crate) fn lane_of(&self, now_ms: u64, protocol: Protocol, idc: &str) -> Option<Peer> {
        self.find(now_ms, idc)?.find(|b| b.protocol == protocol).and_then(|b| b.lane)
    }

    /// The next identity that a lane protocol is to be told has left it.
    pub(crate) fn take_left(&mut self) -> Option<(Protocol, Box<str>)> {
        self.left.pop()
    }
}

fn until(now_ms: u64, expires_s: u32) -> u64 {
    now_ms + u64::from(expires_s) * 1000
}

/// Keeps the lanes in step with an identity's bindings: `before` were there and are gone, or are in `after` again.
pub(super) fn moved(
    by_lane: &mut HashMap<(Protocol, Peer), Box<str>, Keyed>,
    left: &mut Vec<(Protocol, Box<str>)>,
    idc: &str,
    before: &[Binding],
    after: &[Binding],
) {
    for (protocol, lane) in before.iter().filter_map(|b| Some((b.protocol, b.lane?))) {
        if by_lane.get(&(protocol, lane)).is_some_and(|owner| **owner == *idc) {
            by_lane.remove(&(protocol, lane));
        }
        if !after.iter().any(|b| b.protocol == protocol) {
            left.push((protocol, idc.into()));
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
        assert_eq!(t.whose(1, Protocol::Mgcp, lane(1)), Some("gw"));
        assert!(t.whose(1, Protocol::H248, lane(1)).is_none() && t.take_left().is_none());
        let moved = t.bind_lane(2, "gw", h248, 60, &session(2)).unwrap();
        assert_eq!(moved, [Change::Ended(session(1)), Change::Started(session(2))]);
        assert_eq!(t.take_left(), Some((Protocol::Mgcp, "gw".into())));
        assert_eq!((t.whose(2, Protocol::Mgcp, lane(1)), t.lane_of(2, Protocol::H248, "gw")), (None, Some(lane(2))));
        // What SIP ends is SIP's own; what it binds is bound by nothing else.
        assert!(sip(&mut t, 3, 0, &session(3)).is_empty());
        assert_eq!(sip(&mut t, 3, 60, &session(3)), [Change::Ended(session(2)), Change::Started(session(3))]);
        assert_eq!(t.take_left(), Some((Protocol::H248, "gw".into())));
        assert_eq!(t.bind_lane(4, "gw", mgcp, 60, &session(4)).unwrap().len(), 2);
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
        assert_eq!(t.take_left(), Some((Protocol::Mgcp, "gw".into())));
        assert!(t.touch(80_001, Protocol::Mgcp, "gw", 60).is_none() && t.by_lane.is_empty());
        // The same lane again, and a new one in its place.
        t.bind_lane(81_000, "gw", (Protocol::Mgcp, lane(1)), 60, &session(1)).unwrap();
        t.bind_lane(81_000, "gw", (Protocol::Mgcp, lane(3)), 60, &session(2)).unwrap();
        assert_eq!((t.take_left(), t.by_lane.len()), (None, 1));
        assert_eq!(t.unbind_lane(81_001, Protocol::Mgcp, "gw"), [Change::Ended(session(2))]);
        assert!(t.take_left().is_some() && t.bindings() == 0);
    }
}
