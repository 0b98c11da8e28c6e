//! Which softswitches a terminal belongs to: decided once a registration, by its identity alone, so that every worker
//! and every step of it decides alike.
//!
//! ```text
//!   realm served? ──no──► refused, counted
//!     │yes
//!   first rule that fits ──► its route        affinity: | home 8 | route 5 | exact 1 | asks 1 | lot 9 | - 8 |
//!     │none
//!     └────────────────────► route 0
//! ```
//!
//! What a route is stands in the links to the core: each protocol's link has a list of softswitches for it, and takes one
//! by lot, which follows from the identity. `home` is the softswitch that a terminal has come to, once it is known: the
//! one that made its challenge (`exact`: no other can judge the answer) and then the one that granted its session.

use portunus_keydist::realm;

/// Most routes, the first included.
pub const ROUTES_MAX: usize = 32;
/// Most softswitches of one link: one number is for none.
pub const HOMES_MAX: usize = 255;
/// Different lots.
pub const LOTS: u32 = 1 << 9;

/// Whose registrations go by a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Those of this realm; `None`: of any.
    pub realm: Option<String>,
    /// Those whose user part begins so, a leading `+` apart; `None`: all.
    pub prefix: Option<String>,
    /// The route's number, below [`ROUTES_MAX`].
    pub route: u8,
}

/// All rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// Realms whose terminals are served; empty: all. Identities without a domain are served always.
    pub served: Vec<String>,
    /// The first that fits counts.
    pub rules: Vec<Rule>,
    /// True where a terminal whose softswitch is silent finds another when it begins anew: then it is told to do so at
    /// once.
    pub several: bool,
}

impl Routes {
    /// The route of an identity; `None`: its realm is not served here.
    #[inline]
    pub fn of(&self, idc: &str) -> Option<u8> {
        if !self.served.is_empty() && !self.serves(idc) {
            return None;
        }
        let fits = |rule: &&Rule| {
            rule.realm.as_ref().is_none_or(|r| realm::is_of(idc, r))
                && rule.prefix.as_ref().is_none_or(|p| realm::user_of(idc).as_bytes().starts_with(p.as_bytes()))
        };
        Some(self.rules.iter().find(fits).map_or(0, |rule| rule.route))
    }

    fn serves(&self, idc: &str) -> bool {
        let nameless = realm::host_of(idc).is_none() && (idc.starts_with('[') || !idc.contains('.'));
        nameless || self.served.iter().any(|r| realm::is_of(idc, r))
    }
}

/// A terminal's route, and the softswitch that it has come to, plus one; 0: none yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heading {
    pub(crate) route: u8,
    pub(crate) home: u8,
}

impl Heading {
    /// The affinity of a terminal whose lane has this name.
    pub(crate) const fn affinity(self, name: u64) -> Affinity {
        Affinity::new(self.route, self.home, name)
    }
}

/// An affinity: see the module's text. The lower 8 bits of it are not kept on its way through a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affinity(pub u32);

impl Affinity {
    /// Of a terminal whose lane has this name; `home` 0: wherever its lot falls.
    pub const fn new(route: u8, home: u8, name: u64) -> Self {
        let lot = (name >> 40) as u32 % LOTS;
        Self((home as u32) << 24 | (route as u32 % ROUTES_MAX as u32) << 19 | lot << 8)
    }

    /// That softswitch and no other; 0 is still whichever.
    #[must_use]
    pub const fn exactly(self) -> Self {
        Self(self.0 | 1 << 18)
    }

    /// An answer is due: silence says something about the softswitch.
    #[must_use]
    pub const fn asking(self) -> Self {
        Self(self.0 | 1 << 17)
    }

    /// True when an answer is due.
    pub const fn asks(self) -> bool {
        self.0 >> 17 & 1 == 1
    }

    /// Of what the `nth` softswitch of a link sent: its answer goes back there.
    pub const fn from(nth: usize) -> Self {
        let home = if nth < HOMES_MAX { nth as u8 + 1 } else { 0 };
        Self::new(0, home, 0).exactly()
    }

    /// The number of a softswitch, plus one; 0: none.
    pub const fn home(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// The route's number.
    pub const fn route(self) -> u8 {
        (self.0 >> 19) as u8 % ROUTES_MAX as u8
    }

    /// True when no other softswitch will do.
    pub const fn is_exact(self) -> bool {
        self.0 >> 18 & 1 == 1 && self.home() != 0
    }

    /// Which of a route's softswitches, by lot; below [`LOTS`].
    pub const fn lot(self) -> u32 {
        self.0 >> 8 & (LOTS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(realm: Option<&str>, prefix: Option<&str>, route: u8) -> Rule {
        Rule { realm: realm.map(Into::into), prefix: prefix.map(Into::into), route }
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_foreign_realms_are_not_served() {
        let rules = vec![rule(Some("b.test"), Some("49"), 2), rule(Some("b.test"), None, 1), rule(None, Some("30"), 3)];
        let routes = Routes { served: vec!["a.test".into(), "b.test".into()], rules, several: true };
        for (idc, route) in [
            ("alice@a.test", Some(0)),
            ("30@a.test", Some(3)),
            ("+3012@a.test", Some(3)),
            ("bob@B.test", Some(1)),
            ("4912@b.test", Some(2)),
            ("gw.b.test", Some(1)),
            ("3099", Some(3)),
            ("4912", Some(0)),
            ("carol@c.test", None),
            ("gw.c.test", None),
        ] {
            assert_eq!(routes.of(idc), route, "{idc}");
        }
        assert_eq!(routes.of("[192.0.2.7]:2944"), Some(0), "an address has no domain");
        assert_eq!(Routes::default().of("carol@c.test"), Some(0), "all are, where none is named");
    }

    #[test]
    fn affinities_say_what_was_put_into_them() {
        let a = Affinity::new(31, 255, 0x1ff << 40);
        assert_eq!((a.route(), a.home(), a.lot(), a.is_exact(), a.asks()), (31, 255, 511, false, false));
        let b = a.exactly().asking();
        assert_eq!((b.route(), b.home(), b.lot(), b.is_exact(), b.asks(), b.0 & 0xff), (31, 255, 511, true, true, 0));
        assert!(!Affinity::new(3, 0, 77).exactly().is_exact());
        assert_eq!((Affinity::from(0).home(), Affinity::from(254).home(), Affinity::from(255).home()), (1, 255, 0));
    }
}
