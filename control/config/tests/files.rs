//! Files that a configuration names are checked; keys never show.

use portunus_config::model::KeySource;
use portunus_config::{load, read_key, read_key_file, rows};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const KEY: &str = "e2999e00a84d5ccc5e99665de657c2023d94c48056ae662660a33fdd02ed01bf";

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode set");
}

#[test]
fn a_key_file_must_be_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sp1.key");
    write(&path, &format!("{KEY}\n"), 0o640);
    let e = read_key_file(&path, "sp1", false).expect_err("others can read it");
    assert!(e.to_string().contains("mode 640") && e.to_string().contains("chmod 600"), "{e}");
    assert_eq!(read_key_file(&path, "sp1", true).expect("lax")[0], 0xe2);
    write(&path, KEY, 0o600);
    assert_eq!(read_key(&KeySource::File(path), "sp1", false).expect("private")[31], 0xbf);
}

#[test]
fn a_key_comes_from_the_row_of_its_identity() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.csv");
    write(&path, &format!("id,key\n# comment\n\nalice@example.test,{KEY}\nbob,00\n"), 0o600);
    assert_eq!(read_key_file(&path, "alice@example.test", false).expect("found")[0], 0xe2);
    let e = read_key_file(&path, "carol", false).expect_err("row 5 is no row");
    assert!(e.problem.starts_with("line 5: "), "{e}");
    assert!(!e.to_string().contains("00"), "{e}");
    assert_eq!(rows("a,b").filter(Result::is_err).count(), 1);
}

#[test]
fn what_is_missing_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lab.toml");
    write(&path, include_str!("../../../tuning/lab.toml"), 0o644);
    let found = load(&path).expect_err("no CSV beside it").to_string();
    assert!(found.contains("auc.import: ") && found.contains("proxy.key.file: "), "{found}");
    write(&folder.path().join("lab-subscribers.csv"), include_str!("../../../tuning/lab-subscribers.csv"), 0o644);
    load(&path).expect("complete now");
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let found = load(Path::new("/nonexistent/p.toml")).expect_err("nothing there").to_string();
    assert!(found.contains("cannot be opened"), "{found}");
}
