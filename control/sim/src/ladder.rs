//! The life-line picture of a run: who sent what to whom, when, and what the network made of it.

use core::fmt::Write as _;
use portunus_h323::view::{Element, Message};

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// Lost.
    Lost,
    /// It arrives with an octet changed.
    Corrupted,
    /// An attacker changed it.
    Edited,
    /// An attacker made it.
    Forged,
    /// It arrives once more.
    Again,
}

impl Fate {
    const fn mark(self) -> &'static str {
        match self {
            Self::Arrives => ">",
            Self::Lost => "X lost",
            Self::Corrupted => "> corrupted",
            Self::Edited => "> edited",
            Self::Forged => "> FORGED",
            Self::Again => "> again",
        }
    }
}

enum Entry {
    Message { at: u64, from: String, to: String, what: String, fate: Fate },
    Note { at: u64, who: String, what: String },
}

/// Entries kept at most: the last ones before the end are what matters.
const KEPT: usize = 4_000;

/// The picture. When it is off it keeps nothing.
#[derive(Default)]
pub struct Ladder {
    on: bool,
    columns: Vec<String>,
    entries: std::collections::VecDeque<Entry>,
}

impl core::fmt::Debug for Ladder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Ladder({} entries)", self.entries.len())
    }
}

impl Ladder {
    /// With these life-lines, from left to right.
    pub fn new(on: bool, columns: Vec<String>) -> Self {
        Self { on, columns, entries: Default::default() }
    }

