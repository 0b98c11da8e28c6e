//! Policies: who may do what, and what of it crosses the border between access and core.

use super::{Edge, Listener, Mechanism};
use crate::value::Size;

/// What a policy allows, apart from the mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The last of its mechanisms that is accepted; `None`: all are.
    pub floor: Option<Mechanism>,
    /// True: stock phones, once registered, may send and be sent messages that nothing protects.
    pub plain: bool,
    /// True: stock phones may register, where the listener admits them.
    pub digest: bool,
    /// Messages that a session may send, a second on average; 0: any number.
    pub rate: u16,
    /// So many of them at once.
    pub burst: u16,
    /// Longest message that a terminal may send; `None`: as long as what is written.
    pub message: Option<Size>,
}

/// A policy with a name; what it does not say is as in the access side's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPolicy {
    /// Its name.
    pub name: String,
    /// Mechanisms allowed, preferred first.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// See [`Terms::floor`], and so on.
    pub floor: Option<Mechanism>,
    #[allow(missing_docs)]
    pub plain: Option<bool>,
    #[allow(missing_docs)]
    pub digest: Option<bool>,
    #[allow(missing_docs)]
    pub rate: Option<u16>,
    #[allow(missing_docs)]
    pub burst: Option<u16>,
    #[allow(missing_docs)]
    pub message: Option<Size>,
    /// The terminals whose own it is, by identity; a `*` stands for any characters.
    pub terminals: Vec<String>,
}

impl NamedPolicy {
    /// Its mechanisms and terms at an access side.
    pub fn at(&self, edge: &Edge) -> (Vec<Mechanism>, Terms) {
        let base = &edge.policy;
        let mechanisms = self.mechanisms.clone().unwrap_or_else(|| base.mechanisms.clone());
        // A floor is one of the list that it was written for.
        let inherited = base.terms.floor.filter(|_| self.mechanisms.is_none());
        let terms = Terms {
            floor: self.floor.or(inherited),
            plain: self.plain.unwrap_or(base.terms.plain),
            digest: self.digest.unwrap_or(base.terms.digest),
            rate: self.rate.unwrap_or(base.terms.rate),
            burst: self.burst.unwrap_or(base.terms.burst),
            message: self.message.or(base.terms.message),
        };
        (mechanisms, terms)
    }
}

impl Edge {
    /// The number of a listener's policy among the named ones, from 1; 0: the access side's own.
    pub fn policy_of(&self, listener: &Listener) -> usize {
        let name = listener.policy.as_deref();
        name.and_then(|name| self.policies.iter().position(|p| p.name == name)).map_or(0, |at| at + 1)
    }
}

/// What of sessions' messages crosses the border. A running process takes changes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Border {
    /// True: terminals see no address of the core's.
    pub hide: bool,
    /// Header fields of terminals that go no further, by name; one that ends in `*` stands for all that begin so.
    pub strip_up: Vec<String>,
    /// Header fields of the core that go no further.
    pub strip_down: Vec<String>,
}
