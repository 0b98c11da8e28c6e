//! Who may do what: the terms of a policy, the policies that have a name, and whom each is for.
//!
//! A listener has one policy, the base one unless another is named for it; a terminal may have one of its own, by its
//! IDc. Both hold: what either forbids is forbidden, the lower limit counts. Which two they are is settled when a
//! session is made and kept with it as a [`Pair`]; what they say is looked up anew for each message, so that a reload
//! is felt at once.

use crate::config::{LISTENERS_MAX, Policy};
use arrayvec::{ArrayString, ArrayVec};
use portunus_keydist::Idc;
use portunus_keydist::ident::IDC_MAX;
use portunus_keydist::mech::Mech;

/// Most policies with a name.
pub const CLASSES_MAX: usize = 15;
/// Most patterns of identities.
pub const PATTERNS_MAX: usize = 64;
/// Highest rate that is limited, messages a second.
pub const RATE_MAX: u16 = 1000;

/// What a policy allows, apart from the mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The last of the policy's mechanisms that is accepted; those behind it are too weak for its terminals. `None`: all
    /// are accepted.
    pub floor: Option<Mech>,
    /// True when sessions without a key may carry messages: those of stock phones, once registered.
    pub plain: bool,
    /// True when terminals may register with digest authentication, where the listener admits stock phones.
    pub digest: bool,
    /// Messages that a session may send, a second on average; 0: any number. At most [`RATE_MAX`].
    pub rate_s: u16,
    /// So many of them at once. At least 1.
    pub burst: u16,
    /// Octets of the longest message that a terminal may send.
    pub message: usize,
}

impl Terms {
    /// No limits.
    pub const OPEN: Self = Self { floor: None, plain: true, digest: true, rate_s: 0, burst: 1, message: usize::MAX };

    /// What both allow. A floor belongs to its own policy's mechanisms, and is left out.
    fn and(&self, other: &Self) -> Self {
        // Of two rates the one that takes longer for a message; its burst goes with it.
        let slower = match (self.rate_s, other.rate_s) {
            (0, _) => other,
            (_, 0) => self,
            (mine, theirs) if theirs < mine => other,
            _ => self,
        };
        Self {
            floor: None,
            plain: self.plain && other.plain,
            digest: self.digest && other.digest,
            rate_s: slower.rate_s,
            burst: slower.burst,
            message: self.message.min(other.message),
        }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::OPEN
    }
}

/// A policy with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its name, by which it is the same one after a reload.
    pub name: String,
    /// The mechanisms allowed, preferred first.
    pub mechanisms: ArrayVec<Mech, 3>,
    /// Everything else.
    pub terms: Terms,
}

/// Identities: one, or with a `*` all that begin and end like it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(ArrayString<{ IDC_MAX + 1 }>);

impl Pattern {
    /// `None` for an empty or overlong text, and for one with more than one `*`.
    pub fn new(text: &str) -> Option<Self> {
        let good = !text.is_empty() && text.matches('*').count() <= 1;
        ArrayString::from(text).ok().filter(|_| good).map(Self)
    }

    /// True for an identity of this form.
    pub fn is(&self, idc: Idc<'_>) -> bool {
        let idc = idc.as_str();
        match self.0.split_once('*') {
            Some((begins, ends)) => {
                idc.len() >= begins.len() + ends.len() && idc.starts_with(begins) && idc.ends_with(ends)
            }
            None => idc == self.0.as_str(),
        }
    }
}

/// All policies beside the base one, and whom they are for. Numbers of policies count from 1; 0 is the base.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classes {
    /// The base policy's terms; its mechanisms are [`Policy::mechanisms`].
    pub base: Terms,
    /// The others.
    pub named: ArrayVec<Class, CLASSES_MAX>,
    /// The policy of each listener; those beyond have the base one.
    pub listeners: ArrayVec<u8, LISTENERS_MAX>,
    /// Terminals that have one of their own; the first that fits counts. At most [`PATTERNS_MAX`].
    pub terminals: Vec<(Pattern, u8)>,
}

/// The policies of a session: its listener's and its terminal's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pair(u8);

impl Pair {
    const fn new(listener: u8, terminal: u8) -> Self {
        Self(listener << 4 | terminal & 0xf)
    }

    const fn listener(self) -> u8 {
        self.0 >> 4
    }

    const fn terminal(self) -> u8 {
        self.0 & 0xf
    }
}

