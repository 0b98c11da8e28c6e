//! What a process and its descendants cost, from the kernel's own accounting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

/// Processor time, user and system, in nanoseconds, of each thread of a process and its descendants.
///
/// `/proc/PID/task/TID/schedstat` counts in nanoseconds what `/proc/PID/stat` counts in ticks of 10 ms; where the
/// kernel lacks it the ticks are used. Work that the kernel does for a packet inside a thread's system call counts
/// for that thread: on loopback that is the delivery to the receiver's socket, for every element alike.
#[derive(Debug, Clone)]
pub struct Meter {
    pids: BTreeSet<u32>,
    coarse: bool,
}

/// The parent of every process that can be read.
fn parents() -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, stat_field(pid, 4)?.parse().ok()?)))
        .collect()
}

/// Field `n` (from 1, as proc(5) numbers them) of `/proc/PID/stat`; the second may hold blanks, so it is skipped.
fn stat_field(pid: u32, n: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(") ")?.1;
    after_name.split(' ').nth(n.checked_sub(3)?).map(str::to_owned)
}

fn schedstat(pid: u32) -> Option<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let each = tasks.flatten().filter_map(|t| {
        let text = fs::read_to_string(t.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Some(each.sum())
}

fn ticks(pid: u32) -> Option<u64> {
    let (user, system) = (stat_field(pid, 14)?.parse::<u64>().ok()?, stat_field(pid, 15)?.parse::<u64>().ok()?);
    // USER_HZ is 100 on every Linux that this runs on.
    Some((user + system) * 10_000_000)
}

impl Meter {
    /// A meter for `pid` and all its present descendants; processes started later are not seen.
    ///
    /// # Errors
    /// When the process does not exist.
    pub fn new(pid: u32) -> io::Result<Self> {
        let parents = parents();
        if !parents.contains_key(&pid) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no process {pid}")));
        }
        let mut pids = BTreeSet::from([pid]);
        loop {
            let more: Vec<u32> =
                parents.iter().filter(|(p, up)| pids.contains(up) && !pids.contains(p)).map(|(p, _)| *p).collect();
            if more.is_empty() {
                break;
            }
            pids.extend(more);
        }
        let coarse = schedstat(std::process::id()).unwrap_or(0) == 0;
        Ok(Self { pids, coarse })
    }

    /// Nanoseconds used so far by threads that still live.
    pub fn read(&self) -> u64 {
        let read = if self.coarse { ticks } else { schedstat };
        self.pids.iter().filter_map(|pid| read(*pid)).sum()
    }

    /// Octets of memory that the processes have now, what they share counted once.
    pub fn resident(&self) -> u64 {
        self.pids.iter().filter_map(|pid| mapped(*pid, "Pss:")).sum()
    }
}

/// A field of `/proc/PID/smaps_rollup` in octets.
fn mapped(pid: u32, field: &str) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kb = rollup.lines().find_map(|l| l.strip_prefix(field)?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kb.map(|kb| kb * 1024)
}

/// Octets that this machine could still give to a process, from `/proc/meminfo`; `None` where that does not say.
pub fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Resident octets of this process, from `/proc/self/smaps_rollup` (exact) or `/proc/self/statm`.
pub fn resident() -> u64 {
    if let Some(exact) = mapped(std::process::id(), "Rss:") {
        return exact;
    }
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|p| p.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// UDP receive errors of this network name space since its start (`InErrors` and `RcvbufErrors` of
/// `/proc/net/snmp`): datagrams that the kernel threw away because nobody read them in time.
pub fn udp_receive_errors() -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut rows = text.lines().filter_map(|l| l.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (rows.next(), rows.next()) else { return 0 };
    names
        .split(' ')
        .zip(values.split(' '))
        .filter(|(name, _)| *name == "RcvbufErrors" || *name == "InErrors")
        .filter_map(|(_, v)| v.parse::<u64>().ok())
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_is_seen() {
        let meter = Meter::new(std::process::id()).unwrap();
        let before = meter.read();
        let until = std::time::Instant::now() + core::time::Duration::from_millis(60);
        let mut x = 1u64;
        while std::time::Instant::now() < until {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(meter.read() > before + 5_000_000, "60 ms of work count as at least 5");
        assert!(resident() > 1 << 20 && meter.resident() > 1 << 18);
        assert!(available().is_none_or(|octets| octets > 1 << 20));
        assert!(Meter::new(u32::MAX).is_err());
    }
}
