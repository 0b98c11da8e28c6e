//! Phones that come with TLS and a certificate at the other end: connect, shake hands, register, stay.

use crate::keys::{REALM, identity};
use core::net::SocketAddr;
use core::time::Duration;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};
use std::io;
use std::time::Instant;

/// What every connection of a comparison is enciphered by.
pub(super) const SUITE: &str = "TLS_AES_128_GCM_SHA256";

struct Phone {
    tls: SslStream<TcpStream>,
    local: SocketAddr,
    shaken: bool,
    heard: Vec<u8>,
    registered: bool,
}

/// Phones, connected for as long as it lives.
pub(super) struct Phones {
    phones: Vec<Phone>,
    poll: Poll,
    context: SslContext,
    server: SocketAddr,
    registered: u32,
}

fn register(n: usize, local: SocketAddr) -> String {
    let idc = identity(n as u64);
    format!(
        "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/TLS {local};branch=z9hG4bK{n:016x};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{idc}>;tag={n:08x}\r\nTo: <sip:{idc}>\r\nCall-ID: {n:08x}-tls\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:{idc};transport=tls>\r\nExpires: 3600\r\nSupported: path\r\nContent-Length: 0\r\n\r\n"
    )
}

impl Phone {
    /// Does what can be done; true when the phone has just been registered.
    fn go(&mut self, n: usize) -> io::Result<bool> {
        if !self.shaken {
            match self.tls.do_handshake() {
                Ok(()) => {
                    self.shaken = true;
                    let text = register(n, self.local);
                    // A first message fits into an empty socket.
                    self.tls.ssl_write(text.as_bytes()).map_err(io::Error::other)?;
                }
                Err(e) if matches!(e.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => return Ok(false),
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        let mut room = [0u8; 2_048];
        loop {
            match self.tls.ssl_read(&mut room) {
                Ok(count) => self.heard.extend_from_slice(room.get(..count).unwrap_or_default()),
                Err(e) if e.code() == ErrorCode::WANT_READ => break,
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        let done = self.heard.starts_with(b"SIP/2.0 200") && self.heard.ends_with(b"\r\n\r\n");
        Ok(done && !core::mem::replace(&mut self.registered, done))
    }
}

impl Phones {
    /// None yet.
    pub(super) fn new(server: SocketAddr) -> io::Result<Self> {
        let build = || {
            let mut context = SslContext::builder(SslMethod::tls_client())?;
            context.set_min_proto_version(Some(SslVersion::TLS1_3))?;
            context.set_ciphersuites(SUITE)?;
            context.set_groups_list("X25519")?;
            // Whose certificate it is costs the server nothing.
            context.set_verify(SslVerifyMode::NONE);
            Ok::<_, openssl::error::ErrorStack>(context.build())
        };
        let context = build().map_err(io::Error::other)?;
        Ok(Self { phones: Vec::new(), poll: Poll::new()?, context, server, registered: 0 })
    }

    fn connect(&mut self) -> io::Result<()> {
        let mut tcp = TcpStream::connect(self.server)?;
        let token = Token(self.phones.len());
        self.poll.registry().register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE)?;
        let local = tcp.local_addr()?;
        let mut ssl = Ssl::new(&self.context).map_err(io::Error::other)?;
        ssl.set_connect_state();
        let tls = SslStream::new(ssl, tcp).map_err(io::Error::other)?;
        self.phones.push(Phone { tls, local, shaken: false, heard: Vec::new(), registered: false });
        Ok(())
    }

    /// So many more phones connect and register, so many of them at a time. How many did.
    pub(super) fn come(&mut self, count: u32, window: u32, limit: Duration) -> io::Result<u32> {
        let (began, before) = (Instant::now(), self.registered);
        let first = self.phones.len() as u32;
        let mut events = Events::with_capacity(256);
        while self.registered - before < count && began.elapsed() < limit {
            let come = self.phones.len() as u32 - first;
            let under_way = come - (self.registered - before);
            for _ in under_way..window.min(under_way + count - come) {
                self.connect()?;
            }
            self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in events.iter() {
                let n = event.token().0;
                if let Some(phone) = self.phones.get_mut(n)
                    && phone.go(n)?
                {
                    self.registered += 1;
                }
            }
        }
        Ok(self.registered - before)
    }
}
