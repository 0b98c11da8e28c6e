//! The AuC beside FreeRADIUS in one run: processor time of an answered question, among ten thousand subscribers and among
//! a million, and how soon after its start the AuC answers.
//!
//! FreeRADIUS does not make vectors. What it does that comes nearest is to verify the digest of a REGISTER: both check
//! and make authenticators over about as many octets, look one subscriber up among as many, and compute over its
//! secret. The AuC's subscribers lie sealed on disk and can be added while it runs; FreeRADIUS's passwords are readable, and
//! lie in a database on disk (SQLite), or in memory from its start to its end, which is as fast as it gets. The AuC makes a
//! Rand, a session key, a word and two wraps, FreeRADIUS three MD5.

mod command;
mod drive;
mod site;

pub use command::{Auc, command};

use crate::cpu::udp_receive_errors;
use crate::report::{number, table};
use crate::stats::Spread;
use drive::{Ask, Driver};
use site::{Estate, Server, Users};
use std::io;
use std::path::{Path, PathBuf};

/// The AuC answers at least so many times as many questions a core as FreeRADIUS.
const RATE: f64 = 5.0;
/// A question among many subscribers costs at most so many times one among few.
const GROWTH: f64 = 1.1;
/// Seconds from its start within which the AuC answers.
const RESTART: f64 = 2.0;

/// How the comparison is run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Plan {
    /// The AuC: the product's own program.
    pub program: PathBuf,
    /// Few subscribers and many.
    pub subscribers: [u64; 2],
    /// A B B A pairs of slices.
    pub pairs: usize,
    /// Questions a slice.
    pub questions: u64,
    /// Questions under way at any time; at most 128, for each has an identifier of one source port.
    pub window: u64,
    /// Starts of the AuC over many subscribers.
    pub starts: usize,
    /// Leaves FreeRADIUS out.
    pub no_peers: bool,
    /// False for what is too short to say anything of a target.
    pub is_measurement: bool,
}

/// One server among so many subscribers.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// What tables call it.
    pub label: String,
    /// Subscribers that it knows.
    pub subscribers: u64,
    /// Processor time of one answered question, microseconds.
    pub cpu_us: Spread,
    /// Answers a second of processor time: what one core gives.
    pub a_core: f64,
    /// Answers a second.
    pub rate: Spread,
    /// Resident octets after the last slice.
    pub resident: u64,
    /// Why slices do not count, where some do not.
    pub invalid: Vec<String>,
    #[serde(skip)]
    slices: Vec<Option<f64>>,
}

/// What is to be reached.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Target {
    /// What.
    pub what: String,
    /// What was found.
    pub found: Spread,
    /// The bound, as text.
    pub wanted: String,
    /// Whether it was met.
    pub met: bool,
}

/// The outcome.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Outcome {
    /// How it was run.
    pub plan: Plan,
    /// One row a server.
    pub rows: Vec<Row>,
    /// Seconds from each start of the AuC over many subscribers to its first right answer.
    pub starts_s: Vec<f64>,
    /// Seconds of processor time in each of them: what it would have taken on a machine with nothing else to do.
    pub starts_cpu_s: Vec<f64>,
    /// Seconds that it took to make the large store.
    pub made_s: f64,
    /// What is held against it.
    pub targets: Vec<Target>,
}

/// The product's own program, beside this one.
///
/// # Errors
/// When it is not there: how to build it.
pub fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("portunus");
    let missing = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} is missing: `cargo build --release -p portunus`", program.display()),
        )
    };
    if program.exists() { Ok(program) } else { Err(missing()) }
}

struct Track {
    label: &'static str,
    subscribers: u64,
    server: Server,
    driver: Driver,
    slices: Vec<Slice>,
}

#[derive(Debug, Clone)]
struct Slice {
    cpu_us: f64,
    rate: f64,
    invalid: Option<String>,
}

