//! What passes the border between access and core once a terminal is registered: what of the core is hidden, and which
//! header fields end here. The engine keeps one [`Border`] of its own; protocols ask it as they relay.

use arrayvec::{ArrayString, ArrayVec};
use core::cell::Cell;
use portunus_keydist::proxy::Veil;

/// Most names of [`Names`].
pub const NAMES_MAX: usize = 32;
/// Longest name in octets.
pub const NAME_MAX: usize = 40;

/// Names of header fields, in any case; one that ends in `*` stands for all that begin so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    all: ArrayVec<ArrayString<NAME_MAX>, NAMES_MAX>,
    /// A bit for each first letter (its low five bits): most fields of a message begin with none of them.
    firsts: u32,
}

/// A name that cannot be added to [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// There are [`NAMES_MAX`] already.
    Full,
    /// Empty, longer than [`NAME_MAX`], or not a token with at most a `*` behind it.
    Name,
}

impl core::fmt::Display for NameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Full => write!(f, "more than {NAMES_MAX} names"),
            Self::Name => write!(f, "not the name of a header field of at most {NAME_MAX} octets"),
        }
    }
}

impl core::error::Error for NameError {}

impl Names {
    /// None.
    pub const NONE: Self = Self { all: ArrayVec::new_const(), firsts: 0 };

    /// Adds one.
    ///
    /// # Errors
    /// [`NameError`]: the operator's fault.
    pub fn add(&mut self, name: &str) -> Result<(), NameError> {
        let token = |c: u8| c.is_ascii_alphanumeric() || b"-._+!".contains(&c);
        let stem = name.strip_suffix('*').unwrap_or(name);
        let first = stem.bytes().next().filter(|_| stem.bytes().all(token)).ok_or(NameError::Name)?;
        let name = ArrayString::from(name).map_err(|_| NameError::Name)?;
        self.all.try_push(name).map_err(|_| NameError::Full)?;
        self.firsts |= bit(first);
        Ok(())
    }

    /// Those in a list.
    ///
    /// # Errors
    /// As [`Names::add`].
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, NameError> {
        let mut all = Self::NONE;
        names.into_iter().try_for_each(|name| all.add(name)).map(|()| all)
    }

    /// True when a field of this name is among them.
    #[inline]
    pub fn has(&self, name: &[u8]) -> bool {
        let Some(first) = name.first() else { return false };
        self.firsts & bit(*first) != 0 && self.all.iter().any(|known| is(known.as_bytes(), name))
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(ArrayString::as_str)
    }
}

const fn bit(first: u8) -> u32 {
    1 << (first & 31)
}

fn is(known: &[u8], name: &[u8]) -> bool {
    match known.strip_suffix(b"*") {
        Some(stem) => name.get(..stem.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(stem)),
        None => known.eq_ignore_ascii_case(name),
    }
}

/// The rules of the border, which a reload may change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// True: terminals see no address of the core's (Via, Record-Route, Contact and their like).
    pub hide: bool,
    /// Header fields of terminals that go no further.
    pub strip_up: Names,
    /// Header fields of the core that go no further.
    pub strip_down: Names,
}

impl Rules {
    /// Nothing is hidden and nothing ends here but what a protocol itself forbids.
    pub const OPEN: Self = Self { hide: false, strip_up: Names::NONE, strip_down: Names::NONE };
}

/// Rules and the means to keep them.
#[derive(Debug)]
pub struct Border {
    /// What it hides by; `None` where nothing is ever hidden.
    pub veil: Option<Veil>,
    /// The rules.
    pub rules: Rules,
}

static OPEN: Border = Border { veil: None, rules: Rules::OPEN };

impl Border {
    /// The veil, where something is to be hidden now. What was hidden before is opened whatever the rules say.
    pub fn hiding(&self) -> Option<&Veil> {
        self.veil.as_ref().filter(|_| self.rules.hide)
    }
}

/// What a protocol noticed as it relayed a message; whoever counts asks for it afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noticed {
    /// Header fields were left out.
    pub stripped: bool,
    /// The sender chose a way through the core, which was not followed.
    pub routed: bool,
    /// Something was given back as hidden by this proxy that it never hid, or not for this terminal.
    pub forged: bool,
}

/// One message's way across the border.
#[derive(Debug, Clone, Copy)]
pub struct Crossing<'a> {
    /// Which.
    pub border: &'a Border,
    /// Where to note what was noticed.
    pub noticed: Option<&'a Cell<Noticed>>,
}

impl Crossing<'_> {
    /// Of a border without rules.
    pub const OPEN: Crossing<'static> = Crossing { border: &OPEN, noticed: None };

    /// Notes something.
    pub fn notice(&self, what: impl FnOnce(&mut Noticed)) {
        if let Some(cell) = self.noticed {
            let mut noticed = cell.get();
            what(&mut noticed);
            cell.set(noticed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case_and_by_their_beginning() {
        let names = Names::of(["Server", "X-PKD-*", "P-Charging-*"]).unwrap();
        for name in ["server", "SERVER", "x-pkd-key", "X-PKD-", "P-Charging-Vector"] {
            assert!(names.has(name.as_bytes()), "{name}");
        }
        for name in ["", "serve", "servers", "X-PKD", "x-pk", "P-Charge", "3erver"] {
            assert!(!names.has(name.as_bytes()), "{name}");
        }
        assert!(!Names::NONE.has(b"Server") && Names::NONE.is_empty());
        assert_eq!(names.iter().collect::<Vec<_>>(), ["Server", "X-PKD-*", "P-Charging-*"]);
    }

    #[test]
    fn what_is_no_name_is_refused_and_there_is_a_most() {
        for name in ["", "*", "a b", "a:", "a*b", "*a", "\u{e9}", &"a".repeat(41)] {
            assert_eq!(Names::of([name]), Err(NameError::Name), "{name:?}");
        }
        let many: Vec<String> = (0..=NAMES_MAX).map(|n| format!("X-{n}")).collect();
        assert_eq!(Names::of(many.iter().map(String::as_str)), Err(NameError::Full));
        assert!(Names::of(many[1..].iter().map(String::as_str)).is_ok());
    }
}
