//! How the database is reached: TLS, a time limit on everything, errors in words, and a pool.
//!
//! Callers wait; the asynchronous client underneath runs on the caller's own thread, and only while it waits. So nothing
//! here may be called from inside an asynchronous runtime, save from a thread that may block.

use crate::store::StoreError;
use core::fmt;
use core::future::poll_fn;
use core::time::Duration;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

/// Certificates: whom we believe, and who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseTls {
    /// The authorities whose certificates the server may show; the name must be the one that was asked for.
    pub ca: PathBuf,
    /// Our certificate and its key, where the server wants one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// How the system of record is reached.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// Hosts and ports; the first that takes writes is used.
    pub servers: Vec<(String, u16)>,
    /// The database.
    pub name: String,
    /// As whom.
    pub user: String,
    /// The user's password, where the server wants one.
    pub password: Option<Zeroizing<String>>,
    /// `None`: in clear, for a laboratory.
    pub tls: Option<DatabaseTls>,
    /// Most connections for provisioning; the follower has its own.
    pub pool: usize,
    /// The longest that one statement, or connecting, may take.
    pub timeout: Duration,
    /// How often is looked for changes that nobody told of.
    pub poll: Duration,
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("database", &self.label())
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl DatabaseConfig {
    /// `host:port/name`, the hosts separated by commas.
    pub fn label(&self) -> String {
        let hosts: Vec<String> = self.servers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        format!("{}/{}", hosts.join(","), self.name)
    }
}

/// What went wrong, before it is put into words.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database's answer, or a broken connection.
    Sql(tokio_postgres::Error),
    /// The same, of a commit: where the connection broke, the outcome is not known.
    Commit(Box<Trouble>),
    /// No answer in time.
    Late(Duration),
    /// In words already.
    Said(String),
    /// Not the database's fault.
    Store(StoreError),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(e: tokio_postgres::Error) -> Self {
        Self::Sql(e)
    }
}

impl From<StoreError> for Trouble {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl Trouble {
    /// True when another connection may do better, and nothing can have been changed by this one.
    fn is_broken(&self) -> bool {
        match self {
            Self::Sql(e) => e.code().is_none_or(|code| code.code().starts_with("57P")),
            _ => false,
        }
    }

    fn words(&self) -> String {
        let e = match self {
            Self::Sql(e) => e,
            Self::Commit(inner) => return inner.words(),
            Self::Late(limit) => return format!("no answer in {limit:?}"),
            Self::Said(what) => return what.clone(),
            Self::Store(e) => return e.to_string(),
        };
        let Some(db) = e.as_db_error() else {
            let mut words = e.to_string();
            let mut source = core::error::Error::source(e);
            while let Some(inner) = source {
                let inner_words = inner.to_string();
                if !words.contains(&inner_words) {
                    words = format!("{words}: {inner_words}");
                }
                source = inner.source();
            }
            return words;
        };
        // Its detail may quote a row; the message does not.
        let hint = match *db.code() {
            SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME => "; run `portunus store migrate` once",
            SqlState::INSUFFICIENT_PRIVILEGE => {
                "; its user needs usage of schema portunus, and select, insert and update on its tables"
            }
            SqlState::QUERY_CANCELED => " (`timeout` in [auc.database]); another change may be under way",
            _ => "",
        };
        format!("{}{hint}", db.message())
    }

    pub(super) fn told(self, server: &str) -> StoreError {
        let unknown = matches!(&self, Self::Commit(inner) if inner.is_broken() || matches!(**inner, Self::Late(_)));
        match self {
            Self::Store(e) => e,
            other => StoreError::Database { server: server.to_owned(), what: other.words(), unknown },
        }
    }
}

/// One connection, with the thread of whoever uses it.
pub(super) struct Conn {
    runtime: tokio::runtime::Runtime,
    client: Client,
    limit: Duration,
    prepared: BTreeMap<&'static str, Statement>,
    told: Arc<Notify>,
    /// Something of it was left unfinished: nobody uses it again.
    dead: bool,
}

impl Conn {
    fn wait<T>(&mut self, work: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>) -> Result<T, Trouble> {
        let (limit, client) = (self.limit, &self.client);
        let done = self.runtime.block_on(async { tokio::time::timeout(limit, work(client)).await });
        self.dead |= done.is_err();
        done.map_err(|_| Trouble::Late(limit))?.map_err(Trouble::Sql)
    }

