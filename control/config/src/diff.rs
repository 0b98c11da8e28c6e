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

/// Compares two configurations key by key; secrets by digest, so that a changed one is seen and never shown.
pub fn difference(running: &Loaded, new: &Loaded) -> Difference {
    let keys: std::collections::BTreeSet<&String> = running.settings.keys().chain(new.settings.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let (from, to) = (running.settings.get(key), new.settings.get(key));
        if from.map(|s| &s.compare) == to.map(|s| &s.compare) {
            continue;
        }
        // A key that came or went takes its section with it: live only when both files have it, but for policies, which
        // come and go as a whole, and what names them.
        let stays = |file: &Loaded, listener: &str| file.settings.contains_key(&format!("{listener}.address"));
        let of_listener = key.strip_suffix(".policy");
        let goes = key.starts_with("policy[")
            || of_listener.is_some_and(|listener| stays(running, listener) && stays(new, listener));
        let (was, is) = (from.map_or(goes, |s| s.live), to.map_or(goes, |s| s.live));
        let live = was && is || goes;
        let value = |s: Option<&crate::Setting>| s.map(|s| s.value.clone());
        changes.push(Change { key: key.clone(), from: value(from), to: value(to), live });
    }
    Difference { changes }
}