impl Classes {
    /// True when every number names a policy, and all limits are kept.
    pub(crate) fn is_sound(&self, base: &[Mech]) -> bool {
        let exists = |n: u8| usize::from(n) <= self.named.len();
        let sound = |mechs: &[Mech], t: &Terms| {
            t.floor.is_none_or(|floor| mechs.contains(&floor)) && t.rate_s <= RATE_MAX && t.burst >= 1
        };
        self.listeners.iter().all(|n| exists(*n))
            && self.terminals.len() <= PATTERNS_MAX
            && self.terminals.iter().all(|(_, n)| *n > 0 && exists(*n))
            && sound(base, &self.base)
            && self.named.iter().all(|c| !c.mechanisms.is_empty() && sound(&c.mechanisms, &c.terms))
    }

    fn of_listener(&self, listener: u8) -> u8 {
        self.listeners.get(usize::from(listener)).copied().unwrap_or(0)
    }

    /// Renumbers the policies so that those which `running` has too keep their numbers there: sessions hold them. One
    /// that is gone leaves its number to the base policy.
    pub(crate) fn follow(&mut self, running: &Self, base: &ArrayVec<Mech, 3>) {
        let names = |classes: &Self| classes.named.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let (before, mut wanted) = (names(running), core::mem::take(&mut self.named));
        let old: Vec<String> = wanted.iter().map(|c| c.name.clone()).collect();
        let mut take = |name: &str| wanted.iter().position(|c| c.name == name).map(|at| wanted.remove(at));
        let mut places: Vec<Option<Class>> = before.iter().map(|name| take(name)).collect();
        // A number that is free because its policy is gone is the last to be used again.
        for class in wanted {
            match places.len() < CLASSES_MAX {
                true => places.push(Some(class)),
                false => places.iter_mut().find(|p| p.is_none()).map_or((), |place| *place = Some(class)),
            }
        }
        let gone = || Class { name: String::new(), mechanisms: base.clone(), terms: self.base };
        self.named = places.into_iter().map(|place| place.unwrap_or_else(gone)).collect();
        let number = |n: &mut u8| {
            let name = usize::from(*n).checked_sub(1).and_then(|at| old.get(at));
            let at = name.and_then(|name| self.named.iter().position(|c| c.name == *name));
            *n = at.map_or(0, |at| at as u8 + 1);
        };
        self.listeners.iter_mut().for_each(number);
        self.terminals.iter_mut().for_each(|(_, n)| number(n));
    }
}

impl Policy {
    fn terms_of(&self, number: u8) -> &Terms {
        let named = usize::from(number).checked_sub(1).and_then(|at| self.classes.named.get(at));
        named.map_or(&self.classes.base, |class| &class.terms)
    }

    fn mechanisms_of(&self, number: u8) -> &[Mech] {
        let named = usize::from(number).checked_sub(1).and_then(|at| self.classes.named.get(at));
        named.map_or(&self.mechanisms, |class| &class.mechanisms)
    }

    /// The policies for whoever registers at a listener.
    pub(crate) fn pair(&self, listener: u8, idc: Idc<'_>) -> Pair {
        let own = self.classes.terminals.iter().find(|(pattern, _)| pattern.is(idc));
        Pair::new(self.classes.of_listener(listener), own.map_or(0, |(_, number)| *number))
    }

    /// What both allow.
    pub(crate) fn terms(&self, pair: Pair) -> Terms {
        let of = self.terms_of(pair.listener());
        match pair.terminal() {
            0 => *of,
            own => of.and(self.terms_of(own)),
        }
    }

    /// Octets of the longest message that is read at a listener.
    pub(crate) fn longest(&self, listener: u8) -> usize {
        self.terms_of(self.classes.of_listener(listener)).message
    }

