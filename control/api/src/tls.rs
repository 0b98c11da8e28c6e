//! The interface's certificate: TLS 1.3 only, `ring` only; of clients none is asked unless an authority is named.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// Reads certificate chain and key, and the authorities whose clients alone may connect.
///
/// # Errors
/// Which file cannot be used, and why. The configuration's fault.
pub fn server(certificate: &Path, key: &Path, ca: Option<&Path>) -> Result<Arc<ServerConfig>, String> {
    let chain = certificates(certificate)?;
    let own = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{}: {e}", key.display()))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?;
    let builder = match ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let bad = |e: &dyn core::fmt::Display| format!("{}: {e}", ca.display());
            let mut roots = RootCertStore::empty();
            for authority in certificates(ca)? {
                roots.add(authority).map_err(|e| bad(&e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| bad(&e))?)
        }
    };
    let mut config = builder.with_single_cert(chain, own).map_err(|e| format!("{}: {e}", certificate.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would not show its certificate again, and requests here are not so many that it mattered.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bad = |e: &dyn core::fmt::Display| format!("{}: {e}", file.display());
    let all = CertificateDer::pem_file_iter(file).map_err(|e| bad(&e))?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| bad(&e))?;
    if all.is_empty() { Err(bad(&"no certificate in it")) } else { Ok(all) }
}
