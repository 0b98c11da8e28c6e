//! Walks the parsed file section by section. What was asked for is known afterwards, so that what was not asked for
//! can be reported as unknown; every value that was read is recorded, so that a reload can name what changed.

use crate::mistake::{Mistake, Source, nearest};
use crate::value::Value;
use core::cell::RefCell;
use core::ops::Range;
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// A value that a section's reader asked for and got, written or by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// How it would be written; a secret is shown as such only.
    pub value: String,
    /// True when a running process can take a change of it over without a restart.
    pub live: bool,
    /// True when the file says it; false for a default.
    pub written: bool,
    /// What compares: as `value`, with the digest of a secret's text in the place of the secret.
    pub(crate) compare: String,
    /// Octets of the file where it stands; for a default, where its section stands.
    pub(crate) span: Range<usize>,
}

/// What reading gathers: mistakes and settings.
#[derive(Debug)]
pub(crate) struct Gather<'t> {
    pub(crate) source: Source<'t>,
    pub(crate) mistakes: RefCell<Vec<(usize, Mistake)>>,
    pub(crate) settings: RefCell<BTreeMap<String, Setting>>,
    /// Where each section stands.
    places: RefCell<BTreeMap<String, Range<usize>>>,
}

impl<'t> Gather<'t> {
    pub(crate) fn new(source: Source<'t>) -> Self {
        Self { source, mistakes: RefCell::default(), settings: RefCell::default(), places: RefCell::default() }
    }

    /// Notes a mistake at `span`.
    pub(crate) fn note(&self, span: &Range<usize>, key: &str, problem: impl Into<String>, write: impl Into<String>) {
        let mistake = self.source.mistake(span, key.to_owned(), problem.into(), write.into());
        self.mistakes.borrow_mut().push((span.start, mistake));
    }

    /// Notes a mistake where the setting `key` stands, or else the section that it would stand in.
    pub(crate) fn note_at(&self, key: &str, problem: impl Into<String>, write: impl Into<String>) {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let span = match self.settings.borrow().get(key) {
            Some(setting) => setting.span.clone(),
            None => self.places.borrow().get(section).cloned().unwrap_or(0..0),
        };
        self.note(&span, key, problem, write);
    }

    fn place(&self, path: &str, span: &Range<usize>) {
        self.places.borrow_mut().insert(path.to_owned(), span.clone());
    }

    /// The mistakes in the order of the file.
    pub(crate) fn sorted(&self) -> Vec<Mistake> {
        let mut found = self.mistakes.borrow().clone();
        // Where TOML itself is broken (no key), what was made of the broken part is not worth a word.
        let broken: Vec<usize> = found.iter().filter(|(_, m)| m.key.is_empty()).map(|(at, _)| *at).collect();
        found.retain(|(at, m)| m.key.is_empty() || !broken.contains(at));
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, m)| m).collect()
    }
}

/// A table of the file, or the place where one could stand.
pub(crate) struct Section<'g, 't, 'd> {
    pub(crate) gather: &'g Gather<'t>,
    table: Option<&'d DeTable<'d>>,
    /// Where it stands.
    pub(crate) span: Range<usize>,
    /// Dotted path; empty for the file's root.
    pub(crate) path: String,
    asked: Vec<&'static str>,
    /// Keys that it has, but under a name of before.
    former: Vec<&'static str>,
}

impl<'g, 't, 'd> Section<'g, 't, 'd> {
    pub(crate) fn root(gather: &'g Gather<'t>, table: &'d DeTable<'d>) -> Self {
        Self { gather, table: Some(table), span: 0..0, path: String::new(), asked: Vec::new(), former: Vec::new() }
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn find(&mut self, key: &'static str) -> Option<(Range<usize>, &'d DeValue<'d>)> {
        self.asked.push(key);
        let table: &'d DeTable<'d> = self.table?;
        let value = table.get(key)?;
        Some((value.span(), value.get_ref()))
    }

    /// True when the file has this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.contains_key(key))
    }