/// Runs a plan. `tell` hears what is being done and how far it is, from 0 to 1.
///
/// # Errors
/// What keeps a server or the generator from running.
pub fn run(plan: &Plan, tell: &mut dyn FnMut(&str, f64)) -> io::Result<Outcome> {
    let [few, many] = plan.subscribers;
    let begun = std::time::Instant::now();
    let estates = [few, many].map(|n| Estate::make(n, &mut |done| tell("subscribers", done as f64 / n as f64)));
    let made_s = begun.elapsed().as_secs_f64();
    let [few_estate, many_estate] = estates;
    let (few_estate, many_estate) = (few_estate?, many_estate?);
    tell("starts", 0.0);
    let (starts_s, starts_cpu_s) = starts(&many_estate, &plan.program, plan.starts)?;
    let mut tracks = Vec::new();
    for estate in [&few_estate, &many_estate] {
        let (server, _) = estate.start(&plan.program)?;
        tracks.push(track("AuC", Ask::Vector, estate.subscribers, server)?);
    }
    if !plan.no_peers {
        for kind in [Users::Memory, Users::Database] {
            for users in [few, many] {
                tell("FreeRADIUS reads its users", 0.0);
                tracks.push(track(kind.label(), Ask::Digest, users, Server::freeradius(kind, users)?)?);
            }
        }
    }
    let steps = (tracks.len() * (plan.pairs + 1)) as f64;
    for pair in 0..=plan.pairs {
        for n in 0..tracks.len() {
            // A B C, then C B A: what drifts over time weighs on all alike.
            let i = if pair % 2 == 0 { n } else { tracks.len() - 1 - n };
            tell(tracks[i].label, (pair * tracks.len() + n) as f64 / steps);
            tracks[i].slice(plan)?;
        }
    }
    let rows: Vec<Row> = tracks.iter().map(Track::row).collect();
    let targets = targets(&rows, &starts_s);
    Ok(Outcome { plan: plan.clone(), rows, starts_s, starts_cpu_s, made_s, targets })
}

/// Seconds of each of so many starts, as they pass and of processor time. Each AuC but the first finds a store whose
/// last one was killed.
fn starts(estate: &Estate, program: &Path, count: usize) -> io::Result<(Vec<f64>, Vec<f64>)> {
    let one = |_| estate.start(program).map(|(server, took)| (took.as_secs_f64(), server.meter.read() as f64 / 1e9));
    let all = (0..count).map(one).collect::<io::Result<Vec<_>>>()?;
    Ok(all.into_iter().unzip())
}

fn track(label: &'static str, ask: Ask, subscribers: u64, server: Server) -> io::Result<Track> {
    let driver = Driver::new(ask, server.address, subscribers)?;
    Ok(Track { label, subscribers, server, driver, slices: Vec::new() })
}

impl Track {
    fn slice(&mut self, plan: &Plan) -> io::Result<()> {
        let (errors, before) = (udp_receive_errors(), self.server.meter.read());
        let driven = self.driver.run(plan.questions, plan.window)?;
        let used = self.server.meter.read().saturating_sub(before);
        let errors = udp_receive_errors() - errors;
        let invalid = match (driven.wrong, driven.repeated) {
            (wrong, _) if wrong > 0 => Some(format!("{wrong} answers are not what they should be")),
            (_, repeated) if repeated > plan.questions / 100 => Some(format!("{repeated} questions asked again")),
            _ if errors > 0 => Some(format!("{errors} datagrams lost in receive buffers")),
            _ => None,
        };
        let answered = driven.answered.max(1) as f64;
        self.slices.push(Slice { cpu_us: used as f64 / 1_000.0 / answered, rate: answered / driven.seconds, invalid });
        Ok(())
    }

    /// The slices that count as measured: the first warms caches, tables and buffers.
    fn row(&self) -> Row {
        let measured = self.slices.get(1..).unwrap_or_default();
        let good = measured.iter().filter(|s| s.invalid.is_none());
        let cpu_us = Spread::of(&good.clone().map(|s| s.cpu_us).collect::<Vec<_>>());
        Row {
            label: self.label.to_owned(),
            subscribers: self.subscribers,
            cpu_us,
            a_core: if cpu_us.median > 0.0 { 1e6 / cpu_us.median } else { 0.0 },
            rate: Spread::of(&good.map(|s| s.rate).collect::<Vec<_>>()),
            resident: self.server.meter.resident(),
            invalid: measured.iter().filter_map(|s| s.invalid.clone()).collect(),
            slices: measured.iter().map(|s| s.invalid.is_none().then_some(s.cpu_us)).collect(),
        }
    }
}

/// What `of` costs over what `to` costs, pair by pair of slices that count.
fn ratio(of: &Row, to: &Row) -> Option<Spread> {
    let ratios: Vec<f64> = of.slices.iter().zip(&to.slices).filter_map(|(a, b)| Some((*a)? / (*b)?)).collect();
    (!ratios.is_empty()).then(|| Spread::of(&ratios))
}

