//! What an agent is told before it starts.

use core::net::{IpAddr, SocketAddr};
use portunus_keydist::{Idc, Idsp, Key};
use portunus_terminal::Profile;

/// One phone.
#[derive(Debug, Clone)]
pub struct PhoneConfig {
    /// Its identity (IDc), e.g. `alice@example.test`.
    pub id: String,
    /// Its key.
    pub key: Key,
    /// Addresses that it may send from; none: those of this host.
    pub from: Vec<IpAddr>,
}

/// Everything about an agent.
#[derive(Debug, Clone)]
pub struct Config {
    /// The proxy, and what registrations ask for; `expires_s` is also the most that phones are granted.
    pub profile: Profile,
    /// Where phones reach it, by UDP and by TCP; addresses that phones can use.
    pub listeners: Vec<SocketAddr>,
    /// The phones.
    pub phones: Vec<PhoneConfig>,
    /// Media gateways of other protocols.
    pub gateways: Vec<Gateways>,
}

/// Media gateways of one protocol.
#[derive(Debug, Clone)]
pub struct Gateways {
    /// The proxy, and the protocol: MGCP or H.248.
    pub profile: Profile,
    /// Where gateways reach the agent, by UDP; addresses that gateways can use.
    pub listeners: Vec<SocketAddr>,
    /// The gateways. The identity is the domain of an MGCP gateway's endpoints, the message identifier of an H.248
    /// gateway without brackets and port.
    pub list: Vec<PhoneConfig>,
}

/// Why an agent cannot be made; the fault is the configuration's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The proxy's name is not an IDsp.
    Idsp,
    /// A phone's identity is not an IDc, or has no domain.
    Identity(String),
    /// A gateway's identity is not an IDc.
    Gateway(String),
    /// Two phones, or two gateways of one protocol, have one identity.
    Twice(String),
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Idsp => f.write_str("the proxy's name must be 1 to 63 characters of A-Z a-z 0-9 . _ : [ ] -"),
            Self::Identity(id) => write!(f, "{id} is not the identity of a SIP phone"),
            Self::Gateway(id) => write!(f, "{id} is not the identity of a media gateway"),
            Self::Twice(id) => write!(f, "{id} is there twice"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// # Errors
    /// [`ConfigError`].
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        Idsp::new(&self.profile.idsp).ok_or(ConfigError::Idsp)?;
        for (n, phone) in self.phones.iter().enumerate() {
            if Idc::new(&phone.id).is_none() || !phone.id.contains('@') {
                return Err(ConfigError::Identity(phone.id.clone()));
            }
            if self.phones.iter().take(n).any(|p| p.id == phone.id) {
                return Err(ConfigError::Twice(phone.id.clone()));
            }
        }
        for list in self.gateways.iter().map(|g| &g.list) {
            for (n, gateway) in list.iter().enumerate() {
                Idc::new(&gateway.id).ok_or_else(|| ConfigError::Gateway(gateway.id.clone()))?;
                if list.iter().take(n).any(|before| before.id.eq_ignore_ascii_case(&gateway.id)) {
                    return Err(ConfigError::Twice(gateway.id.clone()));
                }
            }
        }
        Ok(())
    }
}
