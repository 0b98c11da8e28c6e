//! The sessions: entries of four cache lines, found by key id (which holds the slot), by IDc, and for stock phones by
//! source.

use super::index::Index;
use super::paces::Pace;
pub(crate) use super::session::{Carried, Session, State};
use super::text::Texts;
use crate::api::{Lane, Meta};
use crate::classes::Pair;
use crate::routes::Heading;
use core::net::{IpAddr, SocketAddr};
use portunus_channel::tls::{Identity, Psk};
use portunus_channel::{End, Handles, Keys, Mechanism, ReplayWindow, Sequence};
use portunus_keydist::mech::Mech;
use portunus_keydist::proxy::HashKey;
use portunus_keydist::{Idc, Now};
use portunus_signalling::{Crossing, Protocol, SessionRef};

/// What a new session starts with.
pub(crate) struct Opening<'a> {
    pub(crate) idc: Idc<'a>,
    /// The name of its lane.
    pub(crate) lane: u64,
    pub(crate) binding: &'a [u8],
    pub(crate) meta: Meta,
    /// The mechanism that protects it, and the terminal's end; `None` for a stock phone's.
    pub(crate) protected: Option<(Mech, End)>,
    /// The host's kernel does that.
    pub(crate) kernel: bool,
    pub(crate) protocol: Protocol,
    pub(crate) state: State,
    pub(crate) ends_s: u32,
}

/// What a session of `tls` is named by in a ClientHello.
fn tls_id(keys: &Keys) -> Identity {
    <(Identity, Psk)>::from(keys).0
}

/// An identity is as good as random, and nobody chooses it: some of its octets are the hash.
const fn tls_hash(id: &Identity) -> u32 {
    let [.., a, b, c, d] = id.0;
    u32::from_be_bytes([a, b, c, d])
}

const SLOT_BITS: u32 = 32;
const GENERATION: u32 = (1 << 24) - 1;

/// The table.
pub(crate) struct Sessions {
    slots: Vec<Session>,
    /// Beside them, for their entries are full.
    paces: Vec<Pace>,
    capacity: usize,
    texts: Texts,
    by_idc: Index,
    /// Stock phones, and sessions whose ESP the kernel does.
    by_source: Index,
    /// Sessions of `tls` only; no room where no listener is for them.
    by_tls: Index,
    /// Sessions whose ESP the kernel does, by what the kernel knows the terminal's end by; no room where it is not asked.
    by_spi: Index,
    hash: HashKey,
    free: u32,
    worker: u8,
    seed: u32,
    /// Bits of an SPI that name the slot; those above them are the generation's.
    slot_bits: u32,
}

