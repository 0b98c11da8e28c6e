//! What lies where, and that what ships can be used.

use portunus_tidy::{files, root, text};

/// Everything visible at the top.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "control",
    "dataplane",
    "tuning",
];

#[test]
fn the_top_is_as_planned() {
    let mut found: Vec<String> = std::fs::read_dir(root())
        .expect("the root can be read")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|n| !n.starts_with('.') && n != "target")
        .collect();
    found.sort();
    assert_eq!(found, TOP);
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    // Put together here so that this file does not contain them.
    let paths: Vec<String> = ["work", "root", "home", "Users"].iter().map(|p| format!("/{p}/")).collect();
    for extension in ["rs", "toml", "md", "sh", "cfg", "xml", "service", "csv"] {
        for file in files(extension) {
            let text = text(&file);
            for (n, line) in text.lines().enumerate() {
                // An address on the network may have any path.
                let line = line.split("https://").next().unwrap_or_default();
                let found = paths.iter().find(|p| line.contains(p.as_str()));
                assert!(found.is_none(), "{}:{}: {}", file.display(), n + 1, found.map_or("", String::as_str));
            }
        }
    }
}

#[test]
fn every_configuration_that_ships_is_good() {
    let mut seen = 0;
    for file in files("toml").into_iter().filter(|f| f.starts_with("tuning")) {
        let folder = root().join("tuning");
        if let Err(mistakes) = portunus_config::parse(&file.display().to_string(), &text(&file), &folder) {
            panic!("{mistakes}");
        }
        seen += 1;
    }
    assert!(seen >= 4, "lab and three sizes of edge");
}

#[test]
fn documents_name_files_that_exist() {
    for file in files("md").into_iter().filter(|f| f.parent().is_some_and(|p| p.as_os_str().is_empty())) {
        let text = text(&file);
        for target in text.split("](").skip(1).filter_map(|t| t.split(')').next()) {
            if !target.starts_with("http") && !target.starts_with('#') {
                assert!(root().join(target).exists(), "{}: {target}", file.display());
            }
        }
    }
}
