//! Processors and processes as Linux tells of them. Used by every other file.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Of `/proc/PID/stat`: `USER_HZ`, 100 wherever Linux runs these days.
const TICKS_A_SECOND: f64 = 100.0;

/// Keeps the calling thread, and what it starts, on these processors.
pub(crate) fn pin(cpus: &[usize]) {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    sched_setaffinity(None, &set).expect("processors that are there");
}

/// Runs on the calling thread alone.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

/// Seconds of processor time that a process has had, user and system, all its threads.
pub(crate) fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in brackets, may hold spaces; user and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_A_SECOND
}

/// A line of `/proc/PID/status` in MiB: `VmRSS`, `VmHWM`.
pub(crate) fn memory_mib(pid: u32, line: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = status
        .lines()
        .find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    let kib = of.and_then(|value| value.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// Time that these processors were taken away by the machine's host, and time in all; in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steal {
    stolen: f64,
    total: f64,
}

impl Steal {
    pub(crate) fn now(cpus: &[usize]) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let mut steal = Self::default();
        for cpu in cpus {
            let name = format!("cpu{cpu} ");
            let line = stat
                .lines()
                .find_map(|line| line.strip_prefix(&name))
                .unwrap_or_default();
            let ticks: Vec<f64> = line
                .split_whitespace()
                .filter_map(|field| field.parse().ok())
                .collect();
            steal.stolen += ticks.get(7).copied().unwrap_or_default();
            steal.total += ticks.iter().take(8).sum::<f64>();
        }
        steal
    }

    /// Percent since `before`.
    pub(crate) fn percent_since(self, before: Self) -> f64 {
        100.0 * (self.stolen - before.stolen) / (self.total - before.total).max(1.0)
    }
}

/// Programs that wanted to run in the last minute.
pub(crate) fn load_average() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}

/// What the processor is called.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    name.unwrap_or("a processor without a name").to_owned()
}

/// What a disk takes to have 200 KiB safe, the 99th percentile of 300 times, in milliseconds.
pub(crate) fn fdatasync_p99(directory: &Path) -> f64 {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(directory).expect("a file to write");
    let piece = vec![7; 200 << 10];
    let mut took: Vec<_> = (0..300)
        .map(|_| {
            file.write_all(&piece).expect("room on the disk");
            let began = Instant::now();
            file.sync_data().expect("a disk that syncs");
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    percentile(&mut took, 0.99)
}

/// By nearest rank; 0 without values.
pub(crate) fn percentile(values: &mut [f64], of: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * of).ceil() as usize;
    values
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
