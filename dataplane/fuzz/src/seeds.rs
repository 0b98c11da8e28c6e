//! Replays kept seeds through a target's body.
#![allow(unreachable_pub)] // Tests of other crates include this file.

use std::path::Path;

/// Gives every seed of `target` to `body`, in order of file names, and says how many there were.
///
/// # Panics
/// When the seeds cannot be read, or `body` panics; the seed's name is printed first.
pub fn replay(target: &str, body: impl Fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find_map(|dir| ["seeds", "fuzz/seeds"].iter().map(|s| dir.join(s).join(target)).find(|p| p.is_dir()));
    let folder = folder.expect("the folder of kept seeds");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("readable").map(|f| f.expect("readable").path()).collect();
    files.sort();
    for file in &files {
        println!("seed {}", file.display());
        body(&std::fs::read(file).expect("a readable seed"));
    }
    files.len()
}
