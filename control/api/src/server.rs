//! Sockets, TLS, HTTP/1.1 and time around a [`Service`]: one thread, and few more that wait for the disk.
//!
//! | what | limit |
//! |---|---|
//! | connections | as configured; one more is closed at once and counted |
//! | handshake of TLS | 5 s |
//! | head of a request, from the end of the one before | 10 s, 16 KiB, 64 fields |
//! | JSON body | 10 s, 64 KiB |
//! | CSV body | 10 s from one piece to the next, 10 min, as many octets as configured; one at a time |
//! | life of a connection | 15 min |
//! | answers waiting for the disk | 4 threads |

use crate::problem::Problem;
use crate::route::{self, Body as Kind};
use crate::service::{JSON_MAX, Reply, Request, Service, etag};
use core::convert::Infallible;
use core::net::{IpAddr, SocketAddr};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use portunus_keydist::{Now, SystemRandom};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const HANDSHAKE: Duration = Duration::from_secs(5);
const HEAD: Duration = Duration::from_secs(10);
const HEAD_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;
const PIECE: Duration = Duration::from_secs(10);
const IMPORT: Duration = Duration::from_secs(600);
const CONNECTION: Duration = Duration::from_secs(900);
/// How soon a stop is noticed.
const LOOK: Duration = Duration::from_millis(200);
/// What is under way may finish in this time when the interface stops.
const STOPPING: Duration = Duration::from_secs(2);
const WAITERS: usize = 4;

/// Where the interface is.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address; port 0: any.
    pub address: SocketAddr,
    /// `None`: HTTP in clear, for a laboratory.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Connections at one time.
    pub connections: usize,
}

/// A running interface.
#[derive(Debug)]
pub struct ServerHandle {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// False when its thread ended by itself, which is a fault of ours.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Connections closed because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Stops; what is under way has two seconds.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.halt();
    }
}

/// What connections share.
struct Shared {
    service: Service,
    tls: Option<TlsAcceptor>,
    /// Imports under way: one.
    importing: Arc<Semaphore>,
    begun: Instant,
}

/// Starts the interface; its socket is open when this returns.
///
/// # Errors
/// An address that cannot be had; no thread to be had.
pub fn start(config: ServerConfig, service: Service) -> io::Result<ServerHandle> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", config.address));
    let listener = std::net::TcpListener::bind(config.address).map_err(named)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(WAITERS)
        .thread_name("auc-api-disk")
        .build()?;
    let tls = config.tls.map(TlsAcceptor::from);
    let shared = Arc::new(Shared { service, tls, importing: Arc::new(Semaphore::new(1)), begun: Instant::now() });
    let (stopped, counted) = (stop.clone(), refused.clone());
    let run = move || {
        runtime.block_on(accept(listener, shared, config.connections, stopped, counted));
        runtime.shutdown_timeout(STOPPING);
    };
    let thread = std::thread::Builder::new().name("auc-api".into()).spawn(run)?;
    Ok(ServerHandle { address, stop, refused, thread: Some(thread) })
}

async fn accept(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    connections: usize,
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(e) => {
            tracing::error!(error = %e, "the provisioning interface does not run");
            return;
        }
    };
    let room = Arc::new(Semaphore::new(connections));
    while !stop.load(Ordering::Acquire) {
        match timeout(LOOK, listener.accept()).await {
            Err(_) => {}
            Ok(Err(e)) => {
                // No descriptors, most likely: those that are open must end first.
                tracing::warn!(error = %e, "a connection was not accepted");
                tokio::time::sleep(LOOK).await;
            }
            Ok(Ok((stream, peer))) => {
                let Ok(place) = room.clone().try_acquire_owned() else {
                    refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let shared = shared.clone();
                tokio::spawn(async move {
                    let _ = timeout(CONNECTION, connection(stream, peer.ip(), shared)).await;
                    drop(place);
                });
            }
        }
    }
    // Whoever has every place back knows that all have ended.
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    let _ = timeout(STOPPING, room.acquire_many(all)).await;
}

async fn connection(stream: TcpStream, peer: IpAddr, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    match &shared.tls {
        None => serve(TokioIo::new(stream), peer, shared).await,
        Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve(TokioIo::new(stream), peer, shared).await,
            Ok(Err(e)) => tracing::debug!(%peer, error = %e, "no TLS"),
            Err(_) => tracing::debug!(%peer, "no TLS in time"),
        },
    }
}

async fn serve(io: impl hyper::rt::Read + hyper::rt::Write + Unpin + 'static, peer: IpAddr, shared: Arc<Shared>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_MAX).max_headers(FIELDS_MAX);
    let answer = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(respond(answer(request, peer, shared).await)) }
    });
    // What ends a connection early is the peer's affair.
    let _ = http.serve_connection(io, answer).await;
}

