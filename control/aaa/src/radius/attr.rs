//! Attribute types used here, by the RFC that assigns them.

/// User-Name, RFC 2865 section 5.1.
pub const USER_NAME: u8 = 1;
/// Framed-IP-Address, RFC 2865 section 5.8.
pub const FRAMED_IP_ADDRESS: u8 = 8;
/// State, RFC 2865 section 5.24.
pub const STATE: u8 = 24;
/// Called-Station-Id, RFC 2865 section 5.30.
pub const CALLED_STATION_ID: u8 = 30;
/// NAS-Identifier, RFC 2865 section 5.32.
pub const NAS_IDENTIFIER: u8 = 32;
/// Proxy-State, RFC 2865 section 5.33.
pub const PROXY_STATE: u8 = 33;
/// Acct-Status-Type, RFC 2866 section 5.1.
pub const ACCT_STATUS_TYPE: u8 = 40;
/// Acct-Session-Id, RFC 2866 section 5.5.
pub const ACCT_SESSION_ID: u8 = 44;
/// Message-Authenticator, RFC 3579 section 3.2.
pub const MESSAGE_AUTHENTICATOR: u8 = 80;
/// Digest-Response, RFC 5090 section 3.1.
pub const DIGEST_RESPONSE: u8 = 103;
/// Digest-Realm, RFC 5090 section 3.2.
pub const DIGEST_REALM: u8 = 104;
/// Digest-Nonce, RFC 5090 section 3.3.
pub const DIGEST_NONCE: u8 = 105;
/// Digest-Method, RFC 5090 section 3.6.
pub const DIGEST_METHOD: u8 = 108;
/// Digest-URI, RFC 5090 section 3.7.
pub const DIGEST_URI: u8 = 109;
/// Digest-Algorithm, RFC 5090 section 3.9.
pub const DIGEST_ALGORITHM: u8 = 111;
/// Digest-Auth-Param, RFC 5090 section 3.15: one whole `name="value"` an attribute.
pub const DIGEST_AUTH_PARAM: u8 = 117;
/// Framed-IPv6-Address, RFC 6911 section 3.1.
pub const FRAMED_IPV6_ADDRESS: u8 = 168;

/// Acct-Status-Type Start.
pub const STATUS_START: u32 = 1;
/// Acct-Status-Type Stop.
pub const STATUS_STOP: u32 = 2;
/// Acct-Status-Type Interim-Update (RFC 2869 section 2.1).
pub const STATUS_INTERIM: u32 = 3;
