//! What is wrong with a configuration file, where, and what to write instead.

use core::fmt;
use core::ops::Range;

/// One mistake in a configuration file. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Mistake {
    /// The file as it was named to us.
    pub file: String,
    /// Line of the key or value at fault.
    pub line: usize,
    /// Column of the key or value at fault.
    pub column: usize,
    /// Dotted path of the key, e.g. `proxy.listener[0].address`; empty for a mistake of TOML itself.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub write: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if !self.write.is_empty() {
            write!(f, "; {}", self.write)?;
        }
        Ok(())
    }
}

/// Every mistake that was found, in the order of the file. Never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for m in &self.0 {
            writeln!(f, "{m}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Mistakes {}

/// The text of a file, to turn octet offsets into lines and columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'t> {
    pub(crate) file: &'t str,
    pub(crate) text: &'t str,
}

impl Source<'_> {
    /// Line and column, both from 1, of an octet offset; an offset past the end means the end.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = self.text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// A mistake at `span`.
    pub(crate) fn mistake(&self, span: &Range<usize>, key: String, problem: String, write: String) -> Mistake {
        let (line, column) = self.position(span.start);
        Mistake { file: self.file.to_owned(), line, column, key, problem, write }
    }
}

/// The known name nearest to what was written, when it is near enough to be meant (Damerau-Levenshtein distance of
/// at most a third of the name, at least 1).
pub(crate) fn nearest<'n>(written: &str, known: &[&'n str]) -> Option<&'n str> {
    let near = known.iter().map(|n| (distance(written, n), *n)).min()?;
    (near.0 <= (near.1.len() / 3).max(1)).then_some(near.1)
}

/// Edits (insertion, deletion, replacement, swap of neighbours) that make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    // Names are short; what is longer is not a typing error of one, and must not cost quadratic work.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + usize::from(!same));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["address", "protocol", "transport"];
        assert_eq!(nearest("adress", &known), Some("address"));
        assert_eq!(nearest("trasnport", &known), Some("transport"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest(&"a".repeat(10_000), &known), None);
    }

    #[test]
    fn positions_count_characters() {
        let s = Source { file: "f", text: "a = 1\nß = 2 # é\nx" };
        assert_eq!(s.position(0), (1, 1));
        assert_eq!(s.position(s.text.find('2').unwrap()), (2, 5));
        assert_eq!(s.position(9999), (3, 2));
    }
}
