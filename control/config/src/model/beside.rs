//! What an AuC has beside its listeners for softswitches: an interface for administrators, codes for terminals, other AuCs.

use super::{Aaa, KeySource};
use crate::value::Size;
use core::net::SocketAddr;
use std::path::PathBuf;

/// Where an AuC's activation codes are redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AucRedeem {
    /// Where it listens, UDP.
    pub address: SocketAddr,
    /// Messages a second, altogether.
    pub rate: u32,
}

/// The administrators' HTTP interface of an AuC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AucApi {
    /// Where it listens.
    pub address: SocketAddr,
    /// Certificate and key; `None`: in clear, which only a laboratory has on its loopback.
    pub tls: Option<ApiTls>,
    /// Connections at one time.
    pub connections: usize,
    /// Requests a second of one token.
    pub rate: u32,
    /// Longest CSV.
    pub import_max: Size,
}

/// Files of a TLS end that demands a certificate of the peer only where an authority is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTls {
    /// Our certificate chain, PEM.
    pub certificate: PathBuf,
    /// Our private key, PEM.
    pub key: PathBuf,
    /// The authorities whose clients alone may connect, PEM.
    pub ca: Option<PathBuf>,
}

/// The AuC of other domains, asked for their subscribers.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignAuc {
    /// Its realms.
    pub realms: Vec<String>,
    /// What we call ourselves there: NAS-Identifier, or Origin-Host.
    pub identity: String,
    /// The key that the two share.
    pub key: KeySource,
    /// How it is reached.
    pub aaa: Aaa,
}

/// The AuC of another domain, which asks for subscribers of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartnerAuc {
    /// How it is known here: its address over UDP and TCP, else the name in its certificate.
    pub client: String,
    /// The device whose key the two share.
    pub device: String,
}
