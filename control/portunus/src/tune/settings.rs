//! Which settings, what they should be, and why.

use clap::ValueEnum;
use core::fmt;
use portunus_config::Config;
use std::path::Path;

/// A group of settings that is applied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Socket buffers and backlogs.
    Buffers,
    /// Queues of the network devices.
    Queues,
    /// Huge pages.
    HugePages,
    /// Cores left alone for workers.
    Isolation,
}

impl Stage {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buffers => "buffers",
            Self::Queues => "queues",
            Self::HugePages => "huge-pages",
            Self::Isolation => "isolation",
        }
    }

    /// What it is for.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Buffers => "room for bursts: a datagram that finds a full buffer is lost before the proxy sees it",
            Self::Queues => "each worker's packets arrive on a queue of its own",
            Self::HugePages => "session tables without a page walk for every terminal",
            Self::Isolation => "nothing else runs on the workers' cores, and they do not change their speed",
        }
    }
}

/// What a setting should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// A number at least this large.
    AtLeast(u64),
    /// Exactly this text.
    Is(String),
    /// A list of cores that includes these.
    Includes(Vec<usize>),
}

impl Want {
    /// True when the host's value `now` will do.
    pub fn met_by(&self, now: &str) -> bool {
        match self {
            Self::AtLeast(n) => now.parse::<u64>().is_ok_and(|now| now >= *n),
            Self::Is(text) => selected(now) == *text,
            Self::Includes(cores) => cores.iter().all(|c| cores_of(now).contains(c)),
        }
    }

    /// What to write.
    pub fn value(&self) -> String {
        match self {
            Self::AtLeast(n) => n.to_string(),
            Self::Is(text) => text.clone(),
            Self::Includes(cores) => cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(n) => write!(f, "at least {n}"),
            Self::Is(text) => write!(f, "{text:?}"),
            Self::Includes(_) => write!(f, "with cores {}", self.value()),
        }
    }
}

/// The value in force where the kernel shows all choices, `always [madvise] never`.
pub(super) fn selected(now: &str) -> String {
    match now.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
        Some((chosen, _)) => chosen.to_owned(),
        None => now.to_owned(),
    }
}

/// The cores of a list like `0-3,8`.
fn cores_of(list: &str) -> Vec<usize> {
    let mut out = Vec::new();
    for part in list.split(',').map(str::trim) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<usize>(), to.parse::<usize>()) {
            out.extend(from..=to.min(from.saturating_add(4096)));
        }
    }
    out
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its group.
    pub stage: Stage,
    /// Its file under /proc or /sys.
    pub path: String,
    /// What it should be.
    pub want: Want,
    /// Why.
    pub why: &'static str,
    /// How it is changed where writing the file does not do it.
    pub by_hand: Option<String>,
}

fn setting(stage: Stage, path: impl Into<String>, want: Want, why: &'static str) -> Setting {
    Setting { stage, path: path.into(), want, why, by_hand: None }
}

/// Everything wanted for these cores and devices; a configuration adds its own.
pub(super) fn wanted(root: &Path, config: Option<&Config>, cores: &[usize], devices: &[String]) -> Vec<Setting> {
    let edges = config.into_iter().flat_map(|c| {
        let direct = c.softswitch.as_ref().and_then(|s| s.direct.as_ref());
        c.proxy.as_ref().map(|p| &p.edge).into_iter().chain(direct)
    });
    let (mut cores, mut receive, mut send, mut sessions) = (cores.to_vec(), 16u64 << 20, 16u64 << 20, 0usize);
    for e in edges {
        cores.extend(&e.cores);
        receive = receive.max(e.io.receive_buffer.0);
        send = send.max(e.io.send_buffer.0);
        sessions += e.capacity.sessions;
    }
    cores.sort_unstable();
    cores.dedup();
    let mut all = buffers(receive, send);
    all.extend(queues(root, devices, &cores));
    all.extend(huge_pages(sessions));
    all.extend(isolation(&cores));
    all
}

fn buffers(receive: u64, send: u64) -> Vec<Setting> {
    use Want::AtLeast;
    let one = |path: &str, n: u64, why| setting(Stage::Buffers, path, AtLeast(n), why);
    vec![
        one("/proc/sys/net/core/rmem_max", receive, "the largest receive buffer that a socket is granted"),
        one("/proc/sys/net/core/wmem_max", send, "the largest send buffer that a socket is granted"),
        one("/proc/sys/net/core/netdev_max_backlog", 16_384, "packets that wait between a device and its socket"),
        one("/proc/sys/net/core/netdev_budget", 600, "packets that the kernel takes from a device at a time"),
        one("/proc/sys/net/core/somaxconn", 4096, "TCP connections that wait to be accepted"),
        one("/proc/sys/net/core/optmem_max", 65_536, "room for the steering programs and options of sockets"),
    ]
}

