//! The authentication centre: keeps every shared key, sealed; makes vectors; records who is registered where.
//!
//! | to | use |
//! |---|---|
//! | answer questions without I/O | [`auc::Auc`] over [`subscribers::InMemory`] or [`subscribers::Cached`] |
//! | keep keys and registrations | [`store::Store`], opened with a [`custody::Master`]: a [`custody::MasterKey`], or one in a [`token::Token`] |
//! | import rows `id,key` | [`import::import`] |
//! | check, save and bring back a store; change its master key | [`store::Store::verify`], [`store::backup`], [`store::Store::admit_master`] |
//! | run it on sockets | [`run::start`] |
//! | give out keys, wherever they are kept | [`provision::Provision`] |
//! | keep them in PostgreSQL for several nodes | [`postgres::Database`], [`postgres::Follower`] |
//! | issue activation codes and redeem them | [`store::Store::issue_codes`], [`activation`], [`redeem::start`] |
//! | let administrators in over HTTP | [`tokens`] |
//! | say who did what | [`audit::Audit`] |
//!
//! Deliberately absent: any output of a key once stored; any decision that a terminal is authenticated (the softswitch
//! compares the words); SIP.

pub mod activation;
pub mod auc;
pub mod audit;
pub mod custody;
pub mod digest;
pub mod envelope;
pub mod import;
mod overlap;
pub mod postgres;
pub mod provision;
pub mod redeem;
pub mod run;
pub mod store;
pub mod subscribers;
pub mod token;
pub mod tokens;

pub use auc::{Auc, AucConfig, AucCounters, Foreign, Notice, Partner, Verdict};
pub use run::{AucHandle, AucStatus, ForeignRun, RunConfig, start, start_among};