fn targets(rows: &[Row], starts_s: &[f64]) -> Vec<Target> {
    let mut all = Vec::new();
    let none = Spread::of(&[]);
    let of = |label: &str| rows.iter().filter(move |r| r.label == label).collect::<Vec<_>>();
    for kind in [Users::Memory, Users::Database] {
        for (auc, peer) in of("AuC").into_iter().zip(of(kind.label())) {
            let found = ratio(peer, auc);
            all.push(Target {
                what: format!("answers a core, AuC / {}, {} subscribers", peer.label, auc.subscribers),
                found: found.unwrap_or(none),
                wanted: format!(">= {RATE}"),
                met: found.is_some_and(|s| s.median >= RATE),
            });
        }
    }
    if let [few, many] = of("AuC").as_slice() {
        let found = ratio(many, few);
        all.push(Target {
            what: format!("cost of a question, {} subscribers / {}", many.subscribers, few.subscribers),
            found: found.unwrap_or(none),
            wanted: format!("<= {GROWTH}"),
            met: found.is_some_and(|s| s.median <= GROWTH),
        });
    }
    if !starts_s.is_empty() {
        let found = Spread::of(starts_s);
        all.push(Target {
            what: "seconds from the start to the first right answer, many subscribers".into(),
            found,
            wanted: format!("<= {RESTART}"),
            met: starts_s.iter().all(|s| *s <= RESTART),
        });
    }
    all
}

/// True when every target is met.
pub fn is_met(outcome: &Outcome) -> bool {
    outcome.targets.iter().all(|t| t.met)
}

/// The outcome as text.
pub fn text(outcome: &Outcome) -> String {
    let plan = &outcome.plan;
    let spread =
        |s: &Spread, digits: usize| number(format!("{:.digits$} ({:.digits$}..{:.digits$})", s.median, s.low, s.high));
    let mut out = format!(
        "One answered question about a subscriber drawn at random; over UDP, {} under way.\nAuC: an s3, answered by a vector. \
         FreeRADIUS: the digest of a REGISTER, verified.\n{} A B B A pairs, {} questions a slice. Median (quartiles). The \
         stores were made in {:.1} s.\n\n",
        plan.window, plan.pairs, plan.questions, outcome.made_s
    );
    let mut servers =
        table(&["server", "subscribers", "CPU us an answer", "answers a core", "answers/s", "resident MB"]);
    for row in &outcome.rows {
        servers.add_row([
            comfy_table::Cell::new(&row.label),
            number(row.subscribers),
            spread(&row.cpu_us, 2),
            number(format!("{:.0}", row.a_core)),
            spread(&row.rate, 0),
            number(row.resident >> 20),
        ]);
    }
    out.push_str(&format!("{servers}\n\n"));
    let mut targets = table(&["target", "found", "wanted", ""]);
    for t in &outcome.targets {
        let verdict = match (plan.is_measurement, t.met) {
            (false, _) => "look only",
            (true, true) => "met",
            (true, false) => "MISSED",
        };
        targets.add_row([comfy_table::Cell::new(&t.what), spread(&t.found, 2), number(&t.wanted), verdict.into()]);
    }
    out.push_str(&format!("{targets}\n"));
    if !outcome.starts_cpu_s.is_empty() {
        let used = Spread::of(&outcome.starts_cpu_s).median;
        out.push_str(&format!("A start over many subscribers uses {used:.2} s of processor time.\n"));
    }
    for row in &outcome.rows {
        for why in &row.invalid {
            out.push_str(&format!("does not count: {} of {}: {why}\n", row.label, row.subscribers));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, subscribers: u64, slices: &[Option<f64>]) -> Row {
        let good: Vec<f64> = slices.iter().flatten().copied().collect();
        let cpu_us = Spread::of(&good);
        let (rate, label, slices) = (Spread::of(&[]), label.to_owned(), slices.to_vec());
        Row { label, subscribers, cpu_us, a_core: 0.0, rate, resident: 0, invalid: Vec::new(), slices }
    }

    #[test]
    fn targets_are_held_against_pairs_of_slices_that_count() {
        let rows = [
            row("AuC", 10, &[Some(10.0), None, Some(10.0)]),
            row("AuC", 1_000, &[Some(10.5), Some(90.0), Some(10.5)]),
            row("FreeRADIUS, SQLite", 10, &[Some(60.0), Some(1.0), Some(60.0)]),
            row("FreeRADIUS, SQLite", 1_000, &[Some(21.0), Some(450.0), Some(21.0)]),
        ];
        let found = targets(&rows, &[0.5, 1.0, 2.5]);
        let told: Vec<_> = found.iter().map(|t| (t.found.median, t.met)).collect();
        assert_eq!(told, [(6.0, true), (2.0, false), (1.05, true), (1.0, false)]);
    }

    #[test]
    fn without_a_pair_that_counts_no_target_is_met() {
        let rows = [row("AuC", 10, &[None]), row("FreeRADIUS, SQLite", 10, &[Some(60.0)])];
        assert!(targets(&rows, &[]).iter().all(|t| !t.met));
    }
}
