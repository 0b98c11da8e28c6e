//! MGCP (RFC 3435) for Portunus: a checked, zero-copy view of messages, alone or piggy-backed; writers of commands and
//! responses; the transaction rules of both ends ([`transaction`]); the carriage of PKD1 (spec section 4) at the
//! gateway's and the call agent's end; and [`Mgcp`], the proxy's side, as the engine sees it.
//!
//! Nothing on the proxy's way allocates, does I/O, reads a clock or draws randomness; work is bounded by the limits of
//! [`view`]. [`transaction`] is for the two ends, and keeps bounded tables.
//!
//! Deliberately absent: connections' contents (local connection options, SDP), digit maps, any event's meaning but
//! those of the package below; all of them pass through untouched.
//!
//! # Package `x-pkd`: key distribution during registration
//!
//! In the form of RFC 3435 section 6. Package name: `x-pkd`. Version: 0. What it extends: nothing. All its events and
//! signals belong to an endpoint, never to a connection; a request for them leaves what the endpoint was asked for
//! before (other requested events, signals, digit map, notified entity) as it was.
//!
//! | symbol | definition | R | S | duration |
//! |---|---|---|---|---|
//! | `resp` | the answer to a challenge | x | | |
//! | `chal` | challenge | | BR | |
//! | `cookie` | repeat the registration with a cookie | | BR | |
//! | `key` | session key | | BR | |
//! | `fail` | refusal | | BR | |
//!
//! Parameters stand in brackets behind the symbol as `name="value"`, in any order, each at most once; one that is not
//! known is passed over. Octets are unpadded base64url, words and MACs lower-case hex.
//!
//! * `chal(idsp, n1, n2, ts, rand, mechreq="1")`: the gateway that sent the registration whose N1 is `n1` computes the
//!   word over `rand` and reports `resp`. From call agent to proxy: `chal(idsp, n1, rand)`.
//! * `resp(n1, n2, ts, authc, mechs)`, observed: N1 anew, N2 as it stood in `chal`, the word, and all mechanisms
//!   offered. Reported at once, under the request identifier of `chal`. From proxy to call agent:
//!   `resp(idsp, rand, authc, ipc)`.
//! * `key(idsp, n1, n2, ts, life, ekc, sel, mechs)`: the wrapped session key, the chosen mechanism, and the list as it was
//!   offered. The command that bears it stands alone in its datagram and ends with the line `X-PKDMAC`, whose 64 digits
//!   are the MAC over the whole datagram with `0` in their place. From call agent to proxy: `key(idsp, rand, ekc, eksp)`.
//! * `fail(n1, cause, ts)`: no registration; `cause` is `denied`, `stale` (then `ts` is the proxy's clock), `mechanism`
//!   or `busy`. From call agent to proxy: `fail(cause, rand)`, before there is a Rand `fail(cause, n1)`.
//! * `cookie(n1, ts, cookie)`: the registration is to be repeated with this cookie, the same N1 and a new TS.
//!
//! Extension lines: `X-PKD: v=1;idsp=…;n1=…;ts=…` makes a RestartInProgress a registration (from the proxy to the call
//! agent without `ts`, after a cookie with `cookie=…`); `X-PKDMAC` as above. Neither needs to be understood by others, so
//! both begin with `X-` and not `X+`.

pub mod carriage;
pub mod code;
mod proxy;
mod renumber;
pub mod transaction;
pub mod view;
pub mod write;

pub use proxy::Mgcp;
pub use renumber::renumbered;

/// The package's name.
pub const PACKAGE: &str = "x-pkd";

/// What stands for s10's MAC while it is computed: 64 `0` digits.
pub const MAC_PLACEHOLDER: &[u8; 64] = &[b'0'; 64];
