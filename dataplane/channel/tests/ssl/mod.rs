//! Peers made with the library directly, which may offer what this mechanism does not allow.

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslContextBuilder, SslMethod, SslStream, SslVersion};
use openssl::x509::{X509, X509NameBuilder};
use std::io::{self, Read, Write};

#[derive(Default)]
struct Pipe {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = room.len().min(self.input.len());
        room[..len].copy_from_slice(&self.input[..len]);
        self.input.drain(..len);
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client of anybody's.
pub(crate) struct Peer {
    context: SslContextBuilder,
    dhe: bool,
}

impl Peer {
    pub(crate) fn new(id: &[u8], key: &[u8; 32]) -> Self {
        let Self { mut context, dhe } = Self::without_psk();
        let (named, key) = ([id, &[0]].concat(), *key);
        context.set_psk_client_callback(move |_, _, identity, place| {
            identity[..named.len()].copy_from_slice(&named);
            place[..32].copy_from_slice(&key);
            Ok(32)
        });
        Self { context, dhe }
    }

    pub(crate) fn without_psk() -> Self {
        let mut context = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
        context.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
        Self { context, dhe: true }
    }

    pub(crate) fn groups(mut self, list: &str) -> Self {
        self.context.set_groups_list(list).unwrap();
        self
    }

    pub(crate) fn suites(mut self, list: &str) -> Self {
        self.context.set_ciphersuites(list).unwrap();
        self
    }

    /// Offers psk_ke alone: the ClientHello is altered on its way, since the library offers both or none.
    pub(crate) fn without_dhe(self) -> Self {
        Self { dhe: false, ..self }
    }

    pub(crate) fn tls12(mut self) -> Self {
        self.context.set_min_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        self.context.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        self
    }

    /// Shakes hands with whatever `serve` is, until it says that it is over. True when the handshake completes.
    pub(crate) fn shake(self, mut serve: impl FnMut(&[u8], &mut Vec<u8>) -> bool) -> bool {
        let mut stream = SslStream::new(Ssl::new(&self.context.build()).unwrap(), Pipe::default()).unwrap();
        loop {
            let done = stream.connect().is_ok();
            let mut up = core::mem::take(&mut stream.get_mut().output);
            if !self.dhe {
                // psk_key_exchange_modes, a list of one: psk_dhe_ke.
                let at = up.windows(6).position(|w| w == [0, 45, 0, 2, 1, 1]).expect("the extension");
                up[at + 5] = 0;
            }
            if up.is_empty() {
                return false;
            }
            let mut down = Vec::new();
            if !serve(&up, &mut down) {
                return false;
            }
            stream.get_mut().input.extend(down);
            if done {
                return true;
            }
        }
    }
}

/// What a server that has a certificate and no PSK answers to a ClientHello.
pub(crate) fn certified(hello: &[u8]) -> Vec<u8> {
    let key = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "sp1.example.test").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let mut context = SslContextBuilder::new(SslMethod::tls_server()).unwrap();
    context.set_certificate(&certificate.build()).unwrap();
    context.set_private_key(&key).unwrap();
    let pipe = Pipe { input: hello.to_vec(), output: Vec::new() };
    let mut stream = SslStream::new(Ssl::new(&context.build()).unwrap(), pipe).unwrap();
    let _ = stream.accept();
    core::mem::take(&mut stream.get_mut().output)
}