async fn answer(request: hyper::Request<Incoming>, peer: IpAddr, shared: Arc<Shared>) -> Reply {
    let (head, body) = request.into_parts();
    match route::find(head.method.as_str(), head.uri.path()).map_or(Kind::None, |(route, _)| route.body) {
        Kind::None => blocking(shared, head, peer, Box::new(io::empty())).await,
        Kind::Json => {
            let whole = timeout(PIECE, Limited::new(body, JSON_MAX + 1).collect()).await;
            let body: Box<dyn Read + Send> = match whole {
                Ok(Ok(whole)) => Box::new(io::Cursor::new(whole.to_bytes())),
                Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
                    Box::new(Failed(io::ErrorKind::FileTooLarge))
                }
                Ok(Err(_)) | Err(_) => Box::new(Failed(io::ErrorKind::TimedOut)),
            };
            blocking(shared, head, peer, body).await
        }
        Kind::Csv => {
            let Ok(place) = shared.importing.clone().try_acquire_owned() else {
                let next = "send it again when that one is done";
                return Reply::problem(&Problem::new(429, "importing", "another import is under way", next).after(5));
            };
            let (parts, arriving) = mpsc::channel(4);
            let pump = tokio::spawn(pump(body, parts));
            let reply = blocking(shared, head, peer, Box::new(Arriving { parts: arriving, rest: Bytes::new() })).await;
            pump.abort();
            drop(place);
            reply
        }
    }
}

/// Has the service answer where waiting for the disk keeps nobody else waiting.
async fn blocking(
    shared: Arc<Shared>,
    head: hyper::http::request::Parts,
    peer: IpAddr,
    mut body: Box<dyn Read + Send>,
) -> Reply {
    let work = tokio::task::spawn_blocking(move || {
        let field = |name: HeaderName| field(&head.headers, name);
        let request = Request {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            authorization: field(header::AUTHORIZATION),
            content_type: field(header::CONTENT_TYPE),
            if_match: field(header::IF_MATCH),
            if_none_match: field(header::IF_NONE_MATCH),
            peer,
        };
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let now = Now { mono_ms: shared.begun.elapsed().as_millis() as u64, wall_ms };
        shared.service.answer(now, &mut SystemRandom::new(), &request, &mut *body)
    });
    work.await.unwrap_or_else(|e| {
        tracing::error!(error = %e, "a request was not answered");
        Reply::problem(&Problem::new(500, "fault", "a fault of the AuC's", "see its log, and report it"))
    })
}

fn field(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn respond(reply: Reply) -> Response<Full<Bytes>> {
    let Reply { status, content_type, body, tag, allow, retry_after, close } = reply;
    // The body is erased when the last of it was sent.
    let mut response = Response::new(Full::new(Bytes::from_owner(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(kind) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    let mut text = |name, value: Option<String>| {
        if let Some(value) = value.and_then(|v| HeaderValue::from_str(&v).ok()) {
            headers.insert(name, value);
        }
    };
    text(header::ETAG, tag.map(etag));
    text(header::ALLOW, allow);
    text(header::RETRY_AFTER, retry_after.map(|s| s.to_string()));
    text(header::WWW_AUTHENTICATE, (status == 401).then(|| "Bearer realm=\"portunus\"".to_owned()));
    text(header::CONNECTION, close.then(|| "close".to_owned()));
    response
}

/// A piece of a body on its way to whoever reads it.
enum Part {
    Octets(Bytes),
    End,
    Failed(io::ErrorKind),
}

async fn pump(mut body: Incoming, to: mpsc::Sender<Part>) {
    let until = Instant::now() + IMPORT;
    loop {
        let part = match timeout(PIECE, body.frame()).await {
            _ if Instant::now() > until => Part::Failed(io::ErrorKind::TimedOut),
            Err(_) => Part::Failed(io::ErrorKind::TimedOut),
            Ok(None) => Part::End,
            Ok(Some(Err(_))) => Part::Failed(io::ErrorKind::UnexpectedEof),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(octets) => Part::Octets(octets),
                // Trailers say nothing here.
                Err(_) => continue,
            },
        };
        let last = !matches!(part, Part::Octets(_));
        if to.send(part).await.is_err() || last {
            return;
        }
    }
}

/// A body that is read while it arrives.
struct Arriving {
    parts: mpsc::Receiver<Part>,
    rest: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.parts.blocking_recv() {
                Some(Part::Octets(octets)) => self.rest = octets,
                Some(Part::End) => return Ok(0),
                Some(Part::Failed(kind)) => return Err(kind.into()),
                // Whoever should have said so ended without: this is no end of the body.
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n = self.rest.len().min(out.len());
        let (now, later) = (self.rest.slice(..n), self.rest.slice(n..));
        out.get_mut(..n).unwrap_or_default().copy_from_slice(&now);
        self.rest = later;
        Ok(n)
    }
}

/// A body that did not arrive.
struct Failed(io::ErrorKind);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
}
