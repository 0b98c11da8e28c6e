//! Where the AuC finds credentials: the store behind a bounded cache of opened keys, or memory alone.

use crate::store::{Credential, Moment, Space, Store, StoreError};
use portunus_keydist::auc::Decoy;
use portunus_keydist::{Key, Now, Random};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the AuC needs to know of identities. An implementation does the same work for those that exist and those that
/// do not.
pub trait Subscribers {
    /// A subscriber's credential.
    ///
    /// # Errors
    /// [`StoreError`]; for a damaged record it names whose.
    fn subscriber(&mut self, now: Now, idc: &str) -> Result<Option<Credential>, StoreError>;

    /// The key that a subscriber had before, while that still works.
    ///
    /// # Errors
    /// [`StoreError`].
    fn previous(&mut self, now: Now, idc: &str) -> Result<Option<Key>, StoreError>;

    /// The key shared with a proxy or softswitch; while it is being replaced, the one before.
    ///
    /// # Errors
    /// [`StoreError`].
    fn device(&mut self, now: Now, idsp: &str) -> Result<Option<Key>, StoreError>;

    /// The source of keys for identities that do not exist.
    fn decoy(&self) -> Decoy;
}

/// All in memory: for simulations and demonstrations.
#[derive(Debug, Clone)]
pub struct InMemory {
    subscribers: BTreeMap<String, Credential>,
    previous: BTreeMap<String, Key>,
    devices: BTreeMap<String, Key>,
    decoy: Decoy,
}

impl InMemory {
    /// An empty one.
    pub fn new(rng: &mut dyn Random) -> Self {
        let mut octets = [0u8; 32];
        rng.fill(&mut octets);
        let decoy = Decoy::new(Key::new(octets));
        Self { subscribers: BTreeMap::new(), previous: BTreeMap::new(), devices: BTreeMap::new(), decoy }
    }

    /// Lets a subscriber's former key work beside the present one.
    pub fn add_previous(&mut self, idc: &str, key: Key) {
        self.previous.insert(idc.to_owned(), key);
    }

    /// Adds or replaces a subscriber.
    pub fn add_subscriber(&mut self, idc: &str, credential: Credential) {
        self.subscribers.insert(idc.to_owned(), credential);
    }

    /// Adds or replaces a device.
    pub fn add_device(&mut self, idsp: &str, key: Key) {
        self.devices.insert(idsp.to_owned(), key);
    }
}

impl Subscribers for InMemory {
    fn subscriber(&mut self, _now: Now, idc: &str) -> Result<Option<Credential>, StoreError> {
        Ok(self.subscribers.get(idc).cloned())
    }

    fn previous(&mut self, _now: Now, idc: &str) -> Result<Option<Key>, StoreError> {
        Ok(self.previous.get(idc).cloned())
    }

    fn device(&mut self, _now: Now, idsp: &str) -> Result<Option<Key>, StoreError> {
        Ok(self.devices.get(idsp).cloned())
    }

    fn decoy(&self) -> Decoy {
        self.decoy.clone()
    }
}

/// How long one moment of the store serves, and so how soon changes by other processes are seen, milliseconds.
const MOMENT_MS: u64 = 100;

/// The store behind a bounded cache of opened credentials. That an identity does not exist is remembered like a
/// credential is, so that the second question costs the same for both kinds as the first one did.
#[derive(Debug)]
pub struct Cached {
    store: Arc<Store>,
    /// The store as it was at most [`MOMENT_MS`] ago.
    moment: Option<Moment>,
    subscribers: Clock<Credential>,
    /// Former keys, with the end of their time in milliseconds since 1970.
    previous: Clock<(Key, u64)>,
    devices: Clock<Credential>,
    /// Former keys of devices likewise.
    former: Clock<(Key, u64)>,
    changes: u64,
    generation: u64,
    renew_at: u64,
}

impl Cached {
    /// `capacity`: most subscribers kept open. Devices have their own room, for 4096.
    pub fn new(store: Arc<Store>, capacity: usize) -> Self {
        Self {
            subscribers: Clock::new(capacity, blank()),
            previous: Clock::new(capacity, (Key::new([0; 32]), 0)),
            devices: Clock::new(4_096, blank()),
            former: Clock::new(4_096, (Key::new([0; 32]), 0)),
            changes: store.changes(),
            generation: store.generation().unwrap_or_default(),
            renew_at: 0,
            moment: None,
            store,
        }
    }

    /// Takes a new moment when this process has changed a credential, or the last one is old; forgets everything when
    /// any credential has changed.
    fn freshen(&mut self, now: Now) -> Result<(), StoreError> {
        let changes = self.store.changes();
        if self.moment.is_some() && changes == self.changes && now.mono_ms < self.renew_at {
            return Ok(());
        }
        // The one before is let go first: it is not renewed for ever where this fails.
        self.moment = None;
        let moment = self.store.moment()?;
        let generation = self.store.generation_in(&moment)?;
        if changes != self.changes || generation != self.generation {
            self.subscribers.clear();
            self.devices.clear();
            self.former.clear();
            self.previous.clear();
        }
        (self.changes, self.generation, self.renew_at) = (changes, generation, now.mono_ms + MOMENT_MS);
        self.moment = Some(moment);
        Ok(())
    }
}

