//! `process_*`: the process as the kernel sees it, under the names that Prometheus' client libraries share
//! ("Writing client libraries", process metrics). Read at each scrape, from Linux's `/proc/self`; elsewhere
//! there are none. What cannot be read or understood is left out.
//!
//! A scrape reads three small files and asks for the size of a directory, some 50 µs; before Linux 6.2, which
//! tells how many descriptors are open, also one directory entry for each of them.

use std::fs::{self, File};
use std::io::Read as _;
use std::str::FromStr;

use super::labels::LabelText;
use super::text::{Kind, Text};

/// Longer than `stat`, `status` and `limits` of a process are, shorter than what a scrape should wait for.
const MAX_FILE: u64 = 16 * 1024;
/// Of the whole machine's `stat`, which has a number for each interrupt of each processor.
const MAX_MACHINE: u64 = 4 * 1024 * 1024;
/// `USER_HZ`: what `/proc` counts in, on every architecture that Rust compiles for.
const TICKS_A_SECOND: f64 = 100.0;

/// What stays the same while a process lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// Seconds since the epoch. Settled once, so that it never moves.
    started: Option<f64>,
}

impl Process {
    pub(super) fn this() -> Self {
        let boot = read("/proc/stat", MAX_MACHINE).and_then(|machine| boot_time(&machine));
        Self {
            started: boot
                .zip(Stat::read())
                .map(|(boot, stat)| boot as f64 + stat.started),
        }
    }

    pub(super) fn write(&self, text: &mut Text) {
        if let Some(stat) = Stat::read() {
            text.family(
                "process_cpu_seconds",
                Kind::Counter,
                Some("seconds"),
                "Total user and system CPU time spent",
            );
            text.sample(&LabelText::default(), stat.cpu);
        }
        if let Some(started) = self.started {
            text.family(
                "process_start_time_seconds",
                Kind::Gauge,
                Some("seconds"),
                "Start time of the process since the Unix epoch",
            );
            text.sample(&LabelText::default(), started);
        }
        if let Some(status) = read("/proc/self/status", MAX_FILE) {
            write_status(&String::from_utf8_lossy(&status), text);
        }
        gauge(
            text,
            "process_open_fds",
            None,
            "Number of open file descriptors",
            open_fds(),
        );
        let limits = read("/proc/self/limits", MAX_FILE);
        gauge(
            text,
            "process_max_fds",
            None,
            "Maximum number of open file descriptors",
            limits.and_then(|limits| max_fds(&String::from_utf8_lossy(&limits))),
        );
    }
}

/// What is shown of `/proc/self/stat` (proc_pid_stat(5)), in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    cpu: f64,
    /// Since the machine started.
    started: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&read("/proc/self/stat", MAX_FILE)?)
    }

    /// The name in parentheses may hold anything, parentheses and spaces too: the last one ends it.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
        // The manual counts from 1, and the first after the name is the third.
        let ticks =
            |field: usize| u64::from_str(rest.split_ascii_whitespace().nth(field - 3)?).ok();
        let seconds = |ticks: u64| ticks as f64 / TICKS_A_SECOND;
        let (user, system) = (ticks(14)?, ticks(15)?);
        Some(Self {
            cpu: seconds(user.saturating_add(system)),
            started: seconds(ticks(22)?),
        })
    }
}

/// When the machine started, in seconds since the epoch (proc_stat(5)).
fn boot_time(machine: &[u8]) -> Option<u64> {
    let mut lines = machine.split(|byte| *byte == b'\n');
    let seconds = lines.find_map(|line| line.strip_prefix(b"btime "))?;
    std::str::from_utf8(seconds).ok()?.trim().parse().ok()
}

/// What `/proc/self/status` has as text (proc_pid_status(5)): here, unlike in `stat`, memory is not in pages,
/// whose size would have to be asked for.
fn write_status(status: &str, text: &mut Text) {
    let bytes = |key| status_field(status, key).map(|kibibytes| kibibytes.saturating_mul(1024));
    gauge(
        text,
        "process_resident_memory_bytes",
        Some("bytes"),
        "Resident memory size",
        bytes("VmRSS"),
    );
    gauge(
        text,
        "process_virtual_memory_bytes",
        Some("bytes"),
        "Virtual memory size",
        bytes("VmSize"),
    );
    gauge(
        text,
        "process_threads",
        None,
        "Number of OS threads in the process",
        status_field(status, "Threads"),
    );
}

