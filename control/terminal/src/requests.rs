//! Requests under way inside a session: repeated until they are answered, or given up.

use crate::agent::Ctx;
use portunus_keydist::timing::{Due, Repeating};

/// Requests of its own that a terminal has under way at most.
const MAX: usize = 16;

/// One request; `key` is what its answer bears, `purpose` what it was for.
pub(crate) struct Request<K, P> {
    /// The number that the owner knows it by.
    pub(crate) id: u32,
    pub(crate) key: K,
    pub(crate) purpose: P,
    pub(crate) text: Vec<u8>,
    repeat: Repeating,
}

/// Those under way.
pub(crate) struct Requests<K, P> {
    open: Vec<Request<K, P>>,
    last_id: u32,
}

impl<K, P> Default for Requests<K, P> {
    fn default() -> Self {
        Self { open: Vec::new(), last_id: 0 }
    }
}

impl<K: PartialEq, P> Requests<K, P> {
    /// Sends a request, repeated by the profile's schedule. Its number; `None`: too many are under way, or there is no
    /// session.
    pub(crate) fn ask(&mut self, ctx: &mut Ctx<'_>, key: K, purpose: P, text: Vec<u8>) -> Option<u32> {
        if self.open.len() >= MAX || !ctx.say(&text) {
            return None;
        }
        self.last_id = self.last_id.wrapping_add(1);
        let (id, repeat) = (self.last_id, Repeating::begin(ctx.env().profile.inside, ctx.now));
        self.open.push(Request { id, key, purpose, text, repeat });
        Some(id)
    }

    /// True when one is under way that `is` says yes to.
    pub(crate) fn any(&self, is: impl Fn(&P) -> bool) -> bool {
        self.open.iter().any(|r| is(&r.purpose))
    }

    /// True when a request of this key is under way.
    pub(crate) fn awaits(&self, key: &K) -> bool {
        self.open.iter().any(|r| r.key == *key)
    }

    /// The request that a final answer belongs to, which is over.
    pub(crate) fn answered(&mut self, key: &K) -> Option<Request<K, P>> {
        let at = self.open.iter().position(|r| r.key == *key)?;
        Some(self.open.swap_remove(at))
    }

    /// The request of this key is being worked at, and answered within so many milliseconds; false: there is none.
    pub(crate) fn postpone(&mut self, ctx: &Ctx<'_>, key: &K, delay_ms: u32) -> bool {
        let request = self.open.iter_mut().find(|r| r.key == *key);
        request.map(|r| r.repeat.postpone(ctx.now, delay_ms)).is_some()
    }

    /// Repeats what is due; what was given up is returned.
    pub(crate) fn on_timer(&mut self, ctx: &mut Ctx<'_>) -> Vec<Request<K, P>> {
        let mut given_up = Vec::new();
        let mut i = 0;
        while let Some(request) = self.open.get_mut(i) {
            match request.repeat.poll(ctx.now) {
                Some(Due::Repeat) => ctx.repeat(&request.text),
                Some(Due::GiveUp) => {
                    given_up.push(self.open.swap_remove(i));
                    continue;
                }
                None => {}
            }
            i += 1;
        }
        given_up
    }

    /// The session is over: what is left unanswered.
    pub(crate) fn abandon(&mut self) -> Vec<Request<K, P>> {
        core::mem::take(&mut self.open)
    }

    /// When [`Requests::on_timer`] has something to do, monotonic milliseconds.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.open.iter().map(|r| r.repeat.deadline().0).min()
    }
}