impl Sessions {
    /// Room for `capacity` sessions, any number of them of `tls`, or of the kernel's, where the flags say so, and `text` octets of identities and
    /// bindings; `seed` starts the generations.
    pub(crate) fn new(
        capacity: usize,
        text: usize,
        (hash, [tls, kernel]): (HashKey, [bool; 2]),
        worker: u8,
        seed: u32,
    ) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            paces: Vec::with_capacity(capacity),
            capacity,
            texts: Texts::new(text),
            by_idc: Index::new(capacity),
            by_source: Index::new(capacity),
            by_tls: Index::new(if tls { capacity } else { 0 }),
            by_spi: Index::new(if kernel { capacity } else { 0 }),
            hash,
            free: 0,
            worker,
            seed,
            slot_bits: usize::BITS - capacity.leading_zeros(),
        }
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Session> {
        self.slots.get(slot as usize).filter(|session| session.state != State::Free)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize).filter(|session| session.state != State::Free)
    }

    /// The number that names the session to the control side, and to terminals that bear it in their messages: worker,
    /// generation and slot.
    pub(crate) fn kid(&self, slot: u32) -> Option<u64> {
        Some(self.handle_of(Handles::Wide, slot, self.get(slot)?.generation))
    }

    /// What the session is named by in messages of a mechanism.
    pub(crate) fn handle(&self, slot: u32, mechanism: &dyn Mechanism) -> Option<u64> {
        Some(self.handle_of(mechanism.format().handles, slot, self.get(slot)?.generation))
    }

    fn handle_of(&self, handles: Handles, slot: u32, generation: u32) -> u64 {
        let worker = u64::from(self.worker);
        match handles {
            Handles::Wide => worker << 56 | u64::from(generation) << SLOT_BITS | u64::from(slot),
            // The slot plus one keeps it above the reserved SPIs.
            Handles::Narrow => {
                let generation = u64::from(generation) << self.slot_bits & u64::from(GENERATION);
                (generation | (u64::from(slot) + 1)) << 8 | worker
            }
        }
    }

    /// Where the session of this handle would be.
    fn slot_of(&self, handles: Handles, handle: u64) -> u32 {
        match handles {
            Handles::Wide => handle as u32,
            Handles::Narrow => ((handle >> 8) as u32 & ((1 << self.slot_bits) - 1)).wrapping_sub(1),
        }
    }

    /// The session of this handle in messages of a mechanism, in one step.
    #[inline]
    pub(crate) fn by_handle(&self, mechanism: &dyn Mechanism, handle: u64) -> Option<u32> {
        let handles = mechanism.format().handles;
        let slot = self.slot_of(handles, handle);
        let session = self.get(slot)?;
        let own = matches!(session.carried, Carried::Protected { mech, .. } if mech == mechanism.mech());
        (own && self.handle_of(handles, slot, session.generation) == handle).then_some(slot)
    }

    /// The session of this number, in one step.
    pub(crate) fn by_kid(&self, kid: u64) -> Option<u32> {
        let slot = self.slot_of(Handles::Wide, kid);
        (self.kid(slot) == Some(kid)).then_some(slot)
    }

    /// The session of `tls` that an identity names.
    pub(crate) fn by_tls(&self, id: &Identity) -> Option<u32> {
        let named = |slot: u32| self.get(slot).is_some_and(|s| s.stream().is_some() && tls_id(&s.keys) == *id);
        self.by_tls.find(tls_hash(id), named)
    }

    /// The session, of any kind, whose key id has these 20 low bits of the generation.
    pub(crate) fn by_ticket(&self, slot: u32, generation: u32) -> Option<u32> {
        let of = |session: &Session| session.generation & super::pendings::GENERATION;
        self.get(slot).filter(|session| of(session) == generation).map(|_| slot)
    }

    /// Reads a word of each line of the entry that a handle points at, so that the reads of a batch overlap.
    #[inline]
    pub(crate) fn touch(&self, mechanism: &dyn Mechanism, handle: u64) -> u64 {
        self.touch_slot(self.slot_of(mechanism.format().handles, handle))
    }

    /// As [`Sessions::touch`], of the entry in a slot.
    #[inline]
    pub(crate) fn touch_slot(&self, slot: u32) -> u64 {
        self.slots.get(slot as usize).map_or(0, |session| {
            let numbers = session.generation ^ u32::from(session.port) ^ u32::from(session.ip[0]);
            let keys = session.keys.c2s.touch() ^ session.keys.s2c.touch();
            session.window.top() ^ u64::from(numbers) ^ u64::from(keys)
        })
    }

    /// The name of an IDc's lane.
    pub(crate) fn lane(&self, idc: Idc<'_>) -> u64 {
        Lane::name(&self.hash, idc)
    }

    /// The session, in a state that `wanted` accepts, of the terminal whose lane has this name.
    pub(crate) fn by_lane(&self, name: u64, wanted: impl Fn(State) -> bool) -> Option<u32> {
        let own = |s: &Session| Idc::from_octets(self.idc_octets(s)).is_some_and(|idc| self.lane(idc) == name);
        self.by_idc.find(name as u32, |slot| self.get(slot).is_some_and(|s| wanted(s.state) && own(s)))
    }

    fn hash_source(&self, meta: &Meta) -> u32 {
        let source = portunus_keydist::proxy::Source::new(meta.source, meta.listener);
        self.hash.digest(b'S', &[source.as_bytes()]) as u32
    }

    /// The octets of a session's IDc.
    fn idc_octets(&self, session: &Session) -> &[u8] {
        self.texts.get(session.text, usize::from(session.idc_len))
    }

    /// What a protocol may know of it.
    pub(crate) fn known(&self, slot: u32) -> Option<SessionRef<'_>> {
        let session = self.get(slot)?;
        let (idc, binding) =
            self.texts.get(session.text, session.text_len()).split_at_checked(usize::from(session.idc_len))?;
        Some(SessionRef { idc: Idc::from_octets(idc)?, binding, keyed: session.is_keyed(), crossing: Crossing::OPEN })
    }

    /// Reads where the session of the terminal whose lane has this name is looked for, so that the misses of several
    /// overlap.
    #[inline]
    pub(crate) fn touch_lane(&self, name: u64) -> u64 {
        self.by_idc.touch(name as u32)
    }

    /// The session of an IDc in a state that `wanted` accepts.
    pub(crate) fn by_idc(&self, idc: Idc<'_>, wanted: impl Fn(State) -> bool) -> Option<u32> {
        self.by_idc_on(idc, self.lane(idc), wanted)
    }

    /// As [`Sessions::by_idc`], where the name of the IDc's lane is known.
    pub(crate) fn by_idc_on(&self, idc: Idc<'_>, lane: u64, wanted: impl Fn(State) -> bool) -> Option<u32> {
        self.by_idc.find(lane as u32, |slot| {
            self.get(slot).is_some_and(|s| wanted(s.state) && self.idc_octets(s) == idc.as_bytes())
        })
    }

    /// The stock phone's session of a source; of this IDc, where the message claims one.
    pub(crate) fn by_source(&self, meta: &Meta, idc: Option<Idc<'_>>) -> Option<u32> {
        self.by_source.find(self.hash_source(meta), |slot| {
            self.get(slot).is_some_and(|s| {
                let bears = idc.is_none_or(|idc| self.idc_octets(s) == idc.as_bytes());
                s.state == State::Stock && s.meta() == *meta && bears
            })
        })
    }

    fn hash_spi(&self, ip: IpAddr, spi: u32) -> u32 {
        let source = portunus_keydist::proxy::Source::new(SocketAddr::new(ip, 0), 0);
        self.hash.digest(b'E', &[source.as_bytes(), &spi.to_be_bytes()]) as u32
    }

    /// The session whose ESP the kernel does and whose terminal receives by this SPI at this address.
    pub(crate) fn by_spi(&self, ip: IpAddr, spi: u32) -> Option<u32> {
        self.by_spi.find(self.hash_spi(ip, spi), |slot| {
            self.get(slot).is_some_and(|s| s.kernel_spi() == Some(spi) && s.meta().source.ip() == ip)
        })
    }

    /// The session whose ESP the kernel does and whose messages come from there.
    pub(crate) fn by_kernel(&self, meta: &Meta) -> Option<u32> {
        self.by_source.find(self.hash_source(meta), |slot| {
            self.get(slot).is_some_and(|s| s.kernel_spi().is_some() && s.meta() == *meta)
        })
    }

    /// The slot that is taken next, and its generation; `None` when the table is full.
    fn next(&self) -> Option<(u32, u32)> {
        match self.free.checked_sub(1) {
            Some(slot) => Some((slot, self.slots.get(slot as usize)?.generation.wrapping_add(1) & GENERATION)),
            None if self.slots.len() < self.capacity => Some((self.slots.len() as u32, self.seed & GENERATION)),
            None => None,
        }
    }

    /// Makes a session; `None` when the table or the room for text is full.
    pub(crate) fn open(&mut self, opening: &Opening<'_>, keys: Keys) -> Option<u32> {
        let (slot, generation) = self.next()?;
        let idc = opening.idc.as_bytes();
        let (idc_len, binding_len) = (idc.len().try_into().ok()?, opening.binding.len().try_into().ok()?);
        let carried = match opening.protected {
            Some((Mech::Tls, _)) => Carried::Stream { conn: 0 },
            Some((_, end)) if opening.kernel => Carried::Kernel { port: end.port, spi: end.handle.try_into().ok()? },
            Some((mech, end)) => Carried::Protected { mech, port: end.port, handle: end.handle.try_into().ok()? },
            None => Carried::Plain { conn: 0 },
        };
        let text = self.texts.store(&[idc, opening.binding])?;
        let mut session = Session {
            keys,
            window: ReplayWindow::new(),
            sequence: Sequence::new(),
            generation,
            text,
            ip: [0; 16],
            ends_s: opening.ends_s,
            carried,
            port: 0,
            idc_len,
            binding_len,
            is_v4: false,
            listener: 0,
            protocol: opening.protocol,
            state: opening.state,
        };
        session.set_meta(&opening.meta);
        self.by_idc.insert(opening.lane as u32, slot);
        if session.stream().is_some() {
            self.by_tls.insert(tls_hash(&tls_id(&session.keys)), slot);
        }
        if let Some(spi) = session.kernel_spi() {
            self.by_spi.insert(self.hash_spi(opening.meta.source.ip(), spi), slot);
        }
        if session.is_by_source() {
            self.by_source.insert(self.hash_source(&opening.meta), slot);
        }
        match self.slots.get_mut(slot as usize) {
            Some(place) => {
                self.free = place.text;
                *place = session;
            }
            None => {
                self.slots.push(session);
                self.paces.push(Pace::default());
            }
        }
        Some(slot)
    }

    /// What a session keeps to: its policies, and how fast it was.
    pub(crate) fn pace(&self, slot: u32) -> Pace {
        self.paces.get(slot as usize).copied().unwrap_or_default()
    }

    pub(crate) fn pace_mut(&mut self, slot: u32) -> Option<&mut Pace> {
        self.paces.get_mut(slot as usize)
    }

    /// These are a session's policies from now on, and it has sent nothing under them.
    pub(crate) fn set_pace(&mut self, slot: u32, (pair, heading): (Pair, Heading), now: Now) {
        if let Some(pace) = self.paces.get_mut(slot as usize) {
            *pace = Pace::new(pair, heading, now.mono_ms);
        }
    }

    /// Keeps another binding; false, and the old one stays, when there is no room for it.
    pub(crate) fn rebind(&mut self, slot: u32, binding: &[u8]) -> bool {
        let Some(known) = self.known(slot) else { return false };
        if known.binding == binding {
            return true;
        }
        let idc = portunus_keydist::ident::IdcBuf::new(known.idc);
        let (Ok(binding_len), Some(text)) =
            (u8::try_from(binding.len()), self.texts.store(&[idc.as_idc().as_bytes(), binding]))
        else {
            return false;
        };
        let Some(session) = self.slots.get_mut(slot as usize) else { return false };
        let (old, old_len) = (session.text, session.text_len());
        (session.text, session.binding_len) = (text, binding_len);
        self.texts.free(old, old_len);
        true
    }

    /// Ends a session: its keys are erased.
    pub(crate) fn close(&mut self, slot: u32) {
        let (Some(session), Some(known)) = (self.get(slot), self.known(slot)) else { return };
        let (idc_hash, text, len) = (self.lane(known.idc) as u32, session.text, session.text_len());
        let source = session.is_by_source().then(|| self.hash_source(&session.meta()));
        let tls = session.stream().map(|_| tls_hash(&tls_id(&session.keys)));
        let spi = session.kernel_spi().map(|spi| self.hash_spi(session.meta().source.ip(), spi));
        self.by_idc.remove(idc_hash, slot);
        if let Some(hash) = tls {
            self.by_tls.remove(hash, slot);
        }
        if let Some(hash) = source {
            self.by_source.remove(hash, slot);
        }
        if let Some(hash) = spi {
            self.by_spi.remove(hash, slot);
        }
        self.texts.free(text, len);
        let free = core::mem::replace(&mut self.free, slot + 1);
        if let Some(session) = self.slots.get_mut(slot as usize) {
            session.keys = Keys::none();
            session.state = State::Free;
            session.text = free;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portunus_channel::esp::Esp;
    use portunus_channel::sealed::Sealed;

    fn sessions(capacity: usize) -> Sessions {
        Sessions::new(capacity, 64 << 10, (HashKey::new(1, 2), [true; 2]), 7, 0xffff_ffff)
    }

    fn meta(port: u16) -> Meta {
        Meta { source: SocketAddr::new("192.0.2.1".parse().unwrap(), port), listener: 1, conn: 0 }
    }

    fn open(table: &mut Sessions, idc: &str, port: u16, state: State) -> Option<u32> {
        let mech = (state != State::Stock).then_some((Mech::Sealed, End::default()));
        open_with(table, idc, port, state, mech)
    }

    fn open_with(
        table: &mut Sessions,
        idc: &str,
        port: u16,
        state: State,
        protected: Option<(Mech, End)>,
    ) -> Option<u32> {
        let idc = Idc::new(idc).unwrap();
        let (protocol, lane, meta) = (Protocol::Sip, table.lane(idc), meta(port));
        let opening =
            Opening { idc, lane, binding: b"sip:x", meta, protected, kernel: false, protocol, state, ends_s: 9 };
        table.open(&opening, Keys::none())
    }

    #[test]
    fn an_entry_is_four_cache_lines() {
        assert_eq!(size_of::<Session>(), 256);
    }

    #[test]
    fn found_by_every_name_and_no_more_when_closed() {
        let mut table = sessions(4);
        let active = open(&mut table, "alice", 1, State::Active).unwrap();
        let newer = open(&mut table, "alice", 2, State::Provisional).unwrap();
        let stock = open(&mut table, "bob", 3, State::Stock).unwrap();
        let alice = Idc::new("alice").unwrap();
        assert_eq!(table.by_idc(alice, |s| s == State::Active), Some(active));
        assert_eq!(table.by_idc(alice, |s| s == State::Provisional), Some(newer));
        assert_eq!(table.by_source(&meta(3), None), Some(stock));
        assert_eq!(table.by_source(&meta(3), Idc::new("bob")), Some(stock));
        assert_eq!(table.by_source(&meta(3), Some(alice)), None);
        assert_eq!(table.by_source(&meta(1), None), None, "keyed sessions have no source to go by");
        let lane = table.lane(alice);
        assert_eq!(table.by_lane(lane, |s| s == State::Active), Some(active));
        assert_eq!(table.by_lane(lane ^ 1 << 40, |_| true), None, "the whole name counts");
        let kid = table.kid(active).unwrap();
        assert_eq!((kid >> 56, kid as u32, table.by_handle(&Sealed, kid)), (7, active, Some(active)));
        assert_eq!(table.by_handle(&Sealed, kid ^ 1 << 40), None);
        assert_eq!(table.by_handle(&Sealed, table.kid(stock).unwrap()), None, "a stock phone has no key id");
        table.close(active);
        table.close(stock);
        assert_eq!(table.by_handle(&Sealed, kid), None);
        assert_eq!(table.by_source(&meta(3), None), None);
        assert_eq!(table.by_idc(alice, |_| true), Some(newer));
        let again = open(&mut table, "alice", 1, State::Active).unwrap();
        assert_ne!(table.kid(again).unwrap(), kid);
    }

    #[test]
    fn an_spi_names_worker_slot_and_generation_and_is_never_reserved() {
        for capacity in [1, 3, 4, 1000, crate::SESSIONS_MAX] {
            let mut table = Sessions::new(capacity, 64 << 10, (HashKey::new(1, 2), [false; 2]), 0, 0);
            let esp = Some((Mech::Esp, End { handle: 0xc000_0101, port: 5062 }));
            let mut seen = Vec::new();
            for _ in 0..3 {
                let slot = open_with(&mut table, "a", 1, State::Active, esp).unwrap();
                let spi = table.handle(slot, &Esp).unwrap();
                assert!((256..1 << 32).contains(&spi), "{spi}");
                assert_eq!((spi & 0xff, table.by_handle(&Esp, spi)), (0, Some(slot)), "capacity {capacity}");
                assert_eq!(table.by_handle(&Sealed, table.kid(slot).unwrap()), None, "another mechanism's");
                for other in [spi | 1, spi ^ 1 << 9, 0, 255, 256 << 24] {
                    assert_eq!(table.by_handle(&Esp, other).filter(|_| other != spi), None, "{other:x}");
                }
                seen.push(spi);
                table.close(slot);
                assert_eq!(table.by_handle(&Esp, spi), None);
            }
            seen.dedup();
            // A table of the largest size has no bits left to tell uses of a slot apart.
            assert_eq!(seen.len(), if capacity == crate::SESSIONS_MAX { 1 } else { 3 }, "capacity {capacity}");
        }
        let table = Sessions::new(crate::SESSIONS_MAX, 4096, (HashKey::new(1, 2), [false; 2]), 254, 0);
        let last = table.handle_of(Handles::Narrow, crate::SESSIONS_MAX as u32 - 1, GENERATION);
        assert_eq!((last, table.slot_of(Handles::Narrow, last)), (0xffff_fffe, crate::SESSIONS_MAX as u32 - 1));
    }

    #[test]
    fn an_identity_names_a_session_of_tls_alone_and_a_plain_connection_is_never_its_own() {
        let mut table = sessions(2);
        let (id, psk) = (Identity([7; 16]), Psk::new([8; 32]));
        let idc = Idc::new("alice").unwrap();
        let meta = Meta { conn: 77, ..meta(1) };
        let protected = Some((Mech::Tls, End::default()));
        let (lane, state, protocol) = (table.lane(idc), State::Active, Protocol::Sip);
        let opening = Opening { idc, lane, binding: b"x", meta, protected, kernel: false, protocol, state, ends_s: 9 };
        let slot = table.open(&opening, Keys::from((id, psk.clone()))).unwrap();
        assert_eq!((table.by_tls(&id), table.by_tls(&Identity([9; 16]))), (Some(slot), None));
        assert_eq!(table.get(slot).unwrap().stream(), Some(0), "it registered over that one, in the clear");
        assert_eq!(table.get_mut(slot).unwrap().set_stream(&Meta { conn: 5, ..meta }), 0);
        assert_eq!(table.get_mut(slot).unwrap().set_stream(&Meta { conn: 6, ..meta }), 5);
        assert_eq!(table.get(slot).unwrap().meta().conn, 6);
        let sealed = Opening { protected: Some((Mech::Sealed, End::default())), ..opening };
        let other = table.open(&sealed, Keys::from((Identity([9; 16]), psk))).unwrap();
        assert_eq!((table.by_tls(&Identity([9; 16])), table.get(other).unwrap().stream()), (None, None));
        table.close(slot);
        assert_eq!(table.by_tls(&id), None);
    }

    #[test]
    fn bounded_and_bindings_change() {
        let mut table = sessions(2);
        let a = open(&mut table, "a", 1, State::Active).unwrap();
        open(&mut table, "b", 2, State::Active).unwrap();
        assert!(open(&mut table, "c", 3, State::Active).is_none());
        assert!(table.rebind(a, &[b'x'; 192]));
        let known = table.known(a).unwrap();
        assert_eq!((known.idc.as_str(), known.binding), ("a", &[b'x'; 192][..]));
        assert!(!table.rebind(a, &[0; 256]));
        table.close(a);
        assert!(open(&mut table, "c", 3, State::Active).is_some());
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        let mut table = sessions(1);
        let slot = open(&mut table, "a", 1, State::Stock).unwrap();
        for source in ["192.0.2.9:7", "[2001:db8::1]:8", "[::ffff:192.0.2.9]:9"] {
            let meta = Meta { source: source.parse().unwrap(), listener: 3, conn: 77 };
            table.get_mut(slot).unwrap().set_meta(&meta);
            assert_eq!(table.get(slot).unwrap().meta(), meta);
        }
    }
}
