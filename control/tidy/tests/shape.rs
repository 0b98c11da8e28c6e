//! Lengths, and where `unsafe` may stand.

use portunus_tidy::{code_only, files, functions, text, without_tests};
use std::path::{Path, PathBuf};

/// Most lines of a file, its tail of tests not counted.
const FILE: usize = 500;
/// Most lines of a file that holds tests only.
const TEST_FILE: usize = 800;
/// Most lines of a function outside tests.
const FUNCTION: usize = 70;

/// What may be longer, and why. `name` empty: the file as a whole; else the function.
const EXCEPTIONS: &[Exception] = &[];

struct Exception {
    file: &'static str,
    name: &'static str,
    most: usize,
    reason: &'static str,
}

/// Files outside `dataplane/io` in which `unsafe` may stand, and why.
const UNSAFE: &[(&str, &str)] =
    &[("dataplane/engine/tests/allocations.rs", "a test's counting allocator: GlobalAlloc is an unsafe trait")];

fn is_test(file: &Path) -> bool {
    file.components().any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "benches" | "fuzz" | "fuzz_targets")))
        && !file.starts_with("benches/src")
}

fn rust() -> Vec<(PathBuf, String)> {
    let all: Vec<_> = files("rs").into_iter().map(|f| (f.clone(), text(&f))).collect();
    assert!(all.len() > 40, "the walk finds the workspace");
    all
}

fn limit(file: &Path, name: &str, usual: usize) -> usize {
    let of = EXCEPTIONS.iter().find(|e| Path::new(e.file) == file && e.name == name);
    of.map_or(usual, |e| e.most)
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for (file, text) in rust() {
        let most = limit(&file, "", if is_test(&file) { TEST_FILE } else { FILE });
        let lines = without_tests(&text).lines().count();
        if lines > most {
            long.push(format!("{}: {lines} lines, at most {most}", file.display()));
        }
    }
    assert!(long.is_empty(), "too long:\n{}", long.join("\n"));
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for (file, text) in rust().into_iter().filter(|(f, _)| !is_test(f)) {
        for f in functions(&code_only(without_tests(&text))) {
            let most = limit(&file, &f.name, FUNCTION);
            if f.lines > most {
                long.push(format!("{}:{}: {} has {} lines, at most {most}", file.display(), f.line, f.name, f.lines));
            }
        }
    }
    assert!(long.is_empty(), "too long:\n{}", long.join("\n"));
}

#[test]
fn exceptions_exist_and_have_reasons() {
    for e in EXCEPTIONS {
        assert!(e.reason.len() > 20, "{} {}: say why", e.file, e.name);
        assert!(portunus_tidy::root().join(e.file).exists(), "{} is gone: remove its line", e.file);
    }
    for (file, reason) in UNSAFE {
        assert!(reason.len() > 20, "{file}: say why");
        assert!(portunus_tidy::root().join(file).exists(), "{file} is gone: remove its line");
    }
}

/// True where line `n` of `code` uses the keyword itself, not a lint's name that contains it.
fn has_unsafe(line: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices("unsafe").any(|(at, _)| {
        let before = line.get(..at).and_then(|l| l.chars().next_back());
        let after = line.get(at + 6..).and_then(|l| l.chars().next());
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

#[test]
fn unsafe_stands_where_it_may_and_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for (file, text) in rust() {
        let allowed = file.starts_with("dataplane/io") || UNSAFE.iter().any(|(f, _)| Path::new(f) == file);
        let lines: Vec<&str> = text.lines().collect();
        for (n, _) in code_only(&text).lines().enumerate().filter(|(_, l)| has_unsafe(l)) {
            let place = format!("{}:{}", file.display(), n + 1);
            if !allowed {
                wrong.push(format!("{place}: unsafe has no place here"));
            }
            // The reason stands above the block, or above the item that the block begins.
            let above = lines.get(n.saturating_sub(12)..=n).unwrap_or_default();
            if !above.iter().any(|l| l.contains("SAFETY:") || l.contains("# Safety")) {
                wrong.push(format!("{place}: no SAFETY comment above"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_undone() {
    let marks = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("#[ign", "ore")];
    for (file, text) in rust() {
        let code = code_only(&text);
        for mark in marks {
            assert!(!code.contains(mark), "{}: {mark}", file.display());
        }
    }
}
