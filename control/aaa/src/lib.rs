//! The road between softswitch and AuC: RADIUS (RFC 2865, 2866, 5080, 5090, 5997, 6613, 6614) and Diameter with Cx
//! (RFC 6733, RFC 3539, 3GPP TS 29.229) with their client and server ends, over TLS 1.3 by default, and over UDP or
//! TCP for a lab.
//!
//! State machines here do no I/O: they take a [`portunus_keydist::Now`], octets and randomness, and give effects as data.
//! `net` holds the thin runners with the sockets.
//!
//! | to | use |
//! |---|---|
//! | ask an AuC from one's own `mio` loop | [`net::ClientRunner`]: `register`, `on_ready`, `on_timer`, `next_deadline`, `request`, `poll_event`, `flush` |
//! | the same without sockets (simulator) | [`client::Client`] over [`client::link::Link`]s from [`transport::TRANSPORTS`] |
//! | answer as an AuC on one's own loop | [`net::ServerRunner`]: the same shape, `poll_asked`, `answer` |
//! | the same without sockets | [`server::End`] from [`transport::TRANSPORTS`] |
//! | certificates | [`tls::Identity`]; for a laboratory [`lab::certificates`] |
//!
//! Deliberately absent: any key (the AuC has them), any decision about a terminal (the softswitch makes it), PAP, CHAP,
//! EAP, and passing on what is for others (proxies and relays do that).

pub mod client;
pub mod diameter;
pub mod exchange;
pub mod fuzz;
pub mod lab;
pub mod net;
pub mod node;
mod params;
pub mod radius;
pub mod realms;
pub mod secret;
pub mod server;
pub mod tls;
pub mod transport;

pub use exchange::{
    AaaAnswer, AaaEvent, AaaRequest, Account, Authenticate, DigestAlgorithm, DigestVector, DigestWord, Refused,
    RequestId, Scheme, Unreachable,
};
pub use realms::Realms;
