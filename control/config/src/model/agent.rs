//! The agent beside phones.

use super::{KeySource, Mechanism};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::path::PathBuf;

/// The agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// The proxy's SIP listener; where there are no phones, what its gateways know it by.
    pub server: SocketAddr,
    /// The proxy's identity.
    pub proxy: String,
    /// The digest realm, which is the phones' domain.
    pub realm: String,
    /// Where phones reach the agent, by UDP and by TCP.
    pub listen: Vec<SocketAddr>,
    /// What may protect everything after the registration, the preferred one first.
    pub mechanisms: Vec<Mechanism>,
    /// The lifetime that registrations ask for, and the longest that phones are granted.
    pub expires: Duration,
    /// After so long a silence the proxy is asked for a sign of life.
    pub sign_of_life: Duration,
    /// The phones.
    pub phones: Vec<AgentPhone>,
    /// Media gateways that speak MGCP.
    pub mgcp: Option<AgentGateways>,
    /// Media gateways that speak H.248.
    pub h248: Option<AgentGateways>,
}

/// Media gateways of one protocol beside an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentGateways {
    /// The proxy's listener for them.
    pub server: SocketAddr,
    /// Where gateways reach the agent, by UDP.
    pub listen: Vec<SocketAddr>,
    /// What may protect everything after the registration, the preferred one first.
    pub mechanisms: Vec<Mechanism>,
    /// The gateways, as phones are told.
    pub list: Vec<AgentPhone>,
}

/// Where a phone's key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhoneKey {
    /// It is read.
    Key(KeySource),
    /// It is derived from the passphrase on the first line of a file.
    Passphrase(PathBuf),
}

/// A phone beside an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentPhone {
    /// Its identity (IDc).
    pub id: String,
    /// Its key.
    pub key: PhoneKey,
    /// Addresses that it may send from; none: this host's loopback.
    pub from: Vec<IpAddr>,
}
