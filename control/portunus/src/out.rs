//! What is written for people and what is written for machines.

use crate::exit::Failure;
use serde::Serialize;
use std::io::Write as _;

/// Standard output in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    /// True for JSON.
    pub json: bool,
}

impl Out {
    /// A line for people; nothing with JSON. A reader who went away is no error of ours.
    pub fn say(self, line: impl AsRef<str>) {
        if !self.json {
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{}", line.as_ref()).and_then(|()| out.flush());
        }
    }

    /// A line of JSON; nothing for people.
    pub fn machine(self, value: &impl Serialize) {
        if self.json {
            let mut out = std::io::stdout().lock();
            let text = serde_json::to_string(value).unwrap_or_default();
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    }

    /// Why the command did not succeed, on standard error.
    pub fn failure(self, f: &Failure) {
        let mut err = std::io::stderr().lock();
        if self.json {
            let value = serde_json::json!({ "error": f.what, "next": f.next, "exit": f.exit as u8 });
            let _ = writeln!(err, "{value}");
        } else {
            let _ = writeln!(err, "portunus: {f}");
        }
    }
}
