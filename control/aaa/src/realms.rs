//! Whose authentication centre is asked: the realm of a subscriber, by its identity.
//!
//! ```text
//!   no realm is told apart ──────────────────► our own, for everybody
//!   the longest known realm that it is of ───► that one
//!   a host part that we answer for, or none ─► our own
//!   another's ── some server leads anywhere ─► its host part
//!             └─ none does ──────────────────► unknown: nobody is asked
//! ```

use crate::exchange::AaaRequest;
use portunus_keydist::realm;
use std::sync::Arc;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realms {
    own: Arc<str>,
    /// Realms that servers lead to; empty: none is told apart.
    known: Vec<Arc<str>>,
    /// Host parts that are our own subscribers'.
    domains: Vec<Arc<str>>,
    /// Some server leads to every realm.
    open: bool,
}

impl Realms {
    /// Everybody is of this one.
    pub fn only(own: &str) -> Self {
        Self { own: own.into(), known: Vec::new(), domains: Vec::new(), open: true }
    }

    /// By what the servers lead to: each one's realms, none for a server that leads to all. `domains`: host parts that
    /// are our own subscribers' whatever their realm.
    pub fn new<'r>(own: &str, domains: &[Arc<str>], servers: impl Iterator<Item = &'r [Arc<str>]>) -> Self {
        let mut realms = Self { domains: domains.to_vec(), open: false, ..Self::only(own) };
        for server in servers {
            realms.open |= server.is_empty();
            for realm in server {
                if !realms.known.iter().any(|k| k.eq_ignore_ascii_case(realm)) {
                    realms.known.push(realm.clone());
                }
            }
        }
        realms
    }

    /// Our own.
    pub fn own(&self) -> &Arc<str> {
        &self.own
    }

    /// Those that servers lead to by name.
    pub fn known(&self) -> &[Arc<str>] {
        &self.known
    }

    /// True for a domain whose subscribers some server knows by name.
    pub fn knows(&self, domain: &str) -> bool {
        self.known.iter().any(|r| realm::is_of(domain, r))
    }

    /// The realm of a subscriber; `None` where no server leads to it.
    pub fn of(&self, idc: &str) -> Option<Arc<str>> {
        if self.known.is_empty() {
            return Some(self.own.clone());
        }
        let of = |r: &&Arc<str>| realm::is_of(idc, r);
        let longest = self.known.iter().chain([&self.own]).filter(of).max_by_key(|r| r.len());
        if let Some(realm) = longest {
            return Some(realm.clone());
        }
        match realm::host_of(idc) {
            None => Some(self.own.clone()),
            Some(host) if self.domains.iter().any(|d| d.eq_ignore_ascii_case(host)) => Some(self.own.clone()),
            Some(host) if self.open && !host.is_empty() => Some(host.to_ascii_lowercase().into()),
            Some(_) => None,
        }
    }
}

impl Realms {
    /// The realm of a request: a question bears it, a record goes where the question went.
    pub fn of_request(&self, request: &AaaRequest) -> Arc<str> {
        match request {
            AaaRequest::Authenticate(a) => a.realm.clone(),
            AaaRequest::Account(a) => self.of(&a.idc).unwrap_or_else(|| self.own.clone()),
        }
    }
}

impl From<&str> for Realms {
    fn from(own: &str) -> Self {
        Self::only(own)
    }
}

impl Default for Realms {
    fn default() -> Self {
        Self::only("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realms(servers: &[&[&str]]) -> Realms {
        let servers: Vec<Vec<Arc<str>>> = servers.iter().map(|s| s.iter().map(|r| Arc::from(*r)).collect()).collect();
        Realms::new("a.test", &["pbx.example".into()], servers.iter().map(Vec::as_slice))
    }

    #[test]
    fn subscribers_have_the_realm_of_their_identity() {
        let of = |r: &Realms, idc: &str| r.of(idc).map(|r| r.to_string());
        let closed = realms(&[&["a.test"], &["b.test", "deep.b.test"]]);
        for (idc, realm) in [
            ("alice@a.test", Some("a.test")),
            ("bob@B.test", Some("b.test")),
            ("bob@x.deep.b.test", Some("deep.b.test")),
            ("gw7.b.test", Some("b.test")),
            ("4711", Some("a.test")),
            ("[192.0.2.7]:2944", Some("a.test")),
            ("x@pbx.example", Some("a.test")),
            ("carol@c.test", None),
            ("carol@xb.test", None),
        ] {
            assert_eq!(of(&closed, idc).as_deref(), realm, "{idc}");
        }
        let relayed = realms(&[&[], &["a.test"]]);
        assert_eq!(of(&relayed, "carol@C.test").as_deref(), Some("c.test"));
        assert_eq!(of(&relayed, "carol@"), None);
        // Where none is told apart, all are ours, as ever.
        assert_eq!(of(&realms(&[&[], &[]]), "carol@c.test").as_deref(), Some("a.test"));
        assert_eq!(of(&Realms::only("a.test"), "carol@c.test").as_deref(), Some("a.test"));
        assert!(closed.knows("B.test") && closed.knows("x.b.test") && !closed.knows("c.test"));
        assert_eq!(closed.own().as_ref(), "a.test");
        assert_eq!(closed.known().len(), 3);
    }
}
