//! The road between softswitch and AuC: RADIUS (RFC 2865, 2866, 5080, 5090, 5997, 6613, 6614) with its client and
//! server ends, over UDP for a lab and TLS 1.3 (RadSec) by default.
//!
//! State machines here do no I/O: they take a [`portunus_keydist::Now`], octets and randomness, and give effects as data.
//! `net` holds the thin runners with the sockets.
//!
//! The client's face (`client::Client`, sans-I/O; `net::ClientRunner` is the same with its sockets on the caller's mio loop):
//!
//! ```text
//! Client::new(ClientConfig, rng: Box<dyn Random + Send>) -> Client
//!   .request(now, AaaRequest) -> Result<RequestId, Refused>      exactly one AaaEvent follows every Ok
//!   .poll_event() -> Option<AaaEvent>
//!   .poll_effect() -> Option<Effect<'_>>                        Effect::Send { lane, to, bytes } | Effect::Close { lane }
//!   .on_packet(now, lane, from, bytes)                          one packet from a server
//!   .on_lane(now, lane, up: bool)                               streams: the connection is there, or gone
//!   .on_timer(now) ; .next_deadline() -> Option<u64 mono_ms>
//! ClientRunner::new(ClientConfig, rng) -> io::Result<ClientRunner>
//!   .register(&Registry, first: Token) -> io::Result<usize>     how many tokens from `first` it took
//!   .on_ready(now, &mio::event::Event) -> bool                  false: not its token
//!   .on_timer(now) ; .next_deadline() ; .request(now, ..) ; .flush(now) ; .poll_event()
//! server::Server::new(ServerConfig, rng) -> Server              sans-I/O
//!   .on_packet(now, Origin { peer, port }, bytes) -> Received::{Asked { ticket, request: AaaRequest }, Answer(bytes), Nothing, Close}
//!   .answer(now, ticket, AaaAnswer) -> Option<(Origin, bytes)>
//! ```

pub mod client;
pub mod exchange;
pub mod radius;
pub mod secret;
pub mod server;

pub use exchange::{
    AaaAnswer, AaaEvent, AaaRequest, Account, Authenticate, DigestAlgorithm, DigestVector, DigestWord, Refused,
    RequestId, Scheme, Unreachable,
};
