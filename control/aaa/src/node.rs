//! Who we are in protocols whose nodes have names, and which realms a peer leads to.

use crate::realms::Realms;
use std::sync::Arc;

/// A node's names. RADIUS uses none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Origin-Host.
    pub host: Arc<str>,
    /// Origin-Realm.
    pub realm: Arc<str>,
    /// Whose subscribers are whose: where records go, which bear no realm.
    pub realms: Arc<Realms>,
    /// Origin-State-Id: larger after every start, seconds since 1970 UTC.
    pub state_id: u32,
    /// The first End-to-End Identifier: the same for all links of a client, because a request that moves keeps its own.
    pub first_end_to_end: u32,
    /// Our addresses, for Host-IP-Address.
    pub address: core::net::IpAddr,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            host: Arc::from(""),
            realm: Arc::from(""),
            realms: Arc::default(),
            state_id: 0,
            first_end_to_end: 0,
            address: core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        }
    }
}

impl Node {
    /// The first End-to-End Identifier of a node that starts now: the clock's low 12 bits, then chance (RFC 6733
    /// section 3), so that a restarted node repeats none within four minutes.
    pub const fn end_to_end(unix_s: u32, random: u32) -> u32 {
        (unix_s << 20) | (random & 0x000f_ffff)
    }
}
