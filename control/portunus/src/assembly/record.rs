//! The system of record: the database of a configuration that names one, or the store itself.

use super::store::fault;
use crate::exit::Failure;
use portunus_auc::custody::Master;
use portunus_auc::postgres::{Database, DatabaseConfig, DatabaseTls};
use portunus_config::model::{Auc, Database as Model};

/// The database of a configuration; nothing is connected yet.
///
/// # Errors
/// A password or certificate that cannot be read.
pub fn database(auc: &Auc, lab: bool, master: &dyn Master) -> Result<Option<Database>, Failure> {
    let Some(model) = &auc.database else { return Ok(None) };
    let Model { servers, name, user, password, tls, pool, timeout, poll } = model.clone();
    let password = password.map(|source| portunus_config::read_secret(&source, lab)).transpose()?;
    let tls = tls.map(|tls| DatabaseTls { ca: tls.ca, own: tls.own });
    let config = DatabaseConfig { servers, name, user, password, tls, pool, timeout, poll };
    Database::new(config, master).map(Some).map_err(fault)
}
