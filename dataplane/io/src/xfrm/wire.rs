//! Requests and answers of NETLINK_XFRM (linux/netlink.h, linux/xfrm.h), as octets. Numbers are in the machine's own
//! order, addresses, ports and SPIs in the network's.

use core::net::{IpAddr, SocketAddr};

/// Octets of a netlink message's header, and what everything in it is aligned to.
const HEADER: usize = 16;
const ALIGN: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
/// Fail where it exists already, make it where it does not.
const NLM_F_NEW: u16 = 0x600;

const NEWSA: u16 = 0x10;
const DELSA: u16 = 0x11;
const GETSA: u16 = 0x12;
const UPDPOLICY: u16 = 0x19;
const DELPOLICY: u16 = 0x14;
const UPDSA: u16 = 0x1a;
const MAPPING: u16 = 0x26;

const ATTR_ENCAP: u16 = 4;
const ATTR_TMPL: u16 = 5;
const ATTR_AEAD: u16 = 18;
const ATTR_REPLAY_ESN: u16 = 23;

const ESP: u8 = 50;
const UDP: u8 = 17;
/// UDP_ENCAP_ESPINUDP (linux/udp.h).
pub(super) const ESP_IN_UDP: u16 = 2;
/// The kernel's name of RFC 4106, and its ICV in bits.
const AEAD: &[u8] = b"rfc4106(gcm(aes))";
const ICV_BITS: u32 = 128;
/// Octets of `struct xfrm_usersa_info` and of what stands in it.
const SA_INFO: usize = 224;
const SELECTOR: usize = 56;

/// Octets of the longest request.
pub const REQUEST_MAX: usize = 1024;

/// What the kernel finds an association by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SaId {
    /// The receiver's outer address.
    pub to: IpAddr,
    /// The receiver's SPI.
    pub spi: u32,
}

/// The outer UDP ports of ESP (RFC 3948), the sender's and the receiver's.
pub type Encapsulation = (u16, u16);

/// One direction: ESP in transport mode in UDP, AES-256-GCM-16, 32-bit sequence numbers, of inner UDP datagrams between
/// two ports.
#[derive(Clone, Copy)]
pub struct Association<'k> {
    /// What it is found by.
    pub id: SaId,
    /// The sender's outer address, which is its inner one too.
    pub from: IpAddr,
    /// The inner ports, the sender's and the receiver's.
    pub ports: (u16, u16),
    /// The outer ports.
    pub encapsulation: Encapsulation,
    /// 32 octets of key and 4 of salt (RFC 4106 section 8.1).
    pub key: &'k [u8; 36],
    /// Whose it is: one number for everything that one owner installs.
    pub reqid: u32,
    /// Numbers of the replay window, where this end receives; 0 where it sends.
    pub window: u32,
}

impl core::fmt::Debug for Association<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Association").field("id", &self.id).field("from", &self.from).finish_non_exhaustive()
    }
}

/// Which way a policy looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What this host receives.
    In = 0,
    /// What it sends.
    Out = 1,
}

/// That UDP datagrams of one port of ours are protected, whoever the peer is: what arrives otherwise is dropped, and
/// nothing leaves otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Which way.
    pub direction: Direction,
    /// This end's inner address and port.
    pub local: SocketAddr,
    /// Whose associations satisfy it.
    pub reqid: u32,
}

/// What can be asked of the kernel.
#[derive(Debug, Clone, Copy)]
pub enum Request<'k> {
    /// A new association.
    Add(Association<'k>),
    /// Another pair of outer ports for one that is there; everything else stays, its numbers and window among it.
    Update(Association<'k>),
    /// The end of one.
    Remove(SaId),
    /// All that are there: answered by [`Answer::Found`] for each, then [`Answer::End`].
    List,
    /// A policy, in the place of what a former life demanded there.
    Demand(Policy),
    /// The end of one.
    Release(Policy),
}

struct Room<'b> {
    octets: &'b mut [u8; REQUEST_MAX],
    len: usize,
}