    /// Asks for a value.
    pub(crate) fn key<T: Value>(&mut self, key: &'static str) -> Asked<'_, 'g, 't, 'd, T> {
        Asked { section: self, key, live: false, check: None }
    }

    /// A table inside this one; `None` when the file has none.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Section<'g, 't, 'd>> {
        let path = self.path_of(key);
        let (span, value) = self.find(key)?;
        let DeValue::Table(table) = value else {
            self.gather.note(&span, &path, "this must be a section", format!("write [{path}]"));
            return None;
        };
        self.gather.place(&path, &span);
        Some(Section { gather: self.gather, table: Some(table), span, path, asked: Vec::new(), former: Vec::new() })
    }

    /// As [`Section::section`]; an absent one is read as empty, so that all its defaults apply.
    pub(crate) fn section_or_empty(&mut self, key: &'static str) -> Section<'g, 't, 'd> {
        let (path, span) = (self.path_of(key), self.span.clone());
        let gather = self.gather;
        self.section(key).unwrap_or(Section { gather, table: None, span, path, asked: Vec::new(), former: Vec::new() })
    }

    /// The tables of an array of tables.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section<'g, 't, 'd>> {
        let path = self.path_of(key);
        let Some((span, value)) = self.find(key) else { return Vec::new() };
        let wrong = |span: &Range<usize>| {
            self.gather.note(span, &path, "this must be a list of sections", format!("write [[{path}]]"));
        };
        let DeValue::Array(array) = value else {
            wrong(&span);
            return Vec::new();
        };
        let mut out = Vec::new();
        for (n, element) in array.iter().enumerate() {
            let DeValue::Table(table) = element.get_ref() else {
                wrong(&element.span());
                continue;
            };
            let path = format!("{path}[{n}]");
            let span = element.span();
            self.gather.place(&path, &span);
            out.push(Section {
                gather: self.gather,
                table: Some(table),
                span,
                path,
                asked: Vec::new(),
                former: Vec::new(),
            });
        }
        out
    }

    /// Notes a mistake of the section itself.
    pub(crate) fn note(&self, problem: impl Into<String>, write: impl Into<String>) {
        self.gather.note(&self.span, &self.path, problem, write);
    }

    /// Notes a key that has another name now; `write` says which.
    pub(crate) fn renamed(&mut self, key: &'static str, write: &str) {
        if let Some(value) = self.table.and_then(|t| t.get(key)) {
            // Known, so that it is not reported twice; but not offered to anybody who misspells another.
            self.former.push(key);
            self.gather.note(&value.span(), &self.path_of(key), "this key has another name now", write);
        }
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) || self.former.contains(&name) {
                continue;
            }
            let write = match nearest(name, &self.asked) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => {
                    let mut known = self.asked.clone();
                    known.sort_unstable();
                    format!("known here: {}", known.join(", "))
                }
            };
            self.gather.note(&key.span(), &self.path_of(name), "unknown key", write);
        }
    }
}

type Check<'c, T> = Box<dyn Fn(&T) -> Result<(), (String, String)> + 'c>;

/// A value that is being asked for.
pub(crate) struct Asked<'s, 'g, 't, 'd, T> {
    section: &'s mut Section<'g, 't, 'd>,
    key: &'static str,
    live: bool,
    check: Option<Check<'s, T>>,
}

