//! The administrators' HTTP interface of an AuC: subscribers, devices, CSV imports, registration records, over
//! TLS 1.3 with tokens that are good for some of it.
//!
//! ```text
//! socket --TLS--> HTTP/1.1 --> route --> token, scope, rate --> body --> the AuC's store --> answer, audit log
//!  [server]                    [route]   [gate]                          [v1]               [service]
//! ```
//!
//! [`service::Service`] answers requests without I/O of its own, and is what tests hold against
//! `openapi.json`; [`server`] brings sockets and time to it, on one thread of its own beside the AuC's loop, which never
//! waits for it.
//!
//! Deliberately absent: any way to read a key that is stored; a session, a cookie, a page for browsers; HTTP/2.

pub mod body;
mod gate;
pub mod problem;
pub mod records;
pub mod route;
pub mod server;
pub mod service;
pub mod tls;
mod v1;

/// The description of the interface, OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");
