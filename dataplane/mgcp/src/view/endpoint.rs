//! Endpoint names (RFC 3435 sections 2.1.2 and 3.2.1.3).

/// `local@domain`: a checked name, or a wildcard of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint<'m> {
    /// What names it inside its gateway: terms separated by `/`, e.g. `aaln/1`.
    pub local: &'m [u8],
    /// The gateway's domain name, or its address in square brackets.
    pub domain: &'m [u8],
}

/// Longest of either side in octets.
pub const SIDE_MAX: usize = 255;

const fn in_local(c: u8) -> bool {
    c.is_ascii_graphic() && c != b'@'
}

const fn in_domain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':' | b'[' | b']' | b'#')
}

impl<'m> Endpoint<'m> {
    /// Checks the form; `None` when it is no endpoint's name.
    pub fn parse(name: &'m [u8]) -> Option<Self> {
        let at = memchr::memrchr(b'@', name)?;
        let (local, domain) = (name.get(..at)?, name.get(at + 1..)?);
        let sized = |side: &[u8]| (1..=SIDE_MAX).contains(&side.len());
        let good = sized(local)
            && sized(domain)
            && local.iter().all(|c| in_local(*c))
            && domain.iter().all(|c| in_domain(*c))
            && local.split(|c| *c == b'/').all(|term| !term.is_empty());
        good.then_some(Self { local, domain })
    }

    /// True where it stands for all endpoints of its gateway: every term is `*`.
    pub fn is_all(&self) -> bool {
        self.terms().all(|term| term == b"*")
    }

    /// True where any term is a wildcard, `*` (all of) or `$` (any of).
    pub fn is_wildcard(&self) -> bool {
        self.terms().any(|term| matches!(term, b"*" | b"$"))
    }

    /// True where a term asks for any one.
    pub fn is_any(&self) -> bool {
        self.terms().any(|term| term == b"$")
    }

    /// The terms of the local name.
    pub fn terms(&self) -> impl Iterator<Item = &'m [u8]> + Clone + use<'m> {
        self.local.split(|c| *c == b'/')
    }

    /// True where this name, as a wildcard or as it stands, covers an endpoint's local name. Names are compared without
    /// regard to case; a `*` or `$` at the end covers all terms that follow.
    pub fn covers(&self, local: &[u8]) -> bool {
        let mut own = self.terms();
        let mut other = local.split(|c| *c == b'/');
        loop {
            match (own.next(), other.next()) {
                (None, None) => return true,
                (Some(b"*" | b"$"), Some(_)) if own.clone().next().is_none() => return true,
                (Some(b"*" | b"$"), Some(_)) => {}
                (Some(a), Some(b)) if a.eq_ignore_ascii_case(b) => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn forms_of_names() {
        for good in
            ["*@gw1.example.test", "aaln/1@rgw.whatever.net", "ds/e1-1/*@[192.0.2.7]", "$@[2001:db8::7]", "a@#12"]
        {
            assert!(Endpoint::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "@", "a@", "@b", "a", "a b@c", "a//b@c", "/a@c", "a@b c", "a@b/c", "a@b\u{7f}"] {
            assert!(Endpoint::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn wildcards_cover_from_the_right() {
        let covers = |pattern: &str, local: &str| {
            Endpoint::parse(format!("{pattern}@gw").as_bytes()).unwrap().covers(local.as_bytes())
        };
        for (pattern, local) in
            [("*", "aaln/1"), ("aaln/*", "AALN/2"), ("*/1", "aaln/1"), ("a/*", "a/b/c"), ("a", "a"), ("$", "a/1")]
        {
            assert!(covers(pattern, local), "{pattern} {local}");
        }
        for (pattern, local) in
            [("aaln/*", "ds/1"), ("aaln/1", "aaln/2"), ("aaln", "aaln/1"), ("*/1", "aaln/2"), ("a/*", "a")]
        {
            assert!(!covers(pattern, local), "{pattern} {local}");
        }
    }
}