    /// True when entries are kept: whoever makes a text for one asks first.
    pub fn is_on(&self) -> bool {
        self.on
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// A datagram leaves.
    pub fn message(&mut self, at: u64, from: &str, to: &str, bytes: &[u8], fate: Fate) {
        if self.on {
            self.push(Entry::Message { at, from: from.into(), to: to.into(), what: describe(bytes), fate });
        }
    }

    /// Something happens at a life-line.
    pub fn note(&mut self, at: u64, who: &str, what: impl Into<String>) {
        if self.on {
            self.push(Entry::Note { at, who: who.into(), what: what.into() });
        }
    }

    /// The last `count` entries as a picture.
    pub fn draw(&self, count: usize) -> String {
        const WIDTH: usize = 24;
        let mut out = String::new();
        let _ = write!(out, "{:>11}  ", "ms");
        for c in &self.columns {
            let _ = write!(out, "{c:<WIDTH$}");
        }
        out.push('\n');
        let skip = self.entries.len().saturating_sub(count);
        for entry in self.entries.iter().skip(skip) {
            let (at, line) = match entry {
                Entry::Message { at, from, to, what, fate } => {
                    (at, self.arrow(from, to, &format!("{what} {}", fate.mark()), WIDTH))
                }
                Entry::Note { at, who, what } => {
                    let column = self.columns.iter().position(|c| c == who).unwrap_or(0);
                    (at, format!("{}* {what}", bars(column, WIDTH)))
                }
            };
            let _ = writeln!(out, "{:>7}.{:03}  {line}", at / 1000, at % 1000);
        }
        out
    }

    fn arrow(&self, from: &str, to: &str, what: &str, width: usize) -> String {
        let column = |name: &str| self.columns.iter().position(|c| c == name);
        match (column(from), column(to)) {
            (Some(a), Some(b)) if a <= b => format!("{}|--{what}", bars(a, width)),
            (Some(a), Some(b)) => format!("{}<--{what}  (from {from})", bars(b.min(a), width)),
            (None, Some(b)) => format!("{}<== {what}  (from {from})", bars(b, width)),
            (Some(a), None) => format!("{}|== {what}  (to {to})", bars(a, width)),
            (None, None) => format!("{from} => {to}: {what}"),
        }
    }
}

fn bars(columns: usize, width: usize) -> String {
    format!("|{:1$}", "", width - 1).repeat(columns)
}

/// A datagram in a few words, without anything secret: nothing is printed but names that travel in the clear anyway.
pub fn describe(bytes: &[u8]) -> String {
    if let Ok(h) = portunus_channel::sealed::Header::read(bytes) {
        return format!("sealed {:08x} #{} p{}", h.kid as u32, h.seq, h.protocol);
    }
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default();
    let field = |name: &str| text.split(&format!(" {name}=\"")).nth(1).and_then(|r| r.split('"').next()).unwrap_or("");
    if let Some(what) = of_lanes(&text, first).or_else(|| of_ras(bytes)) {
        return what;
    }
    if !first.contains("SIP/2.0") {
        let code = bytes.first().copied().unwrap_or(0);
        let name = match code {
            1 => "Access-Request (s3)",
            2 => "Access-Accept",
            3 => "Access-Reject",
            4 => "Accounting-Request (s11)",
            5 => "Accounting-Response",
            11 => "Access-Challenge (s4)",
            12 => "Status-Server",
            _ => "octets",
        };
        return format!("{name} #{}", bytes.get(1).copied().unwrap_or(0));
    }
    let cseq = text.lines().find_map(|l| l.strip_prefix("CSeq: ")).unwrap_or("?");
    let n1 = field("n1");
    let kind = if text.contains("mac=\"") {
        "s10"
    } else if text.contains("ekc=\"") {
        "s9"
    } else if text.contains("cookie=\"") && first.starts_with("SIP") {
        "cookie"
    } else if text.contains("mech-req=") {
        "s6"
    } else if first.starts_with("SIP/2.0 401") {
        "s5"
    } else if text.contains("response=\"\"") && text.contains("integrity-protected") {
        "refresh"
    } else if text.contains("response=\"\"") {
        if text.contains(" ts=\"") { "s1" } else { "s2" }
    } else if text.contains("response=\"") {
        if text.contains(" n2=\"") { "s7" } else { "s8" }
    } else {
        ""
    };
    let head = if first.starts_with("SIP") { first.get(8..11).unwrap_or("") } else { "" };
    format!("{kind} {head} {cseq} {}", n1.get(..6).unwrap_or(n1)).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An MGCP or H.248 message; `None`: it is neither.
fn of_lanes(text: &str, first: &str) -> Option<String> {
    if !first.contains(" MGCP 1.0") && !first.starts_with(['!', 'A', '2', '4', '5']) || first.contains("SIP/2.0") {
        return None;
    }
    let has = |what: &str| text.contains(what);
    let step = if has("/chal") {
        if has("mechreq=") { "s6" } else { "s5" }
    } else if has("/key") {
        if has("eksp=") { "s9" } else { "s10" }
    } else if has("/resp(n1") || has("/resp{n1") {
        "s7"
    } else if has("/resp(idsp") || has("/resp{idsp") {
        "s8"
    } else if has("X-PKD") {
        if has(";ts=") { "s1" } else { "s2" }
    } else if has("/cookie") {
        "cookie"
    } else if has("/fail") {
        "fail"
    } else {
        ""
    };
    let n1 = text.split(if has("\"n1=") || has(";n1=") { "n1=" } else { "n1=\"" }).nth(1).unwrap_or_default();
    let head: String = first.chars().filter(|c| !c.is_control()).take(if step.is_empty() { 40 } else { 4 }).collect();
    Some(format!("{step} {head} {}", n1.get(..6).unwrap_or_default()).trim().to_owned())
}

/// A RAS message by the step that its token is of, its kind and its number; `None`: it is none.
fn of_ras(bytes: &[u8]) -> Option<String> {
    let msg = Message::parse(bytes).ok()?;
    let token = msg.token().ok().flatten();
    let has = |element| token.as_ref().is_some_and(|token| token.get(element).is_some());
    let (outside, inside, element) = match token.as_ref().map(|token| token.n) {
        Some(1) => ("s1", "s2", Element::Ts),
        Some(2) if has(Element::Cookie) => ("cookie", "", Element::Cookie),
        Some(2) => ("s6", "s5", Element::MechReq),
        Some(3) => ("s7", "s8", Element::Mechs),
        Some(_) => ("s10", "s9", Element::Sel),
        None => ("", "", Element::Ts),
    };
    let step = if has(element) { outside } else { inside };
    Some(format!("{step} {:?} {}", msg.kind(), msg.seq()).trim().to_owned())
}
