//! Which realm an identity is of. A realm is a domain name; names of domains are compared without regard to case.
//!
//! | IDc | its domain |
//! |---|---|
//! | `user@host` | `host`, and every domain above it |
//! | `gw1.example.test` | itself, and every domain above it |
//! | digits, an alias, `[192.0.2.7]:2944` | none: it is of whoever is asked |

/// The host part of an identity that has one: what stands behind its last `@`.
pub fn host_of(idc: &str) -> Option<&str> {
    idc.rsplit_once('@').map(|(_, host)| host)
}

/// True where an identity is of this realm: its host, or else the whole of it, is the realm or a name below it.
pub fn is_of(idc: &str, realm: &str) -> bool {
    let domain = host_of(idc).unwrap_or(idc).as_bytes();
    let Some(at) = domain.len().checked_sub(realm.len()).filter(|_| !realm.is_empty()) else { return false };
    let (above, tail) = domain.split_at(at);
    tail.eq_ignore_ascii_case(realm.as_bytes()) && above.last().is_none_or(|c| *c == b'.')
}

/// What a dial plan looks at: what stands before the last `@`, or all of an identity that has none; a leading `+` does
/// not count.
pub fn user_of(idc: &str) -> &str {
    let user = idc.rsplit_once('@').map_or(idc, |(user, _)| user);
    user.strip_prefix('+').unwrap_or(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_a_domain_and_what_is_below_it() {
        for (idc, of) in [
            ("alice@a.test", true),
            ("alice@A.Test", true),
            ("alice@pbx.a.test", true),
            ("alice@ba.test", false),
            ("a.test@b.test", false),
            ("alice@a.test.b", false),
            ("gw1.a.test", true),
            ("a.test", true),
            ("gw1.ba.test", false),
            ("4711", false),
            ("[192.0.2.7]:2944", false),
            ("x@b@a.test", true),
        ] {
            assert_eq!(is_of(idc, "a.test"), of, "{idc}");
        }
        assert!(!is_of("alice@", "") && !is_of("@a.test", "xa.test"));
        assert_eq!((host_of("4711"), host_of("a@b@c")), (None, Some("c")));
        assert_eq!(["+4930@a.test", "4930", "+49"].map(user_of), ["4930", "4930", "49"]);
    }
}
