//! How records lie in the store.
//!
//! ```text
//! credential: version 1 | kind | made u64 | rotated u64 | nonce 12 | sealed (secret length, secret, zeros to 128) | tag
//! registration: version 2 | Rand 16 | since u64 | seen u64 | ended u64, 0: not | family | address 16 | port u16
//!               | length of IDsp u8 | IDsp | softswitch, nothing: not said
//!               version 1, read and not written: without ended, length and softswitch
//! ```
//!
//! Numbers are big endian, times milliseconds since 1970 UTC. A credential's seal covers its table, its identity and
//! the octets before the nonce, so that records can neither be swapped nor re-labelled; secrets are padded to one
//! length, so that neither size nor time tells their kind.

use super::{Kind, Registered, Space};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use portunus_keydist::auc::Record;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// Of a registration: the present form, and the one before.
const REGISTRATION: u8 = 2;
const REGISTRATION_BEFORE: u8 = 1;
/// Octets before the nonce.
pub(super) const HEADER: usize = 18;
/// Longest secret.
pub(super) const SECRET_MAX: usize = 128;
/// Sealed octets: length and padded secret.
const PLAIN: usize = 1 + SECRET_MAX;

/// What may be known of a credential without its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) made_ms: u64,
    pub(super) rotated_ms: u64,
}

impl Head {
    pub(super) fn to_octets(self) -> [u8; HEADER] {
        let mut out = [0u8; HEADER];
        out[0] = VERSION;
        out[1] = self.kind as u8;
        out[2..10].copy_from_slice(&self.made_ms.to_be_bytes());
        out[10..].copy_from_slice(&self.rotated_ms.to_be_bytes());
        out
    }

    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let (version, rest) = record.split_first()?;
        let (kind, rest) = rest.split_first()?;
        let (made, rest) = rest.split_first_chunk::<8>()?;
        let (rotated, _) = rest.split_first_chunk::<8>()?;
        (*version == VERSION).then_some(Self {
            kind: Kind::from_octet(*kind)?,
            made_ms: u64::from_be_bytes(*made),
            rotated_ms: u64::from_be_bytes(*rotated),
        })
    }
}

/// What a credential's seal is bound to.
pub(super) fn bound(space: Space, id: &str, head: &[u8]) -> Vec<u8> {
    let mut out = b"portunus record".to_vec();
    for part in [space.table().as_bytes(), id.as_bytes(), head] {
        out.extend_from_slice(&(part.len() as u16).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// The sealed part, open. `None` when the secret is too long or empty.
pub(super) fn pad(secret: &[u8]) -> Option<Zeroizing<[u8; PLAIN]>> {
    let mut plain = Zeroizing::new([0u8; PLAIN]);
    plain[0] = u8::try_from(secret.len()).ok().filter(|n| *n > 0)?;
    plain.get_mut(1..=secret.len())?.copy_from_slice(secret);
    Some(plain)
}

/// The secret in an opened sealed part.
pub(super) fn unpad(plain: &[u8]) -> Option<&[u8]> {
    let (len, rest) = plain.split_first()?;
    rest.get(..usize::from(*len)).filter(|s| !s.is_empty())
}

/// A registration, written.
pub(super) fn write_registration(registered: &Registered) -> Vec<u8> {
    let Registered { record: r, softswitch, ended_ms } = registered;
    let softswitch = softswitch.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(61 + r.idsp.len() + softswitch.len());
    out.push(REGISTRATION);
    out.extend_from_slice(&r.rand);
    for time in [r.since_ms, r.seen_ms, ended_ms.unwrap_or_default()] {
        out.extend_from_slice(&time.to_be_bytes());
    }
    let mut address = [0u8; 16];
    match r.ipc.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            address[..4].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            address = ip.octets();
        }
    }
    out.extend_from_slice(&address);
    out.extend_from_slice(&r.ipc.port().to_be_bytes());
    // An IDsp has at most 63 octets.
    out.push(r.idsp.len() as u8);
    out.extend_from_slice(r.idsp.as_bytes());
    out.extend_from_slice(softswitch.as_bytes());
    out
}

/// A registration, read; `None` when it is none.
pub(super) fn read_registration(octets: &[u8]) -> Option<Registered> {
    let (version, rest) = octets.split_first()?;
    let (rand, rest) = rest.split_first_chunk::<16>()?;
    let (since, rest) = rest.split_first_chunk::<8>()?;
    let (seen, rest) = rest.split_first_chunk::<8>()?;
    let (ended, rest) = match *version {
        REGISTRATION_BEFORE => (0, rest),
        REGISTRATION => rest.split_first_chunk::<8>().map(|(ended, rest)| (u64::from_be_bytes(*ended), rest))?,
        _ => return None,
    };
    let (family, rest) = rest.split_first()?;
    let (address, rest) = rest.split_first_chunk::<16>()?;
    let (port, names) = rest.split_first_chunk::<2>()?;
    let ip = match family {
        4 => IpAddr::V4(Ipv4Addr::from(*address.first_chunk::<4>()?)),
        6 => IpAddr::V6(Ipv6Addr::from(*address)),
        _ => return None,
    };
    let (idsp, softswitch) = match *version {
        REGISTRATION_BEFORE => (names, [].as_slice()),
        _ => names.split_first().and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)))?,
    };
    let text = |octets| core::str::from_utf8(octets).ok().map(str::to_owned);
    let softswitch = text(softswitch)?;
    let record = Record {
        idsp: text(idsp)?,
        rand: *rand,
        ipc: SocketAddr::new(ip, u16::from_be_bytes(*port)),
        since_ms: u64::from_be_bytes(*since),
        seen_ms: u64::from_be_bytes(*seen),
    };
    let ended_ms = (ended != 0).then_some(ended);
    Some(Registered { record, softswitch: (!softswitch.is_empty()).then_some(softswitch), ended_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn registrations_come_back(
            rand in any::<[u8; 16]>(), since_ms in any::<u64>(), seen_ms in any::<u64>(), ipc in any::<SocketAddr>(),
            idsp in "[a-z0-9.]{1,63}", softswitch in proptest::option::of("[a-z0-9.]{1,63}"),
            ended_ms in proptest::option::of(1u64..),
        ) {
            let ipc = SocketAddr::new(ipc.ip(), ipc.port());
            let record = Record { idsp, rand, ipc, since_ms, seen_ms };
            let wanted = Registered { record, softswitch, ended_ms };
            let octets = write_registration(&wanted);
            let whole = 61 + wanted.record.idsp.len();
            for n in 0..whole {
                prop_assert_eq!(read_registration(&octets[..n]), None);
            }
            // The form before: without the time of the end, the length and the softswitch.
            let mut before = octets[..33].to_vec();
            before[0] = REGISTRATION_BEFORE;
            before.extend_from_slice(&octets[41..60]);
            before.extend_from_slice(&octets[61..whole]);
            let read = read_registration(&before);
            prop_assert_eq!(read, Some(Registered { softswitch: None, ended_ms: None, ..wanted.clone() }));
            prop_assert_eq!(read_registration(&octets), Some(wanted));
        }

        #[test]
        fn anything_is_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = read_registration(&octets);
            let _ = Head::read(&octets);
            let _ = unpad(&octets);
        }
    }

    #[test]
    fn secrets_of_every_length_have_one_size() {
        for n in 1..=SECRET_MAX {
            let plain = pad(&vec![9; n]).unwrap();
            assert_eq!(unpad(plain.as_slice()), Some(vec![9; n].as_slice()));
        }
        assert!(pad(b"").is_none());
        assert!(pad(&[0; SECRET_MAX + 1]).is_none());
    }
}