    fn prepared(&mut self, sql: &'static str) -> Result<Statement, Trouble> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.wait(async |client| client.prepare(sql).await)?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }

    pub(super) fn query(&mut self, sql: &'static str, with: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Trouble> {
        let statement = self.prepared(sql)?;
        self.wait(async |client| client.query(&statement, with).await)
    }

    pub(super) fn one(&mut self, sql: &'static str, with: &[&(dyn ToSql + Sync)]) -> Result<Row, Trouble> {
        let statement = self.prepared(sql)?;
        self.wait(async |client| client.query_one(&statement, with).await)
    }

    pub(super) fn execute(&mut self, sql: &'static str, with: &[&(dyn ToSql + Sync)]) -> Result<u64, Trouble> {
        let statement = self.prepared(sql)?;
        self.wait(async |client| client.execute(&statement, with).await)
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<(), Trouble> {
        self.wait(async |client| client.batch_execute(sql).await)
    }

    /// Does something in one transaction: all of it, or nothing.
    pub(super) fn transaction<T>(
        &mut self,
        begin: &str,
        work: impl FnOnce(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.batch(begin)?;
        match work(self) {
            Ok(done) => match self.batch("commit") {
                Ok(()) => Ok(done),
                Err(e) => Err(Trouble::Commit(Box::new(e))),
            },
            Err(e) => {
                self.dead = self.dead || self.batch("rollback").is_err();
                Err(e)
            }
        }
    }

    /// Waits until the database tells of a change, the time is over, or the connection is.
    pub(super) fn wait_for_change(&self, most: Duration) -> bool {
        let told = self.told.clone();
        self.runtime.block_on(async { tokio::time::timeout(most, told.notified()).await }).is_ok()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.dead || self.client.is_closed()
    }
}

/// Keeps the connection going while somebody waits on it.
async fn drive<S, T>(mut connection: Connection<S, T>, told: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if matches!(message, AsyncMessage::Notification(_)) {
            told.notify_one();
        }
    }
    told.notify_one();
}

/// The way to the database.
pub(super) struct Link {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
    limit: Duration,
    label: String,
}

impl Link {
    pub(super) fn new(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let mut pg = tokio_postgres::Config::new();
        for (host, port) in &config.servers {
            pg.host(host).port(*port);
        }
        pg.dbname(&config.name).user(&config.user).application_name("portunus");
        if let Some(password) = &config.password {
            pg.password(password.as_bytes());
        }
        let ms = config.timeout.as_millis();
        // A writer that vanishes with its transaction open keeps others waiting no longer than this.
        pg.options(format!("-c statement_timeout={ms} -c idle_in_transaction_session_timeout={}", 2 * ms));
        pg.connect_timeout(config.timeout).tcp_user_timeout(config.timeout).keepalives_idle(Duration::from_secs(30));
        pg.target_session_attrs(TargetSessionAttrs::ReadWrite);
        pg.ssl_mode(if config.tls.is_some() { SslMode::Require } else { SslMode::Disable });
        let label = config.label();
        let wrong = |what| StoreError::Database { server: label.clone(), what, unknown: false };
        let tls = config.tls.as_ref().map(client).transpose().map_err(wrong)?;
        // The server's own limit strikes first, for it says more.
        let limit = config.timeout + Duration::from_secs(1);
        Ok(Self { config: pg, tls: tls.map(MakeRustlsConnect::new), limit, label })
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// A connection whose tables are those that this program works on, or, for who migrates, any.
    pub(super) fn connect(&self, check: bool) -> Result<Conn, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|e| Trouble::Said(format!("no event loop to be had: {e}")))?;
        let told = Arc::new(Notify::new());
        let connecting = async {
            Ok::<_, tokio_postgres::Error>(match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(drive(connection, told.clone()));
                    client
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    tokio::spawn(drive(connection, told.clone()));
                    client
                }
            })
        };
        let client = runtime.block_on(async { tokio::time::timeout(self.limit, connecting).await });
        let client = client.map_err(|_| Trouble::Late(self.limit))??;
        let mut conn = Conn { runtime, client, limit: self.limit, prepared: BTreeMap::new(), told, dead: false };
        if check {
            super::schema::check(&mut conn)?;
        }
        Ok(conn)
    }
}

/// TLS 1.3 with `ring`, the server's certificate and name checked.
fn client(tls: &DatabaseTls) -> Result<ClientConfig, String> {
    let said = |path: &Path, e: &dyn fmt::Display| format!("{}: {e}", path.display());
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        let all = CertificateDer::pem_file_iter(path).map_err(|e| said(path, &e))?;
        let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| said(path, &e))?;
        if all.is_empty() { Err(said(path, &"no certificate in it")) } else { Ok(all) }
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(&tls.ca)? {
        roots.add(authority).map_err(|e| said(&tls.ca, &e))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots);
    match &tls.own {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| said(key, &e))?;
            config.with_client_auth_cert(chain, secret).map_err(|e| said(certificate, &e))
        }
    }
}

/// Connections that wait to be used, and how many there are in all.
struct Places {
    idle: Vec<Conn>,
    open: usize,
}

/// A bounded number of connections, kept open between uses.
pub(super) struct Pool {
    link: Link,
    most: usize,
    places: Mutex<Places>,
    freed: Condvar,
}

impl Pool {
    pub(super) fn new(link: Link, most: usize) -> Self {
        Self {
            link,
            most: most.max(1),
            places: Mutex::new(Places { idle: Vec::new(), open: 0 }),
            freed: Condvar::new(),
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// A place, with the connection that it had if it still lives.
    fn take(&self) -> Result<Option<Conn>, Trouble> {
        let until = Instant::now() + self.link.limit;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(conn) = places.idle.pop() {
                return Ok(Some(conn).filter(|conn| !conn.is_closed()));
            }
            if places.open < self.most {
                places.open += 1;
                return Ok(None);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let most = self.most;
                return Err(Trouble::Said(format!("all {most} connections are busy (`pool` in [auc.database])")));
            }
            places = self.freed.wait_timeout(places, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give(&self, conn: Option<Conn>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        match conn {
            Some(conn) => places.idle.push(conn),
            None => places.open -= 1,
        }
        self.freed.notify_one();
    }

    /// Does something on a connection. One that waited may have died meanwhile: then once more on a new one.
    pub(super) fn with<T>(&self, mut work: impl FnMut(&mut Conn) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let told = |e: Trouble| e.told(&self.link.label);
        if let Some(mut conn) = self.take().map_err(told)? {
            match work(&mut conn) {
                Err(e) if e.is_broken() => {}
                done => {
                    self.give(Some(conn).filter(|conn| !conn.is_closed()));
                    return done.map_err(told);
                }
            }
        }
        let mut fresh = match self.link.connect(true) {
            Ok(conn) => conn,
            Err(e) => {
                self.give(None);
                return Err(told(e));
            }
        };
        let done = work(&mut fresh);
        self.give(Some(fresh).filter(|conn| !conn.is_closed()));
        done.map_err(told)
    }
}