/// Looks something up in the present moment; where that fails, once more in a new one: the handle that it was read by may
/// have been closed by a write that failed, or the record sealed anew since.
fn look_up<T>(
    store: &Store,
    present: &mut Option<Moment>,
    look: impl Fn(&Store, &Moment) -> Result<Option<T>, StoreError>,
) -> Result<Option<T>, StoreError> {
    if let Some(moment) = present
        && let Ok(found) = look(store, moment)
    {
        return Ok(found);
    }
    *present = None;
    let moment = store.moment()?;
    let found = look(store, &moment)?;
    *present = Some(moment);
    Ok(found)
}

impl Subscribers for Cached {
    fn subscriber(&mut self, now: Now, idc: &str) -> Result<Option<Credential>, StoreError> {
        self.freshen(now)?;
        let Self { store, moment, subscribers, .. } = self;
        let look = |store: &Store, moment: &Moment| store.credential_in(moment, Space::Subscriber, idc);
        subscribers.get_or(idc, || look_up(store, moment, look))
    }

    fn previous(&mut self, now: Now, idc: &str) -> Result<Option<Key>, StoreError> {
        self.freshen(now)?;
        if self.moment.as_ref().is_some_and(Moment::has_no_former_keys) {
            return Ok(None);
        }
        let Self { store, moment, previous, .. } = self;
        let look = |store: &Store, moment: &Moment| store.previous_in(moment, Space::Subscriber, idc);
        Ok(still(now, previous.get_or(idc, || look_up(store, moment, look))?))
    }

    fn device(&mut self, now: Now, idsp: &str) -> Result<Option<Key>, StoreError> {
        self.freshen(now)?;
        let Self { store, moment, devices, former, .. } = self;
        let look = |store: &Store, moment: &Moment| store.credential_in(moment, Space::Device, idsp);
        let found = devices.get_or(idsp, || look_up(store, moment, look))?;
        let Some(Credential::Key(key)) = found else { return Ok(None) };
        let look = |store: &Store, moment: &Moment| store.previous_in(moment, Space::Device, idsp);
        let former = former.get_or(idsp, || look_up(store, moment, look))?;
        Ok(Some(still(now, former).unwrap_or(key)))
    }

    fn decoy(&self) -> Decoy {
        self.store.decoy()
    }
}

/// A former key whose time is not over.
fn still(now: Now, former: Option<(Key, u64)>) -> Option<Key> {
    former.filter(|(_, until_ms)| now.wall_ms < *until_ms).map(|(key, _)| key)
}

/// What stands for a credential that does not exist.
fn blank() -> Credential {
    Credential::Key(Key::new([0; 32]))
}

/// A second-chance cache: a hand goes round and takes the first entry that was not used since its last visit. Hashed
/// under a key of this process's, because identities are chosen by whoever asks. Dropped credentials erase themselves.
struct Clock<V> {
    places: Vec<Place<V>>,
    index: HashMap<Arc<str>, usize>,
    capacity: usize,
    hand: usize,
    /// What is kept for an identity that does not exist, so that handling it costs the same.
    blank: V,
}

struct Place<V> {
    id: Arc<str>,
    value: V,
    exists: bool,
    used: bool,
}

impl<V> core::fmt::Debug for Clock<V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Clock({} of {})", self.places.len(), self.capacity)
    }
}

impl<V: Clone> Clock<V> {
    fn new(capacity: usize, blank: V) -> Self {
        Self { places: Vec::new(), index: HashMap::new(), capacity: capacity.max(1), hand: 0, blank }
    }

    fn clear(&mut self) {
        self.places.clear();
        self.index.clear();
        self.hand = 0;
    }

    /// `None`: not cached. `Some(None)`: known not to exist.
    fn get(&mut self, id: &str) -> Option<Option<V>> {
        let place = self.places.get_mut(*self.index.get(id)?)?;
        place.used = true;
        let value = std::hint::black_box(place.value.clone());
        Some(place.exists.then_some(value))
    }

    /// As it is known, or as `look` finds it, which is then known.
    fn get_or(
        &mut self,
        id: &str,
        look: impl FnOnce() -> Result<Option<V>, StoreError>,
    ) -> Result<Option<V>, StoreError> {
        if let Some(known) = self.get(id) {
            return Ok(known);
        }
        let found = look()?;
        self.insert(id, found.clone());
        Ok(found)
    }

    fn insert(&mut self, id: &str, value: Option<V>) {
        let id: Arc<str> = id.into();
        let exists = value.is_some();
        let value = value.unwrap_or_else(|| self.blank.clone());
        let place = Place { id: id.clone(), value, exists, used: false };
        if self.places.len() < self.capacity {
            self.index.insert(id, self.places.len());
            self.places.push(place);
            return;
        }
        // At most one round: the first visit takes every second chance.
        while let Some(old) = self.places.get_mut(self.hand) {
            if !std::mem::take(&mut old.used) {
                self.index.remove(&old.id);
                *old = place;
                self.index.insert(id, self.hand);
                self.hand = (self.hand + 1) % self.capacity;
                return;
            }
            self.hand = (self.hand + 1) % self.capacity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Option<Credential> {
        Some(Credential::Key(Key::new([n; 32])))
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let mut clock = Clock::new(8, blank());
        clock.insert("always", key(1));
        for n in 0..1_000 {
            assert!(clock.get("always").is_some(), "{n}");
            clock.insert(&format!("once{n}"), if n % 2 == 0 { None } else { key(2) });
            assert!(clock.places.len() <= 8 && clock.index.len() == clock.places.len());
        }
        assert!(clock.get("once1").is_none());
        assert!(matches!(clock.get("once998"), Some(None)));
        assert!(matches!(clock.get("once999"), Some(Some(_))));
    }
}
