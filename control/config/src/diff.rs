//! What a reload would change, and which of it a running process takes over.

use crate::Loaded;
use core::fmt;

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Dotted path.
    pub key: String,
    /// Its value in the running configuration; `None` when the key is new.
    pub from: Option<String>,
    /// Its value in the new file; `None` when the key is gone.
    pub to: Option<String>,
    /// True when a running process takes it over; false when it needs a restart.
    pub live: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |v: &Option<String>| v.clone().unwrap_or_else(|| "(absent)".to_owned());
        let how = if self.live { "applied" } else { "needs a restart" };
        write!(f, "{}: {} -> {}: {how}", self.key, of(&self.from), of(&self.to))
    }
}

/// Everything that differs, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The changes.
    pub changes: Vec<Change>,
}

impl Difference {
    /// Those that a running process takes over.
    pub fn live(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|c| c.live)
    }

    /// Those that need a restart.
    pub fn restart(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|c| !c.live)
    }
}

/// Sections that a running process takes over and gives up as a whole: policies, and the keys that it shares with the AuC.
const COME_AND_GO: &[&str] = &["policy[", "proxy.key.", "softswitch.direct.key."];

/// Compares two configurations key by key; secrets by digest, so that a changed one is seen and never shown.
pub fn difference(running: &Loaded, new: &Loaded) -> Difference {
    let keys: std::collections::BTreeSet<&String> = running.settings.keys().chain(new.settings.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let (from, to) = (running.settings.get(key), new.settings.get(key));
        if from.map(|s| &s.compare) == to.map(|s| &s.compare) {
            continue;
        }
        // A key that came or went: with its whole section, which takes a restart but for these, or by itself.
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let stays = |file: &Loaded| {
            let mut beside = file.settings.range(format!("{section}.")..).take_while(|(k, _)| k.starts_with(section));
            beside.any(|(k, _)| k != key)
        };
        let goes = COME_AND_GO.iter().any(|s| key.starts_with(s)) || stays(running) && stays(new);
        let live = from.map_or(goes, |s| s.live) && to.map_or(goes, |s| s.live);
        let value = |s: Option<&crate::Setting>| s.map(|s| s.value.clone());
        changes.push(Change { key: key.clone(), from: value(from), to: value(to), live });
    }
    Difference { changes }
}