/// Each device: its packets' interrupts on the workers' cores, and no software steering on top of ours.
fn queues(root: &Path, devices: &[String], cores: &[usize]) -> Vec<Setting> {
    let mut all = Vec::new();
    for device in devices.iter().filter(|d| !d.contains('/') && !d.starts_with('.')) {
        let base = format!("/sys/class/net/{device}");
        let list = |sub: &str| -> Vec<String> {
            let folder = root.join(format!("{base}/{sub}").trim_start_matches('/'));
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
            names.sort_by_key(|n| (n.len(), n.clone()));
            names
        };
        for queue in list("queues").iter().filter(|q| q.starts_with("rx-")) {
            let why = "software steering would move packets away from the worker whose socket they belong to";
            let path = format!("{base}/queues/{queue}/rps_cpus");
            let mut s = setting(Stage::Queues, path, Want::Is("0".into()), why);
            // The mask has a group for every 32 cores; any number of zeros is none.
            if std::fs::read_to_string(root.join(s.path.trim_start_matches('/')))
                .is_ok_and(|now| now.trim().chars().all(|c| matches!(c, '0' | ',')))
            {
                s.want = Want::Is(
                    std::fs::read_to_string(root.join(s.path.trim_start_matches('/')))
                        .unwrap_or_default()
                        .trim()
                        .to_owned(),
                );
            }
            all.push(s);
        }
        for (irq, core) in list("device/msi_irqs").iter().zip(cores.iter().cycle()) {
            let path = format!("/proc/irq/{irq}/smp_affinity_list");
            let why = "the interrupt of a queue runs on the core of the worker that reads it";
            all.push(setting(Stage::Queues, path, Want::Is(core.to_string()), why));
        }
    }
    all
}

fn huge_pages(sessions: usize) -> Vec<Setting> {
    // 400 octets a registered terminal, in pages of 2 MiB, and a quarter more.
    let pages = (sessions as u64 * 500).div_ceil(2 << 20);
    let why = "pages of 2 MiB for memory that asks for them, and no stalls where it does not";
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let mut all = vec![setting(Stage::HugePages, path, Want::Is("madvise".into()), why)];
    if sessions >= 500_000 {
        let why = "tables of this size deserve reserved huge pages";
        all.push(setting(Stage::HugePages, "/proc/sys/vm/nr_hugepages", Want::AtLeast(pages), why));
    }
    all
}

fn isolation(cores: &[usize]) -> Vec<Setting> {
    let mut all = Vec::new();
    for core in cores {
        let path = format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
        let why = "a worker that waits must not find its core slowed down when the next burst arrives";
        all.push(setting(Stage::Isolation, path, Want::Is("performance".into()), why));
    }
    if cores.is_empty() {
        return all;
    }
    let list = Want::Includes(cores.to_vec()).value();
    let mut boot = |path: &str, parameter: &str, why| {
        let mut s = setting(Stage::Isolation, path, Want::Includes(cores.to_vec()), why);
        s.by_hand = Some(format!("boot with {parameter}={list}"));
        all.push(s);
    };
    boot("/sys/devices/system/cpu/isolated", "isolcpus", "the scheduler puts nothing else on the workers' cores");
    boot("/sys/devices/system/cpu/nohz_full", "nohz_full", "no timer tick interrupts a worker that runs alone");
    let why = "moving a worker's memory between nodes stalls it; it is allocated where it runs";
    all.push(setting(Stage::Isolation, "/proc/sys/kernel/numa_balancing", Want::Is("0".into()), why));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_compare_as_the_kernel_writes() {
        assert!(Want::AtLeast(4096).met_by("8192") && !Want::AtLeast(4096).met_by("128"));
        assert!(Want::Is("madvise".into()).met_by("always [madvise] never"));
        assert!(!Want::Is("madvise".into()).met_by("[always] madvise never"));
        assert!(Want::Includes(vec![2, 3]).met_by("0,2-5") && !Want::Includes(vec![1, 2]).met_by("2-5"));
        assert!(!Want::Includes(vec![1]).met_by(""));
    }

    #[test]
    fn devices_cannot_climb_out() {
        assert!(queues(Path::new("/nonexistent"), &["../x".into()], &[1]).is_empty());
    }
}