impl Room<'_> {
    fn put(&mut self, octets: &[u8]) {
        if let Some(place) = self.octets.get_mut(self.len..self.len + octets.len()) {
            place.copy_from_slice(octets);
        }
        // Everything that is ever written fits: a test writes the longest.
        self.len = (self.len + octets.len()).min(REQUEST_MAX);
    }

    fn zero(&mut self, count: usize) {
        let to = (self.len + count).min(REQUEST_MAX);
        if let Some(place) = self.octets.get_mut(self.len..to) {
            place.fill(0);
        }
        self.len = to;
    }

    fn u16(&mut self, n: u16) {
        self.put(&n.to_ne_bytes());
    }

    fn u32(&mut self, n: u32) {
        self.put(&n.to_ne_bytes());
    }

    /// `xfrm_address_t`.
    fn address(&mut self, ip: Option<IpAddr>) {
        match ip {
            Some(IpAddr::V4(v4)) => {
                self.put(&v4.octets());
                self.zero(12);
            }
            Some(IpAddr::V6(v6)) => self.put(&v6.octets()),
            None => self.zero(16),
        }
    }

    /// `struct xfrm_selector`: UDP between two ends, of which the address may be anybody's and the port any.
    fn selector(
        &mut self,
        (from, from_port): (Option<IpAddr>, u16),
        (to, to_port): (Option<IpAddr>, u16),
        family: u16,
    ) {
        let prefix = |ip: Option<IpAddr>| ip.map_or(0, |ip| if ip.is_ipv4() { 32 } else { 128 });
        self.address(to);
        self.address(from);
        for port in [to_port, from_port] {
            self.put(&port.to_be_bytes());
            self.put(&(if port == 0 { 0u16 } else { u16::MAX }).to_be_bytes());
        }
        self.u16(family);
        self.put(&[prefix(to), prefix(from), UDP]);
        // Padding, any interface, any user.
        self.zero(3 + 4 + 4);
    }

    /// `struct xfrm_lifetime_cfg` without limits, and `struct xfrm_lifetime_cur`.
    fn lifetimes(&mut self) {
        for _ in 0..4 {
            self.put(&u64::MAX.to_ne_bytes());
        }
        self.zero(4 * 8 + 4 * 8);
    }

    fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let at = self.len;
        self.zero(4);
        write(self);
        let len = (self.len - at) as u16;
        if let Some(head) = self.octets.get_mut(at..at + 4) {
            let (first, second) = head.split_at_mut(2);
            first.copy_from_slice(&len.to_ne_bytes());
            second.copy_from_slice(&kind.to_ne_bytes());
        }
        self.zero(self.len.next_multiple_of(ALIGN) - self.len);
    }
}

const fn family(ip: IpAddr) -> u16 {
    match ip {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

/// `struct xfrm_usersa_info` and its attributes.
fn association(room: &mut Room<'_>, sa: &Association<'_>) {
    let family = family(sa.id.to);
    // A terminal whose address changes is refused by the policy's owner, who knows its address, not here.
    room.selector((None, sa.ports.0), (None, sa.ports.1), family);
    room.address(Some(sa.id.to));
    room.put(&sa.id.spi.to_be_bytes());
    room.put(&[ESP, 0, 0, 0]);
    room.address(Some(sa.from));
    room.lifetimes();
    // Statistics, the number that larval associations bear.
    room.zero(12 + 4);
    room.u32(sa.reqid);
    room.u16(family);
    // Transport mode; the window stands in its own attribute; no flags: 32-bit numbers.
    room.put(&[0, 0, 0]);
    // Padding to eight octets.
    room.zero(7);
    room.attribute(ATTR_AEAD, |room| {
        room.put(AEAD);
        room.zero(64 - AEAD.len());
        room.u32(sa.key.len() as u32 * 8);
        room.u32(ICV_BITS);
        room.put(sa.key);
    });
    room.attribute(ATTR_ENCAP, |room| {
        room.u16(ESP_IN_UDP);
        room.put(&sa.encapsulation.0.to_be_bytes());
        room.put(&sa.encapsulation.1.to_be_bytes());
        room.zero(2);
        room.address(None);
    });
    if sa.window > 0 {
        let words = sa.window.div_ceil(32);
        room.attribute(ATTR_REPLAY_ESN, |room| {
            room.u32(words);
            // The last numbers sent and received, in halves.
            room.zero(16);
            room.u32(sa.window);
            room.zero(words as usize * 4);
        });
    }
}

/// `struct xfrm_usersa_id`.
fn sa_id(room: &mut Room<'_>, id: &SaId) {
    room.address(Some(id.to));
    room.put(&id.spi.to_be_bytes());
    room.u16(family(id.to));
    room.put(&[ESP, 0]);
}

fn policy_selector(room: &mut Room<'_>, policy: &Policy) {
    let (local, anybody) = ((Some(policy.local.ip()), policy.local.port()), (None, 0));
    let family = family(policy.local.ip());
    match policy.direction {
        Direction::In => room.selector(anybody, local, family),
        Direction::Out => room.selector(local, anybody, family),
    }
}

/// `struct xfrm_userpolicy_info` and the template that it demands.
fn policy(room: &mut Room<'_>, policy: &Policy) {
    policy_selector(room, policy);
    room.lifetimes();
    // Priority and index (the kernel's choice); direction, allow, flags, share.
    room.zero(8);
    room.put(&[policy.direction as u8, 0, 0, 0]);
    room.zero(4);
    room.attribute(ATTR_TMPL, |room| {
        room.zero(16 + 4);
        room.put(&[ESP, 0, 0, 0]);
        room.u16(family(policy.local.ip()));
        room.zero(2 + 16);
        room.u32(policy.reqid);
        // Transport mode, shared by any, demanded.
        room.zero(4);
        for _ in 0..3 {
            room.u32(u32::MAX);
        }
    });
}

/// Writes a request with this number; returns its octets. Keys stand in them: whoever owns `octets` erases them.
pub fn write<'b>(number: u32, request: &Request<'_>, octets: &'b mut [u8; REQUEST_MAX]) -> &'b [u8] {
    let (kind, flags) = match request {
        Request::Add(_) => (NEWSA, NLM_F_ACK | NLM_F_NEW),
        Request::Update(_) => (UPDSA, NLM_F_ACK),
        Request::Remove(_) => (DELSA, NLM_F_ACK),
        Request::List => (GETSA, NLM_F_DUMP),
        Request::Demand(_) => (UPDPOLICY, NLM_F_ACK),
        Request::Release(_) => (DELPOLICY, NLM_F_ACK),
    };
    let mut room = Room { octets, len: 0 };
    room.u32(0);
    room.u16(kind);
    room.u16(NLM_F_REQUEST | flags);
    room.u32(number);
    room.u32(0);
    match request {
        Request::Add(sa) | Request::Update(sa) => association(&mut room, sa),
        Request::Remove(id) => sa_id(&mut room, id),
        Request::List => {}
        Request::Demand(demanded) => policy(&mut room, demanded),
        Request::Release(released) => {
            // `struct xfrm_userpolicy_id`: by selector and direction.
            policy_selector(&mut room, released);
            room.u32(0);
            room.put(&[released.direction as u8, 0, 0, 0]);
        }
    }
    let len = room.len;
    if let Some(place) = octets.get_mut(..4) {
        place.copy_from_slice(&(len as u32).to_ne_bytes());
    }
    octets.get(..len).unwrap_or_default()
}

/// What the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The request of this number is done; the error (errno), 0 for none.
    Done {
        /// [`write`]'s.
        number: u32,
        /// Positive.
        error: i32,
    },
    /// An association that exists.
    Found {
        /// What it is found by.
        id: SaId,
        /// Whose it is.
        reqid: u32,
    },
    /// There are no more.
    End {
        /// [`write`]'s.
        number: u32,
    },
    /// The peer's datagrams come from another outer place (a NAT's mapping), and verify.
    Moved {
        /// The association that they came by.
        id: SaId,
        /// Whose it is.
        reqid: u32,
        /// Where they come from now.
        to: SocketAddr,
    },
    /// Something that nobody asked for.
    Other,
}

fn number<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..at + N)?.first_chunk().copied()
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    number(octets, at).map(u16::from_ne_bytes)
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    number(octets, at).map(u32::from_ne_bytes)
}