    /// The mechanisms that both allow, preferred first: `floors` says whether those below a floor are among them.
    pub(crate) fn mechanisms(&self, pair: Pair, floors: bool) -> ArrayVec<Mech, 3> {
        let accepted = |number: u8| {
            let all = self.mechanisms_of(number);
            let floor = self.terms_of(number).floor.filter(|_| floors);
            let last = floor.and_then(|floor| all.iter().position(|m| *m == floor));
            last.and_then(|last| all.get(..=last)).unwrap_or(all)
        };
        let of = accepted(pair.listener());
        match pair.terminal() {
            0 => of.iter().copied().collect(),
            own => accepted(own).iter().copied().filter(|m| of.contains(m)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, mechs: &[Mech], terms: Terms) -> Class {
        Class { name: name.into(), mechanisms: mechs.iter().copied().collect(), terms }
    }

    fn policy() -> Policy {
        let all = [Mech::Tls, Mech::Esp, Mech::Sealed];
        let strict = Terms { floor: Some(Mech::Esp), plain: false, rate_s: 10, burst: 5, ..Terms::OPEN };
        let small = Terms { digest: false, rate_s: 50, burst: 7, message: 500, ..Terms::OPEN };
        let classes = Classes {
            base: Terms::OPEN,
            named: [class("strict", &all, strict), class("small", &[Mech::Sealed, Mech::Esp], small)]
                .into_iter()
                .collect(),
            listeners: [0, 1].into_iter().collect(),
            terminals: vec![(Pattern::new("gw*.example.test").unwrap(), 2), (Pattern::new("gw1*").unwrap(), 1)],
        };
        Policy { mechanisms: all.into_iter().collect(), classes, ..Policy::default() }
    }

    #[test]
    fn patterns() {
        let is = |pattern: &str, idc: &str| Pattern::new(pattern).unwrap().is(Idc::new(idc).unwrap());
        assert!(is("carol", "carol") && !is("carol", "carola"));
        assert!(is("*@example.test", "a@example.test") && !is("*@example.test", "a@example.test.b"));
        assert!(is("gw*", "gw1") && is("gw*", "gw") && !is("gw*", "g"));
        assert!(is("a*a", "aa") && !is("a*a", "a"), "the two halves do not overlap");
        assert!(is("*", "anybody"));
        assert!(Pattern::new("").is_none() && Pattern::new("a*b*").is_none());
        assert!(Pattern::new(&"x".repeat(IDC_MAX + 2)).is_none());
    }

    #[test]
    fn both_policies_hold() {
        let policy = policy();
        policy.validate().unwrap();
        let of = |listener, idc| policy.pair(listener, Idc::new(idc).unwrap());
        let mechs = |pair, floors| policy.mechanisms(pair, floors).to_vec();
        let open = of(0, "carol");
        assert_eq!((mechs(open, true).len(), policy.terms(open)), (3, Terms::OPEN));
        let strict = of(1, "carol");
        assert_eq!(mechs(strict, true), [Mech::Tls, Mech::Esp]);
        assert_eq!(mechs(strict, false).len(), 3);
        // The first pattern that fits; its own order counts.
        let gateway = of(0, "gw1.example.test");
        assert_eq!(mechs(gateway, true), [Mech::Sealed, Mech::Esp]);
        assert_eq!((policy.terms(gateway).message, policy.terms(gateway).rate_s), (500, 50));
        let both = of(1, "gw1.example.test");
        let terms = policy.terms(both);
        assert_eq!(mechs(both, true), [Mech::Esp]);
        assert_eq!((terms.plain, terms.digest, terms.rate_s, terms.burst, terms.message), (false, false, 10, 5, 500));
        assert_eq!(mechs(of(9, "carol"), true).len(), 3, "a listener beyond has the base policy");
    }

    #[test]
    fn a_reload_keeps_the_numbers_of_those_that_stay() {
        let running = policy();
        let pair = running.pair(1, Idc::new("gw1.example.test").unwrap());
        let mut new = policy();
        new.classes.named.swap(0, 1);
        new.classes.named[0].terms.rate_s = 3;
        new.classes.named.push(class("late", &[Mech::Tls], Terms::OPEN));
        new.classes.listeners = [3, 2].into_iter().collect();
        new.classes.terminals = vec![(Pattern::new("gw*").unwrap(), 1)];
        new.classes.follow(&running.classes, &new.mechanisms.clone());
        let names: Vec<_> = new.classes.named.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["strict", "small", "late"]);
        assert_eq!((&new.classes.listeners[..], new.classes.terminals[0].1), (&[3, 1][..], 2));
        assert_eq!(new.terms(pair).rate_s, 3, "the session is the same two policies'");
        // One that is gone is the base from now on, and its number is used last.
        let mut fewer = policy();
        fewer.classes.named.remove(0);
        (fewer.classes.listeners, fewer.classes.terminals) = ([1].into_iter().collect(), vec![]);
        fewer.classes.named.push(class("newer", &[Mech::Tls], Terms::OPEN));
        fewer.classes.follow(&new.classes, &fewer.mechanisms.clone());
        let names: Vec<_> = fewer.classes.named.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((names, &fewer.classes.listeners[..]), (vec!["", "small", "", "newer"], &[2][..]));
        assert_eq!((fewer.terms(pair).rate_s, fewer.mechanisms(pair, true).len()), (50, 2));
        fewer.validate().unwrap();
    }

    #[test]
    fn what_names_nothing_or_breaks_a_limit_is_not_taken() {
        let bad = |spoil: &dyn Fn(&mut Policy)| {
            let mut policy = policy();
            spoil(&mut policy);
            policy.validate().is_err()
        };
        assert!(bad(&|p| p.classes.listeners[1] = 3));
        assert!(bad(&|p| p.classes.terminals[0].1 = 0));
        assert!(bad(&|p| p.classes.named[1].terms.floor = Some(Mech::Tls)), "a floor that is not among its mechanisms");
        assert!(bad(&|p| p.classes.base.rate_s = RATE_MAX + 1));
        assert!(bad(&|p| p.classes.base.burst = 0));
        assert!(bad(&|p| p.classes.named[0].mechanisms.clear()));
    }
}
