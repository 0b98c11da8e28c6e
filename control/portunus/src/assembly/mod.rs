//! The roles of a process, made from plain configuration and started as threads: what `demo`, `run` and the tests
//! share.
//!
//! | role | thread | made by |
//! |---|---|---|
//! | AuC | one, its own loop | [`auc::start`] |
//! | what stands beside it | one each for its HTTP interface and for activation codes | [`provisioning::start`] |
//! | softswitch behind proxies | one, its own loop | [`softswitch::start`] |
//! | proxy | workers and control, of `node` | [`proxy::start`] with UDP towards the core |
//! | softswitch facing terminals | workers and control, of `node` | [`proxy::start_direct`], the softswitch in control |

pub mod aaa;
pub mod auc;
pub mod direct;
pub mod place;
pub mod provisioning;
pub mod proxy;
pub mod record;
pub mod softswitch;
pub mod store;
pub mod watch;
