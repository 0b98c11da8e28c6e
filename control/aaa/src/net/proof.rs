//! Who a connection's peer is.

use super::server::ListenTls;
use super::stream::Stream;
use crate::server::ClientEntry;
use crate::tls::name_of;
use core::net::SocketAddr;
use std::sync::Arc;

/// What a connection's peer is known by.
pub(super) enum Proof {
    /// Its certificate.
    Tls(ListenTls),
    /// Its address alone.
    Address(Vec<ClientEntry>),
}

impl Proof {
    /// True when somebody may connect from there; where certificates prove it, everybody may try.
    pub(super) fn admits(&self, peer: SocketAddr) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Address(clients) => clients.iter().any(|c| c.covers(peer.ip().to_canonical())),
        }
    }

    /// The name that a connection whose handshake is through has proven.
    pub(super) fn name(&self, stream: &Stream, peer: SocketAddr) -> Option<Arc<str>> {
        match self {
            Self::Tls(tls) if tls.names.is_empty() => stream.peer_certificate().map(|_| peer.to_string().into()),
            Self::Tls(tls) => name_of(stream.peer_certificate()?, &tls.names),
            Self::Address(clients) => {
                clients.iter().find(|e| e.covers(peer.ip().to_canonical())).map(|e| e.name.clone())
            }
        }
    }
}
