//! The house rules as tests (`tests/`), and what they need to read Rust text: which files there are, code without
//! comments and strings, the functions of a file.
//!
//! Deliberately absent: a parser. The rules are about shape, and shape survives a lexer.

mod lex;

pub use lex::{Function, code_only, functions, without_tests};

use std::path::{Path, PathBuf};

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_else(|_| PathBuf::from("../.."))
}

/// Every file of the project with this extension, by its path from the root; build output is passed over.
pub fn files(extension: &str) -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &mut |path| {
        if path.extension().is_some_and(|e| e == extension) {
            found.extend(path.strip_prefix(&root).map(Path::to_path_buf));
        }
    });
    found.sort();
    found
}

fn walk(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // Build output, state of a laboratory and what fuzzing leaves are no part of the project.
        if matches!(&*name, "target" | "lab-state" | "corpus" | "artifacts") || name == ".git" {
            continue;
        }
        if path.is_dir() {
            walk(&path, each);
        } else {
            each(&path);
        }
    }
}

/// The text of a file, given by its path from the root.
pub fn text(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(root().join(file)).unwrap_or_default()).into_owned()
}
