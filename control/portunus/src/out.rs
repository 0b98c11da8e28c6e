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

    /// As [`Out::say`], but a line that is wider than the terminal goes on in the next one, under column `indent`.
    /// Where nobody watches (a pipe, a file) a line stays a line.
    pub fn say_under(self, indent: usize, line: impl AsRef<str>) {
        let width = comfy_table::Table::new().width().map(usize::from);
        self.say(wrapped(line.as_ref(), indent, width.unwrap_or(usize::MAX)));
    }

    /// A line of JSON; nothing for people.
    pub fn machine(self, value: &impl Serialize) {
        if self.json {
            let mut out = std::io::stdout().lock();
            let text = serde_json::to_string(value).unwrap_or_default();
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        }
    }

    /// A line of JSON, for people too: what was asked for as such.
    pub fn data(self, value: &impl Serialize) {
        Self { json: true }.machine(value);
    }

    /// Why the command did not succeed, on standard error.
    pub fn failure(self, f: &Failure) {
        let mut err = std::io::stderr().lock();
        if self.json {
            let value = serde_json::json!({ "error": f.what, "next": f.next, "exit": f.exit as u8 });
            let _ = writeln!(err, "{value}");
        } else {
            let width = comfy_table::Table::new().use_stderr().width().map_or(usize::MAX, usize::from);
            for line in format!("portunus: {f}").lines() {
                // "  next: " and "portunus: " keep to themselves what follows them.
                let indent = line.find(": ").map_or(0, |at| at + 2);
                let _ = writeln!(err, "{}", wrapped(line, indent, width));
            }
        }
    }
}

/// `line` cut at spaces so that no part is wider than `width` columns, all but the first behind `indent` spaces. A word
/// too wide for that stands as it is, and so does everything where hardly any room is left beside the indentation.
fn wrapped(line: &str, indent: usize, width: usize) -> String {
    if line.chars().count() <= width || width < indent + 20 {
        return line.to_owned();
    }
    let (head, rest) = line.char_indices().nth(indent).map_or((line, ""), |(at, _)| line.split_at(at));
    let (mut out, mut column) = (head.to_owned(), indent);
    for (n, word) in rest.split(' ').enumerate() {
        let len = word.chars().count();
        if n > 0 && column + 1 + len > width {
            out.push('\n');
            out.extend(core::iter::repeat_n(' ', indent));
            column = indent;
        } else if n > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out
}

/// `2026-11-23 22:59` UTC of milliseconds since 1970.
pub fn date(ms: u64) -> String {
    let (days, minutes) = (ms / 86_400_000, ms / 60_000 % 1440);
    // Days to a civil date, with years that begin in March so that the leap day is the last one.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(date(1_795_474_740_000), "2026-11-23 22:59");
    }

    #[test]
    fn long_lines_go_on_under_their_text() {
        let line = "key     one two three four five six seven";
        assert_eq!(wrapped(line, 8, 80), line);
        assert_eq!(wrapped(line, 8, 28), "key     one two three four\n        five six seven");
        assert!(wrapped(line, 8, 28).lines().all(|l| l.len() <= 28));
        let lone = format!("key     {}", "x".repeat(60));
        assert_eq!(wrapped(&lone, 8, 40), lone, "a word is not cut");
        assert_eq!(wrapped(line, 8, 27), line, "too narrow to be of use");
    }
}