/// The number of a line `key:  number unit`. No name can fake one: line breaks in it are escaped.
fn status_field(status: &str, key: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// The soft limit; absent when there is none.
fn max_fds(limits: &str) -> Option<u64> {
    let mut lines = limits.lines();
    let limit = lines.find_map(|line| line.strip_prefix("Max open files"))?;
    limit.split_ascii_whitespace().next()?.parse().ok()
}

fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    // Since Linux 6.2 the size of the directory is the number of its entries; before, it is 0.
    let size = fs::metadata(DIRECTORY).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    // One of them is that of the directory being read.
    let entries = fs::read_dir(DIRECTORY).ok()?.count() as u64;
    Some(entries.saturating_sub(1))
}

fn gauge(text: &mut Text, name: &str, unit: Option<&str>, help: &str, value: Option<u64>) {
    if let Some(value) = value {
        text.family(name, Kind::Gauge, unit, help);
        text.sample(&LabelText::default(), value);
    }
}

fn read(path: &str, most: u64) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(2_048);
    let file = File::open(path).ok()?;
    file.take(most).read_to_end(&mut content).ok()?;
    Some(content)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    const REST: &str = "S 1 2 3 4 5 6 7 8 9 10 150 75 13 14 15 16 42 0 123456 987654321 2500 18446744073709551615\n";

    #[test]
    fn a_name_may_look_like_fields() {
        for name in [
            &b"(order)"[..],
            b"(a b)",
            b"(a) S 1 (b)",
            b"(()",
            b"())",
            b"(\xff\n)",
        ] {
            let stat = [b"77 ", name, b" ", REST.as_bytes()].concat();
            let expected = Stat {
                cpu: 2.25,
                started: 1_234.56,
            };
            assert_eq!(Stat::parse(&stat), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn what_is_cut_short_or_no_number_is_nothing() {
        for stat in ["", "77 (order", "77 (order)", "77 (order) S 1 2 3", "1 2 3"] {
            assert_eq!(Stat::parse(stat.as_bytes()), None, "{stat:?}");
        }
        let odd = format!("77 (order) {}", REST.replace(" 150 ", " -1 "));
        assert_eq!(Stat::parse(odd.as_bytes()), None);
        assert_eq!(boot_time(b"cpu  1 2 3\nbtime soon\n"), None);
        assert_eq!(
            max_fds("Max open files    unlimited  unlimited  files\n"),
            None
        );
    }

    #[test]
    fn lines_are_found_by_their_key() {
        assert_eq!(
            boot_time(b"cpu  1 2\nintr 5\nbtime 1700000000\nx"),
            Some(1_700_000_000)
        );
        let status =
            "Name:\tVmRSS:\\nThreads: 9\nVmSize:\t  2048 kB\nVmRSS:\t 1024 kB\nThreads:\t7\n";
        assert_eq!(status_field(status, "VmRSS"), Some(1_024));
        assert_eq!(status_field(status, "Threads"), Some(7));
        assert_eq!(status_field(status, "VmSwap"), None);
        let limits = "Limit   Soft Limit   Hard Limit   Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(max_fds(limits), Some(1_024));
    }

    #[test]
    fn this_process_is_found() {
        let file = File::open("/proc/self/stat").unwrap();
        let held: Vec<_> = (0..200).map(|_| file.try_clone().unwrap()).collect();
        // Other tests hold some, too.
        let limits = read("/proc/self/limits", MAX_FILE).unwrap();
        let limit = max_fds(std::str::from_utf8(&limits).unwrap()).unwrap();
        let open = open_fds().unwrap();
        assert!(open > 200 && open <= limit, "{open} of {limit}");
        drop(held);
        let started = Duration::from_secs_f64(Process::this().started.unwrap());
        let age = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age = age - started.as_secs_f64();
        // The machine's start is told in whole seconds.
        assert!((-2.0..3_600.0).contains(&age), "{age}");
        let (before, began) = (Stat::read().unwrap().cpu, Instant::now());
        while Stat::read().unwrap().cpu <= before {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_not(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Stat::parse(&content), boot_time(&content));
            let text = String::from_utf8_lossy(&content);
            let _ = (status_field(&text, "VmRSS"), max_fds(&text));
        }

        #[test]
        fn any_fields_parse_or_not(fields in "77 \\(a\\)( [0-9-]{0,25}){0,60}") {
            let parsed = Stat::parse(fields.as_bytes());
            let enough = fields.split_ascii_whitespace().count() >= 22;
            prop_assert!(enough || parsed.is_none());
        }
    }
}
