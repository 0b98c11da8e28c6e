//! An authority, and certificates of its making, as PEM files in a test's folder.

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

/// As [`certificates_of`], each end's file named as it is in example.test.
pub fn certificates(folder: &Path, ends: &[(&str, &[ExtendedKeyUsagePurpose])]) {
    let named: Vec<_> = ends.iter().map(|(name, usages)| (*name, format!("{name}.example.test"), *usages)).collect();
    let ends: Vec<_> = named.iter().map(|(file, name, usages)| (*file, name.as_str(), *usages)).collect();
    certificates_of(folder, &ends);
}

/// Writes `ca.pem`, and for each end its `FILE.pem` and `FILE.key`: file, name in the certificate, what it is for.
pub fn certificates_of(folder: &Path, ends: &[(&str, &str, &[ExtendedKeyUsagePurpose])]) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    // A name of its own: to OpenSSL a certificate whose issuer has its subject's name is its own issuer.
    params.distinguished_name.push(DnType::CommonName, "laboratory authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let key = KeyPair::generate().expect("a key");
    let ca = params.self_signed(&key).expect("an authority");
    std::fs::write(folder.join("ca.pem"), ca.pem()).expect("written");
    let issuer = Issuer::new(params, key);
    for (file, name, usages) in ends {
        let mut params = CertificateParams::new(vec![(*name).to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, *name);
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        params.extended_key_usages.extend_from_slice(usages);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &issuer).expect("a certificate");
        std::fs::write(folder.join(format!("{file}.pem")), leaf.pem()).expect("written");
        private(&folder.join(format!("{file}.key")), &key.serialize_pem());
    }
}
