//! `[auc.database]`

use super::SecretSource;
use core::time::Duration;
use std::path::PathBuf;

/// PostgreSQL as the system of record of several AuC nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Hosts and ports; the first that takes writes is used.
    pub servers: Vec<(String, u16)>,
    /// The database's name.
    pub name: String,
    /// As whom.
    pub user: String,
    /// The user's password; `None`: the server goes by the certificate, or asks for nothing.
    pub password: Option<SecretSource>,
    /// `None`: in clear, in a laboratory.
    pub tls: Option<DatabaseTls>,
    /// Most connections for provisioning.
    pub pool: usize,
    /// The longest that connecting, or one statement, may take.
    pub timeout: Duration,
    /// How often is looked for changes that the database told nobody of.
    pub poll: Duration,
}

/// TLS 1.3 to a database; its certificate must be for the name under `servers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseTls {
    /// The authorities whose certificates we accept, PEM.
    pub ca: PathBuf,
    /// Our certificate chain and key, PEM, where the server wants one.
    pub own: Option<(PathBuf, PathBuf)>,
}
