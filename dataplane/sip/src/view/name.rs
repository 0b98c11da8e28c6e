//! Header names that this product knows, and their recognition: long and compact forms, any case.

use super::words::Words;

/// A header, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // Each is the header of its name; the list with long and compact forms is `TABLE`.
pub enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    MaxForwards,
    Contact,
    Expires,
    ContentLength,
    ContentType,
    Route,
    RecordRoute,
    Path,
    ServiceRoute,
    Authorization,
    ProxyAuthorization,
    WwwAuthenticate,
    ProxyAuthenticate,
    AuthenticationInfo,
    Require,
    ProxyRequire,
    Supported,
    Unsupported,
    SecurityClient,
    SecurityServer,
    SecurityVerify,
    PAssertedIdentity,
    PAssertedService,
    PAssociatedUri,
    PVisitedNetworkId,
    /// Any header whose name begins with `P-Charging-`.
    PCharging,
    RetryAfter,
    MinExpires,
    Event,
    ReferTo,
    UserAgent,
    /// Any other.
    Other,
}

/// How many names have a spelling of their own.
const LONG: usize = 36;

/// Known names in their canonical spelling, in the order of [`Name`]; behind them the compact forms; [`NAMES`] says whose.
static WORDS: Words<46> = Words::new([
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Max-Forwards",
    "Contact",
    "Expires",
    "Content-Length",
    "Content-Type",
    "Route",
    "Record-Route",
    "Path",
    "Service-Route",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Authentication-Info",
    "Require",
    "Proxy-Require",
    "Supported",
    "Unsupported",
    "Security-Client",
    "Security-Server",
    "Security-Verify",
    "P-Asserted-Identity",
    "P-Asserted-Service",
    "P-Associated-URI",
    "P-Visited-Network-ID",
    "P-Charging-",
    "Retry-After",
    "Min-Expires",
    "Event",
    "Refer-To",
    "User-Agent",
    "v",
    "f",
    "t",
    "i",
    "m",
    "l",
    "c",
    "k",
    "o",
    "r",
]);

/// Every name in order, and behind them those of the compact forms (RFC 3261 section 7.3.3 and the registry).
const NAMES: [Name; LONG + 10] = [
    Name::Via,
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::MaxForwards,
    Name::Contact,
    Name::Expires,
    Name::ContentLength,
    Name::ContentType,
    Name::Route,
    Name::RecordRoute,
    Name::Path,
    Name::ServiceRoute,
    Name::Authorization,
    Name::ProxyAuthorization,
    Name::WwwAuthenticate,
    Name::ProxyAuthenticate,
    Name::AuthenticationInfo,
    Name::Require,
    Name::ProxyRequire,
    Name::Supported,
    Name::Unsupported,
    Name::SecurityClient,
    Name::SecurityServer,
    Name::SecurityVerify,
    Name::PAssertedIdentity,
    Name::PAssertedService,
    Name::PAssociatedUri,
    Name::PVisitedNetworkId,
    Name::PCharging,
    Name::RetryAfter,
    Name::MinExpires,
    Name::Event,
    Name::ReferTo,
    Name::UserAgent,
    Name::Via,
    Name::From,
    Name::To,
    Name::CallId,
    Name::Contact,
    Name::ContentLength,
    Name::ContentType,
    Name::Supported,
    Name::Event,
    Name::ReferTo,
];

/// Headers that may stand once only; a second one makes the message malformed. Authorization and its like may
/// repeat by RFC 3261, but where two credentials stand no two readers agree which counts: here they may not.
const SINGLE: u64 = bits(&[
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::MaxForwards,
    Name::Expires,
    Name::ContentLength,
    Name::ContentType,
    Name::Authorization,
    Name::AuthenticationInfo,
    Name::RetryAfter,
    Name::MinExpires,
    Name::Event,
    Name::ReferTo,
    Name::UserAgent,
]);

/// Headers that only the core may send (spec section 2).
const CORE_ONLY: u64 = bits(&[
    Name::Path,
    Name::ServiceRoute,
    Name::PAssertedIdentity,
    Name::PAssertedService,
    Name::PCharging,
    Name::PAssociatedUri,
    Name::PVisitedNetworkId,
    Name::AuthenticationInfo,
    Name::SecurityServer,
]);

const fn bits(names: &[Name]) -> u64 {
    let mut set = 0;
    let mut i = 0;
    while i < names.len() {
        set |= 1 << names[i] as u8;
        i += 1;
    }
    set
}

impl Name {
    /// How many there are, [`Name::Other`] included.
    pub const COUNT: usize = LONG + 1;

    /// The canonical spelling; `header` for [`Name::Other`].
    pub const fn as_str(self) -> &'static str {
        match WORDS.name(self as usize) {
            Some(name) if (self as usize) < LONG => name,
            _ => "header",
        }
    }

    /// The name whose number this is, as `as` gives it.
    #[inline]
    pub(crate) fn at(number: usize) -> Self {
        NAMES.get(..LONG).and_then(|names| names.get(number)).copied().unwrap_or(Self::Other)
    }

    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// True when it may stand once only in a message.
    pub const fn is_single(self) -> bool {
        SINGLE & self.bit() != 0
    }

    /// True when only the core may send it.
    pub const fn is_core_only(self) -> bool {
        CORE_ONLY & self.bit() != 0
    }

    /// Recognises a name as it stands in a message.
    #[inline(always)]
    pub fn of(name: &[u8]) -> Self {
        match WORDS.find(name).and_then(|i| NAMES.get(i)) {
            Some(known) => *known,
            None => Self::rare(name),
        }
    }

    /// `P-Charging-` is a beginning only.
    #[inline]
    fn rare(name: &[u8]) -> Self {
        let beginning = Self::PCharging.as_str().as_bytes();
        match name.get(..beginning.len()) {
            Some(s) if s.eq_ignore_ascii_case(beginning) => Self::PCharging,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_every_case_and_its_compact_form() {
        const { assert!(Name::COUNT <= 64, "the sets are 64-bit words") };
        for (i, expected) in NAMES.iter().enumerate() {
            let spelling = WORDS.name(i).unwrap();
            let name = Name::of(spelling.as_bytes());
            assert_eq!(name, *expected, "{spelling}");
            if i < LONG {
                assert_eq!((name as usize, name.as_str()), (i, spelling));
            }
            assert_eq!(Name::of(spelling.to_ascii_uppercase().as_bytes()), name);
            assert_eq!(Name::of(spelling.to_ascii_lowercase().as_bytes()), name);
        }
        assert_eq!(Name::Other.as_str(), "header");
        assert_eq!(Name::of(b"P-Charging-Function-Addresses"), Name::PCharging);
    }

    #[test]
    fn one_octet_off_is_another_name() {
        for long in (0..LONG).filter_map(|i| WORDS.name(i)) {
            for i in 0..long.len() {
                let mut near = long.as_bytes().to_vec();
                near[i] = b'#';
                assert_eq!(Name::of(&near), Name::Other);
                near[i] = long.as_bytes()[i] ^ 0x80;
                assert_eq!(Name::of(&near), Name::Other);
            }
        }
        for other in ["", "X", "Subject", "Viaa", "Security-Vendor", "P-Charg", "Content-Typ", "Paths"] {
            assert_eq!(Name::of(other.as_bytes()), Name::Other, "{other}");
        }
    }
}
