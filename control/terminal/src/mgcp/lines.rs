//! A gateway's endpoints: analogue lines `aaln/1` to `aaln/n`, their receivers, and what the call agent asked of them.

use portunus_mgcp::view::{Endpoint, Event};

/// What the call agent asked of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The request identifier.
    pub(super) x: Box<[u8]>,
    /// The events wanted, as they were listed.
    pub(super) events: Box<[u8]>,
    /// The signals applied, as they were listed.
    pub(super) signals: Box<[u8]>,
    /// Whom to notify, as it was named; where notifications go is the session's business.
    pub(super) notified: Box<[u8]>,
}

/// The endpoints. One that nobody asked anything of takes no room but its number.
#[derive(Debug)]
pub(super) struct Lines {
    count: u16,
    /// What was asked, by number; sorted.
    asked: Vec<(u16, Asked)>,
    /// Those whose receiver is lifted; sorted.
    lifted: Vec<u16>,
}

impl Lines {
    pub(super) fn new(count: u16) -> Self {
        Self { count, asked: Vec::new(), lifted: Vec::new() }
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The local name of an endpoint.
    pub(super) fn name(n: u16) -> String {
        format!("aaln/{n}")
    }

    /// The number of an endpoint's local name.
    pub(super) fn number(&self, local: &str) -> Option<u16> {
        let n = local.to_ascii_lowercase().strip_prefix("aaln/")?.parse().ok()?;
        (1..=self.count).contains(&n).then_some(n)
    }

    /// The endpoints that a name or a wildcard stands for.
    pub(super) fn covered(&self, endpoint: Endpoint<'_>) -> Vec<u16> {
        let all = endpoint.is_all();
        (1..=self.count).filter(|n| all || endpoint.covers(Self::name(*n).as_bytes())).collect()
    }

    /// What was asked of an endpoint.
    pub(super) fn asked(&self, n: u16) -> Option<&Asked> {
        let at = self.asked.binary_search_by_key(&n, |(n, _)| *n).ok()?;
        self.asked.get(at).map(|(_, asked)| asked)
    }

    /// Notes what is asked of an endpoint; a request replaces the one before.
    pub(super) fn ask(&mut self, n: u16, asked: Asked) {
        match self.asked.binary_search_by_key(&n, |(n, _)| *n) {
            Ok(at) => {
                if let Some(place) = self.asked.get_mut(at) {
                    place.1 = asked;
                }
            }
            Err(at) => self.asked.insert(at, (n, asked)),
        }
    }

    /// Nothing is asked any more: there is no session.
    pub(super) fn forget(&mut self) {
        self.asked = Vec::new();
    }

    pub(super) fn is_lifted(&self, n: u16) -> bool {
        self.lifted.binary_search(&n).is_ok()
    }

    /// A receiver is lifted or put down.
    pub(super) fn set_lifted(&mut self, n: u16, lifted: bool) {
        match (self.lifted.binary_search(&n), lifted) {
            (Err(at), true) => self.lifted.insert(at, n),
            (Ok(at), false) => _ = self.lifted.remove(at),
            _ => {}
        }
    }
}

/// The event of the line package that a receiver makes.
pub(super) const fn hook_event(lifted: bool) -> &'static str {
    if lifted { "hd" } else { "hu" }
}

/// What these endpoints know: the line package with hook events and the usual signals, the DTMF package's digits.
pub(super) fn knows(event: &Event<'_>) -> Result<(), Unknown> {
    let package = event.package.unwrap_or(b"L").to_ascii_lowercase();
    let name = event.name.to_ascii_lowercase();
    let known = match &package[..] {
        b"l" => matches!(
            &name[..],
            b"hd" | b"hu" | b"hf" | b"dl" | b"rg" | b"bz" | b"ro" | b"wt" | b"vmwi" | b"oc" | b"of" | b"all"
        ),
        b"d" => true,
        b"g" => matches!(&name[..], b"rt" | b"cg" | b"oc" | b"of"),
        _ => return Err(Unknown::Package),
    };
    // A range of digits may stand in the line package's place too.
    if known || name.starts_with(b"[") { Ok(()) } else { Err(Unknown::Event) }
}

/// Why an event cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Package,
    Event,
}
