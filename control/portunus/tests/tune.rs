//! `portunus tune` on a made-up host: nothing changes without --yes, and undo restores what apply found.

use std::path::Path;
use std::process::{Command, Output};

fn host(root: &Path) {
    for (path, value) in [
        ("proc/sys/net/core/rmem_max", "212992"),
        ("proc/sys/net/core/wmem_max", "268435456"),
        ("proc/sys/net/core/netdev_max_backlog", "1000"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never"),
        ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave"),
        ("sys/devices/system/cpu/isolated", ""),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "ff"),
        ("sys/class/net/eth0/device/msi_irqs/41", "msi"),
        ("proc/irq/41/smp_affinity_list", "0-3"),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, format!("{value}\n")).expect("written");
    }
}

fn tune(root: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portunus"));
    command.arg("tune").args(args).arg("--root").arg(root).args(["--cores", "1", "--device", "eth0"]);
    if args.first() != Some(&"check") {
        command.arg("--state").arg(root.join("undo.json"));
    }
    command.output().expect("runs")
}

fn snapshot(root: &Path) -> Vec<String> {
    let paths = [
        "proc/sys/net/core/rmem_max",
        "proc/sys/net/core/netdev_max_backlog",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
        "sys/class/net/eth0/queues/rx-0/rps_cpus",
        "proc/irq/41/smp_affinity_list",
        "sys/kernel/mm/transparent_hugepage/enabled",
    ];
    paths.iter().map(|p| std::fs::read_to_string(root.join(p)).expect("there").trim().to_owned()).collect()
}

#[test]
fn check_apply_undo() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    host(root);
    let before = snapshot(root);

    let check = tune(root, &["check", "--json"]);
    assert_eq!(check.status.code(), Some(1), "the host is not as wanted");
    let report: serde_json::Value = serde_json::from_slice(&check.stdout).expect("JSON");
    let find = |path: &str| {
        let all = report["settings"].as_array().expect("a list").clone();
        all.into_iter().find(|s| s["path"] == path).unwrap_or_default()
    };
    assert_eq!(find("/proc/sys/net/core/rmem_max")["state"], "differs");
    assert_eq!(find("/proc/sys/net/core/wmem_max")["state"], "good");
    assert_eq!(find("/proc/sys/net/core/somaxconn")["state"], "absent");
    assert_eq!(find("/sys/devices/system/cpu/isolated")["by_hand"], "boot with isolcpus=1");

    let dry = tune(root, &["apply"]);
    assert!(dry.status.success() && String::from_utf8_lossy(&dry.stdout).contains("would set"));
    assert_eq!(snapshot(root), before, "nothing changes without --yes");
    assert!(!root.join("undo.json").exists());

    assert!(tune(root, &["apply", "--yes"]).status.success());
    let after = snapshot(root);
    // A file of the host is overwritten in place here, so what was longer keeps its tail.
    assert!(after[0].starts_with("16777216") && after[1].starts_with("16384") && after[2].starts_with("performance"));
    assert!(after[3].starts_with('0') && after[4].starts_with('1') && after[5].starts_with("madvise"));
    // A second time finds nothing more to remember.
    let state = std::fs::read_to_string(root.join("undo.json")).expect("remembered");
    assert!(tune(root, &["apply", "--yes"]).status.success());
    assert_eq!(std::fs::read_to_string(root.join("undo.json")).expect("still there"), state);

    assert!(tune(root, &["undo", "--yes"]).status.success());
    let undone = snapshot(root);
    assert!(undone[0].starts_with("212992") && undone[2].starts_with("powersave") && undone[3].starts_with("ff"));
    assert!(undone[5].starts_with("always"), "the choice in force, not the list of choices");
    assert!(!root.join("undo.json").exists(), "nothing is left to undo");
}
