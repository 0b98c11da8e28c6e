//! PostgreSQL as the system of record of an estate with several AuC nodes.
//!
//! ```text
//!  key add, import, ...                                        terminals
//!         |  one transaction                                       ^
//!         v                                                        | answers
//!   [PostgreSQL] --change sequence--> [follower] --batches--> [redb replica] --> [AuC]     on every node
//! ```
//!
//! * Records lie in the database as they lie in a store: sealed. The working keys lie there wrapped under the master key,
//!   which every node has and the database never sees. Who steals the database has no key.
//! * Nobody who answers asks the database. While it is gone, provisioning is refused and everything else goes on; what
//!   was changed meanwhile elsewhere is taken over when it is back.
//! * Registration records and audit logs are each node's own.
//!
//! # Why no change is lost
//! Every writer locks the one row of `estate` before it reads or numbers anything and keeps it until its transaction
//! ends: numbers are given in the order of commits, an aborted transaction gives its numbers back, and no snapshot sees
//! change n without all before it. A follower that asks for what came after n, and stores the answer together with its
//! last number in one transaction of its own, misses nothing and takes nothing over twice. Provisioning is thereby one
//! writer at a time, which is plenty: a transaction may hold thousands of keys.
//!
//! A record carries the number of its last change only, a removed one stays as an empty row with its number: following
//! needs no log that grows, and a node that was away for a year asks for what differs, not for what happened.
//!
//! | file | holds |
//! |---|---|
//! | `link` | how the database is reached: TLS, times, errors in words; the pool |
//! | `schema` | tables and their versions |
//! | `database` | provisioning |
//! | `estate` | what both sides read: the numbered row, rows of records |
//! | `follow` | the thread that keeps a replica even |
//! | `copy` | one replica, one turn: follow, or copy everything of one moment |
//! | `migrate` | a store's keys move into the database |
//! | `master` | another master key, other working keys |
//! | `compare` | a replica beside the system of record |

mod compare;
mod copy;
mod database;
mod estate;
mod follow;
mod link;
mod master;
mod migrate;
mod schema;

pub use compare::Compared;
pub use database::Database;
pub use follow::{FollowStatus, Follower};
pub use link::{DatabaseConfig, DatabaseTls};
pub use migrate::Moved;
