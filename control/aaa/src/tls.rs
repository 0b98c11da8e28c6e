//! Certificates: TLS 1.3 only, `ring` only, and both sides show one (RFC 6614 section 2.3).

use rustls::client::verify_server_name;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Our certificate chain and key, and the authorities whose certificates we believe.
#[derive(Debug)]
pub struct Identity {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why an identity cannot be used. The configuration's fault.
#[derive(Debug)]
pub struct IdentityError {
    /// The file concerned; `None` for identities made in memory.
    pub file: Option<PathBuf>,
    /// What is wrong with it.
    pub what: String,
}

impl core::fmt::Display for IdentityError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl core::error::Error for IdentityError {}

fn plain(what: impl core::fmt::Display) -> IdentityError {
    IdentityError { file: None, what: what.to_string() }
}

impl Identity {
    /// From DER: authorities, own chain (own certificate first), own key.
    ///
    /// # Errors
    /// [`IdentityError`] for an authority that is no certificate.
    pub fn new(
        authorities: &[CertificateDer<'_>],
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone().into_owned()).map_err(plain)?;
        }
        Ok(Self { roots: Arc::new(roots), chain, key })
    }

    /// From PEM files.
    ///
    /// # Errors
    /// [`IdentityError`] naming the file that cannot be read, or holds no certificate or key.
    pub fn from_pem_files(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let fail = |file: &Path, what: &dyn core::fmt::Display| IdentityError {
            file: Some(file.to_path_buf()),
            what: what.to_string(),
        };
        let certificates = |file: &Path| -> Result<Vec<CertificateDer<'static>>, IdentityError> {
            let all = CertificateDer::pem_file_iter(file).map_err(|e| fail(file, &e))?;
            let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| fail(file, &e))?;
            if all.is_empty() { Err(fail(file, &"no certificate in it")) } else { Ok(all) }
        };
        let authorities = certificates(ca)?;
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|e| fail(key, &e))?;
        Self::new(&authorities, chain, key).map_err(|e| fail(ca, &e.what))
    }

    /// For the side that connects.
    ///
    /// # Errors
    /// [`IdentityError`] when key and certificate do not belong together.
    pub fn client(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(plain)?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(plain)?;
        Ok(Arc::new(config))
    }

    /// For the side that listens; it demands a certificate.
    ///
    /// # Errors
    /// [`IdentityError`] when key and certificate do not belong together, or there is no authority.
    pub fn server(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(plain)?
            .with_client_cert_verifier(verifier.build().map_err(plain)?)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(plain)?;
        // A resumed session would not show its certificate again; connections here live long anyway.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// Which of `names` a peer's certificate is for; the first that fits.
pub(crate) fn name_of(certificate: &CertificateDer<'_>, names: &[String]) -> Option<Arc<str>> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let fits =
        |name: &&String| ServerName::try_from(name.as_str()).is_ok_and(|n| verify_server_name(&parsed, &n).is_ok());
    names.iter().find(fits).map(|name| Arc::from(name.as_str()))
}
