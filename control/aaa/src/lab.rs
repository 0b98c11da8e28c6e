//! Certificates for a laboratory, made in memory: an authority that signs one server's and one client's certificate
//! and is then forgotten. Nothing is written anywhere.

use crate::tls::{Identity, IdentityError};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Both ends of a laboratory's RadSec link.
#[derive(Debug)]
pub struct LabCertificates {
    /// For the AuC.
    pub server: Identity,
    /// For the softswitch.
    pub client: Identity,
}

fn fault(e: rcgen::Error) -> IdentityError {
    IdentityError { file: None, what: e.to_string() }
}

fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    authority: &CertificateDer<'static>,
    names: &[&str],
    usage: ExtendedKeyUsagePurpose,
) -> Result<Identity, IdentityError> {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).map_err(fault)?;
    params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    params.extended_key_usages.push(usage);
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(fault)?;
    let certificate = params.signed_by(&key, issuer).map_err(fault)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Identity::new(std::slice::from_ref(authority), vec![certificate.der().clone()], private)
}

/// Makes an authority, a server's certificate for `server_names` (host names or addresses) and a client's for
/// `client_names`.
///
/// # Errors
/// [`IdentityError`] for a name that cannot stand in a certificate.
pub fn certificates(server_names: &[&str], client_names: &[&str]) -> Result<LabCertificates, IdentityError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(fault)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "laboratory authority");
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let key = KeyPair::generate().map_err(fault)?;
    let authority = params.self_signed(&key).map_err(fault)?.der().clone();
    let issuer = Issuer::new(params, key);
    Ok(LabCertificates {
        server: leaf(&issuer, &authority, server_names, ExtendedKeyUsagePurpose::ServerAuth)?,
        client: leaf(&issuer, &authority, client_names, ExtendedKeyUsagePurpose::ClientAuth)?,
    })
}