impl<'s, T: Value> Asked<'s, '_, '_, '_, T> {
    /// A running process takes a change of this over without a restart.
    pub(crate) fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// As [`Asked::live`], where `live`.
    pub(crate) fn live_if(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// A further rule; its error says the problem and what to write.
    pub(crate) fn check(mut self, rule: impl Fn(&T) -> Result<(), (String, String)> + 's) -> Self {
        self.check = Some(Box::new(rule));
        self
    }

    fn record(&self, value: &T, written: bool, span: Range<usize>, compare: Option<String>) {
        let path = self.section.path_of(self.key);
        let shown = value.show();
        let compare = compare.unwrap_or_else(|| shown.clone());
        let setting = Setting { value: shown, live: self.live, written, compare, span };
        self.section.gather.settings.borrow_mut().insert(path, setting);
    }

    fn read(&mut self) -> Read<T> {
        let path = self.section.path_of(self.key);
        let Some((span, raw)) = self.section.find(self.key) else { return Read::Absent };
        let gather = self.section.gather;
        let Some(value) = T::read(raw) else {
            gather.note(&span, &path, format!("not a value for this key (it is {})", kind(raw)), T::form());
            return Read::Wrong;
        };
        // A secret's text is compared by digest: the settings are kept and printed, the secret is not.
        let compare = (value.show() == "(secret)").then(|| fingerprint(raw));
        self.record(&value, true, span.clone(), compare);
        if let Some(Err((problem, write))) = self.check.as_ref().map(|rule| rule(&value)) {
            gather.note(&span, &path, problem, write);
            return Read::Wrong;
        }
        Read::Given(value)
    }

    /// The value, or `default` where the file says nothing or something wrong.
    pub(crate) fn or(mut self, default: T) -> T {
        match self.read() {
            Read::Given(v) => return v,
            Read::Absent => {
                let span = self.section.span.clone();
                self.record(&default, false, span, None);
            }
            Read::Wrong => {}
        }
        default
    }

    /// The value, when the file has it.
    pub(crate) fn optional(mut self) -> Option<T> {
        match self.read() {
            Read::Given(v) => Some(v),
            Read::Absent | Read::Wrong => None,
        }
    }

    /// The value; its absence is a mistake.
    pub(crate) fn required(mut self) -> Option<T> {
        match self.read() {
            Read::Given(v) => Some(v),
            Read::Wrong => None,
            Read::Absent => {
                let (path, form) = (self.section.path_of(self.key), T::form());
                let span = &self.section.span;
                self.section.gather.note(span, &path, "missing", format!("add `{} = ...`: {form}", self.key));
                None
            }
        }
    }
}

impl<'s> Asked<'s, '_, '_, '_, u64> {
    /// Limits a number, both ends included.
    pub(crate) fn within(self, least: u64, most: u64) -> Self {
        self.check(move |n| {
            let good = (least..=most).contains(n);
            good.then_some(()).ok_or((format!("{n} is out of range"), format!("write {least} to {most}")))
        })
    }
}

impl<'s> Asked<'s, '_, '_, '_, core::time::Duration> {
    /// Limits a duration, both ends included, in milliseconds.
    pub(crate) fn within_ms(self, least: u64, most: u64) -> Self {
        use core::time::Duration;
        let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
        self.check(move |d| {
            let write = || format!("write \"{}\" to \"{}\"", least.show(), most.show());
            let good = (least..=most).contains(d);
            good.then_some(()).ok_or_else(|| (format!("{} is out of range", d.show()), write()))
        })
    }
}

impl<'s> Asked<'s, '_, '_, '_, crate::value::Size> {
    /// Limits a size, both ends included, in octets.
    pub(crate) fn within_size(self, least: u64, most: u64) -> Self {
        use crate::value::Size;
        let (least, most) = (Size(least), Size(most));
        self.check(move |n| {
            let write = || format!("write \"{}\" to \"{}\"", least.show(), most.show());
            let good = (least..=most).contains(n);
            good.then_some(()).ok_or_else(|| (format!("{} is out of range", n.show()), write()))
        })
    }
}

enum Read<T> {
    Given(T),
    Absent,
    Wrong,
}

/// What a value is, with its article.
fn kind(raw: &DeValue<'_>) -> String {
    let name = raw.type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// A keyed digest of a secret's text, good for telling whether it changed and for nothing else: the key lives as long
/// as the process.
fn fingerprint(raw: &DeValue<'_>) -> String {
    use core::hash::BuildHasher as _;
    static KEY: std::sync::OnceLock<std::collections::hash_map::RandomState> = std::sync::OnceLock::new();
    let key = KEY.get_or_init(std::collections::hash_map::RandomState::new);
    format!("{:016x}", key.hash_one(raw.as_str().unwrap_or_default()))
}
