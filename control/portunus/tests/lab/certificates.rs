//! Certificates that a test makes for itself.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What servers prove themselves for.
pub const SERVER: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;
/// What clients do.
pub const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;

/// Writes a file that only its owner reads.
pub fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("made private");
}

/// An authority, and a certificate for each of these in example.test, as PEM files.
pub fn certificates(folder: &Path, ends: &[(&str, &[ExtendedKeyUsagePurpose])]) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    // A name of its own: to OpenSSL a certificate whose issuer has its subject's name is its own issuer.
    params.distinguished_name.push(DnType::CommonName, "laboratory authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let key = KeyPair::generate().expect("a key");
    let ca = params.self_signed(&key).expect("an authority");
    std::fs::write(folder.join("ca.pem"), ca.pem()).expect("written");
    let issuer = Issuer::new(params, key);
    for (name, usages) in ends {
        let mut params = CertificateParams::new(vec![format!("{name}.example.test")]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, format!("{name}.example.test"));
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        params.extended_key_usages.extend_from_slice(usages);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &issuer).expect("a certificate");
        std::fs::write(folder.join(format!("{name}.pem")), leaf.pem()).expect("written");
        private(&folder.join(format!("{name}.key")), &key.serialize_pem());
    }
}