fn address_at(octets: &[u8], at: usize, family: u16) -> Option<IpAddr> {
    match family {
        2 => number::<4>(octets, at).map(IpAddr::from),
        10 => number::<16>(octets, at).map(IpAddr::from),
        _ => None,
    }
}

fn found(body: &[u8]) -> Option<Answer> {
    if body.len() < SA_INFO {
        return None;
    }
    let id_at = SELECTOR;
    let info_at = SELECTOR + 24 + 16 + 64 + 32 + 12;
    let (reqid, family) = (u32_at(body, info_at + 4)?, u16_at(body, info_at + 8)?);
    let spi = number(body, id_at + 16).map(u32::from_be_bytes)?;
    Some(Answer::Found { id: SaId { to: address_at(body, id_at, family)?, spi }, reqid })
}

/// `struct xfrm_user_mapping`.
fn moved(body: &[u8]) -> Option<Answer> {
    let family = u16_at(body, 20)?;
    let id = SaId { to: address_at(body, 0, family)?, spi: number(body, 16).map(u32::from_be_bytes)? };
    let to = SocketAddr::new(address_at(body, 44, family)?, number(body, 62).map(u16::from_be_bytes)?);
    Some(Answer::Moved { id, reqid: u32_at(body, 24)?, to })
}

/// Takes the answers in one datagram of the kernel's apart; what cannot be read ends it.
pub fn read(datagram: &[u8]) -> impl Iterator<Item = Answer> {
    let mut rest = datagram;
    core::iter::from_fn(move || {
        let len = u32_at(rest, 0)? as usize;
        let (kind, number) = (u16_at(rest, 4)?, u32_at(rest, 8)?);
        let body = rest.get(HEADER..len)?;
        rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some(match kind {
            NLMSG_ERROR => {
                let error = u32_at(body, 0)?.cast_signed();
                Answer::Done { number, error: error.checked_neg()? }
            }
            NLMSG_DONE => Answer::End { number },
            NEWSA => found(body)?,
            MAPPING => moved(body)?,
            _ => Answer::Other,
        })
    })
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
