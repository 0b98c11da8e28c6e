//! A gateway's terminations: analogue lines `aaln/1` to `aaln/n`, their receivers, and what the controller asked of them.

/// What is asked of one, and the state of its receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The request identifier of the events wanted.
    pub(super) request: u32,
    /// The events wanted, as they were listed.
    pub(super) events: Box<[u8]>,
    /// True while the receiver is lifted.
    pub(super) lifted: bool,
}

/// The terminations. One that nobody asked anything of takes little room.
#[derive(Debug)]
pub(super) struct Terminations(Vec<Line>);

impl Terminations {
    pub(super) fn new(count: u16) -> Self {
        Self(vec![Line::default(); count.into()])
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The name of the `n`-th, from 0.
    pub(super) fn name(n: usize) -> String {
        format!("aaln/{}", n + 1)
    }

    /// The place of one by its name.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        let n: usize = name.to_ascii_lowercase().strip_prefix("aaln/")?.parse().ok()?;
        (1..=self.0.len()).contains(&n).then(|| n - 1)
    }

    /// The places that a name or a wildcard stands for; `*` stands for any characters.
    pub(super) fn covered(&self, name: &str) -> Vec<usize> {
        match name.split_once('*') {
            None => self.place(name).into_iter().collect(),
            Some((before, after)) => {
                let covers = |own: &str| {
                    let rest = own.get(before.len()..).filter(|_| own.starts_with(&before.to_ascii_lowercase()));
                    rest.is_some_and(|rest| rest.ends_with(after))
                };
                (0..self.0.len()).filter(|n| covers(&Self::name(*n))).collect()
            }
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<&Line> {
        self.0.get(place)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Line> {
        self.0.get_mut(place)
    }

    /// Nothing is asked any more: there is no session.
    pub(super) fn forget(&mut self) {
        for line in &mut self.0 {
            *line = Line { lifted: line.lifted, ..Line::default() };
        }
    }
}

/// The event of the package `al` that a receiver makes.
pub(super) const fn hook_event(lifted: bool) -> &'static str {
    if lifted { "al/of" } else { "al/on" }
}

/// The packages of a line.
pub(super) const PACKAGES: &str = "al-1,cg-1,dd-1";
/// Those of the gateway itself.
pub(super) const ROOT_PACKAGES: &str = "root-2,it-1,portunus-1";

/// True where events or signals of a package can be had from a line (`root` false) or the gateway.
pub(super) fn knows(name: &[u8], root: bool) -> bool {
    let package = name.split(|c| *c == b'/').next().unwrap_or_default().to_ascii_lowercase();
    match root {
        true => matches!(&package[..], b"it" | b"root" | b"portunus"),
        false => matches!(&package[..], b"al" | b"cg" | b"dd" | b"alert"),
    }
}
