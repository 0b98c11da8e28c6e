//! Header names that this product knows, and their recognition: long and compact forms, any case, without a table of
//! hashes: the first eight octets, lower-cased, are one machine word, and `match` on words is a handful of
//! comparisons.

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

/// Known names, their canonical spelling and compact form. Order is that of [`Name`].
const TABLE: [(&str, u8); 36] = [
    ("Via", b'v'),
    ("From", b'f'),
    ("To", b't'),
    ("Call-ID", b'i'),
    ("CSeq", 0),
    ("Max-Forwards", 0),
    ("Contact", b'm'),
    ("Expires", 0),
    ("Content-Length", b'l'),
    ("Content-Type", b'c'),
    ("Route", 0),
    ("Record-Route", 0),
    ("Path", 0),
    ("Service-Route", 0),
    ("Authorization", 0),
    ("Proxy-Authorization", 0),
    ("WWW-Authenticate", 0),
    ("Proxy-Authenticate", 0),
    ("Authentication-Info", 0),
    ("Require", 0),
    ("Proxy-Require", 0),
    ("Supported", b'k'),
    ("Unsupported", 0),
    ("Security-Client", 0),
    ("Security-Server", 0),
    ("Security-Verify", 0),
    ("P-Asserted-Identity", 0),
    ("P-Asserted-Service", 0),
    ("P-Associated-URI", 0),
    ("P-Visited-Network-ID", 0),
    ("P-Charging-", 0),
    ("Retry-After", 0),
    ("Min-Expires", 0),
    ("Event", b'o'),
    ("Refer-To", b'r'),
    ("User-Agent", 0),
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

/// The first eight octets in lower case as a little-endian number, zero-padded.
const fn word(s: &str) -> u64 {
    let s = s.as_bytes();
    let mut n = 0u64;
    let mut i = 0;
    while i < 8 && i < s.len() {
        n |= ((s[i] | 0x20) as u64) << (8 * i);
        i += 1;
    }
    n
}

/// As [`word`], at run time. `| 0x20` maps just `A-Z` onto `a-z`, and CR, the one octet that it maps onto `-`, does
/// not occur in a line.
#[inline]
fn word_of(s: &[u8]) -> u64 {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    if let Some(first) = s.first_chunk::<8>() {
        return u64::from_le_bytes(*first) | LOWER;
    }
    s.iter().rev().fold(0, |n, c| n << 8 | u64::from(c | 0x20))
}

impl Name {
    /// How many there are, [`Name::Other`] included.
    pub const COUNT: usize = TABLE.len() + 1;

    /// The canonical spelling; `header` for [`Name::Other`].
    pub const fn as_str(self) -> &'static str {
        let i = self as usize;
        if i < TABLE.len() { TABLE[i].0 } else { "header" }
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
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        if let [c] = name {
            return Self::of_compact(*c);
        }
        let known = Self::candidate(name);
        if name.len() <= 8 || known == Self::Other {
            return known;
        }
        // Eight octets were compared; the rest is compared here. `P-Charging-` is a beginning only.
        let spelling = known.as_str().as_bytes();
        match name.get(8..spelling.len()) {
            Some(rest) if rest.eq_ignore_ascii_case(spelling.get(8..).unwrap_or_default()) => known,
            _ => Self::Other,
        }
    }

    /// The one name that this can be, by its length and first eight octets.
    #[inline]
    fn candidate(name: &[u8]) -> Self {
        macro_rules! pick {
            ($w:expr; $($s:literal $n:ident),*) => { match $w { $(w if w == const { word($s) } => Self::$n,)* _ => Self::Other } };
        }
        let w = word_of(name);
        let known = match name.len() {
            2 => pick!(w; "to" To),
            3 => pick!(w; "via" Via),
            4 => pick!(w; "from" From, "cseq" CSeq, "path" Path),
            5 => pick!(w; "route" Route, "event" Event),
            7 => pick!(w; "call-id" CallId, "contact" Contact, "expires" Expires, "require" Require),
            8 => pick!(w; "refer-to" ReferTo),
            9 => pick!(w; "supporte" Supported),
            10 => pick!(w; "user-age" UserAgent),
            11 => pick!(w; "unsuppor" Unsupported, "retry-af" RetryAfter, "min-expi" MinExpires),
            12 => pick!(w; "max-forw" MaxForwards, "content-" ContentType, "record-r" RecordRoute),
            13 => pick!(w; "authoriz" Authorization, "service-" ServiceRoute, "proxy-re" ProxyRequire),
            14 => pick!(w; "content-" ContentLength),
            15 if w == const { word("security") } => match name.get(9).map(|c| c | 0x20) {
                Some(b'c') => Self::SecurityClient,
                Some(b's') => Self::SecurityServer,
                _ => Self::SecurityVerify,
            },
            16 => pick!(w; "www-auth" WwwAuthenticate, "p-associ" PAssociatedUri),
            18 => pick!(w; "proxy-au" ProxyAuthenticate, "p-assert" PAssertedService),
            19 => pick!(w; "proxy-au" ProxyAuthorization, "authenti" AuthenticationInfo, "p-assert" PAssertedIdentity),
            20 => pick!(w; "p-visite" PVisitedNetworkId),
            _ => Self::Other,
        };
        if known == Self::Other && name.len() > 10 { pick!(w; "p-chargi" PCharging) } else { known }
    }

    fn of_compact(c: u8) -> Self {
        match c | 0x20 {
            b'v' => Self::Via,
            b'f' => Self::From,
            b't' => Self::To,
            b'i' => Self::CallId,
            b'm' => Self::Contact,
            b'l' => Self::ContentLength,
            b'c' => Self::ContentType,
            b'k' => Self::Supported,
            b'o' => Self::Event,
            b'r' => Self::ReferTo,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_every_case_and_its_compact_form() {
        assert!(Name::COUNT <= 64, "the sets are 64-bit words");
        for (i, (long, compact)) in TABLE.iter().enumerate() {
            let name = Name::of(long.as_bytes());
            assert_eq!(name as usize, i, "{long}");
            assert_eq!(name.as_str(), *long);
            assert_eq!(Name::of(long.to_ascii_uppercase().as_bytes()), name);
            assert_eq!(Name::of(long.to_ascii_lowercase().as_bytes()), name);
            if *compact != 0 {
                assert_eq!(Name::of(&[*compact]), name);
                assert_eq!(Name::of(&[compact.to_ascii_uppercase()]), name);
            }
        }
        assert_eq!(Name::of(b"P-Charging-Function-Addresses"), Name::PCharging);
    }

    #[test]
    fn one_octet_off_is_another_name() {
        for (long, _) in &TABLE {
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
