//! `process_*`: the process as the kernel sees it, under the names that Prometheus' client libraries share
//! ("Writing client libraries", process metrics). Read at each scrape, from Linux's `/proc/self`; elsewhere
//! there are none.
//!
//! A scrape costs one small file and four system calls, some 20 µs; before Linux 6.2, which tells how many
//! descriptors are open, also one directory entry for each of them.

use std::fs::{self, File};
use std::io::Read as _;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::labels::LabelText;
use super::text::{Kind, Text};

/// Longer than any `stat` (52 numbers and a name), shorter than what a scrape should have to wait for.
const MAX_STAT: u64 = 4_096;

/// What stays the same while a process lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    /// Since the epoch. Settled once: clocks are set while a process runs, and its start must not move.
    started: Option<Duration>,
}

impl Process {
    pub(super) fn this() -> Self {
        Self {
            started: Stat::read().and_then(|stat| started(stat.start_ticks)),
        }
    }

    pub(super) fn write(&self, text: &mut Text) {
        let none = LabelText::default();
        text.family(
            "process_cpu_seconds",
            Kind::Counter,
            Some("seconds"),
            "Total user and system CPU time spent",
        );
        text.sample(&none, cpu().as_secs_f64());
        if let Some(stat) = Stat::read() {
            stat.write(text);
        }
        if let Some(started) = self.started {
            text.family(
                "process_start_time_seconds",
                Kind::Gauge,
                Some("seconds"),
                "Start time of the process since the Unix epoch",
            );
            text.sample(&none, started.as_secs_f64());
        }
        if let Some(open) = open_fds() {
            text.family(
                "process_open_fds",
                Kind::Gauge,
                None,
                "Number of open file descriptors",
            );
            text.sample(&none, open);
        }
        // No limit, no family: there is nothing to come close to.
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            text.family(
                "process_max_fds",
                Kind::Gauge,
                None,
                "Maximum number of open file descriptors",
            );
            text.sample(&none, limit);
        }
    }
}

/// What is shown of `/proc/self/stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    /// Since the machine started.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        let mut stat = Vec::with_capacity(512);
        let file = File::open("/proc/self/stat").ok()?;
        file.take(MAX_STAT).read_to_end(&mut stat).ok()?;
        Self::parse(&stat)
    }

    /// The name in parentheses may hold anything, parentheses and spaces too: the last one ends it.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
        // The manual counts from 1, and the first after the name is the third.
        let field =
            |number: usize| u64::from_str(rest.split_ascii_whitespace().nth(number - 3)?).ok();
        Some(Self {
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }

    fn write(self, text: &mut Text) {
        let none = LabelText::default();
        let mut gauge = |name, unit, help, value: u64| {
            text.family(name, Kind::Gauge, unit, help);
            text.sample(&none, value);
        };
        gauge(
            "process_resident_memory_bytes",
            Some("bytes"),
            "Resident memory size",
            self.resident_pages.saturating_mul(page_size() as u64),
        );
        gauge(
            "process_virtual_memory_bytes",
            Some("bytes"),
            "Virtual memory size",
            self.virtual_bytes,
        );
        gauge(
            "process_threads",
            None,
            "Number of OS threads in the process",
            self.threads,
        );
    }
}

/// To the nanosecond, where `/proc` has hundredths of a second.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// The time of the start, by how long ago it was on the clock that counts from the machine's start.
fn started(start_ticks: u64) -> Option<Duration> {
    let start = start_ticks as f64 / clock_ticks_per_second() as f64;
    let start = Duration::try_from_secs_f64(start).ok()?;
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    let age = since_boot.checked_sub(start)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    now.checked_sub(age)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REST: &str = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 42 0 123456 987654321 2500 18446744073709551615 1\n";

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
                threads: 42,
                start_ticks: 123_456,
                virtual_bytes: 987_654_321,
                resident_pages: 2_500,
            };
            assert_eq!(Stat::parse(&stat), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn what_is_cut_short_or_no_number_is_nothing() {
        for stat in [
            "",
            "77 (order",
            "77 (order)",
            "77 (order) S 1 2 3",
            "1 2 3 4 5",
        ] {
            assert_eq!(Stat::parse(stat.as_bytes()), None, "{stat:?}");
        }
        let odd = format!("77 (order) {}", REST.replace(" 42 ", " -1 "));
        assert_eq!(Stat::parse(odd.as_bytes()), None);
    }

    #[test]
    fn this_process_is_found() {
        let stat = Stat::read().unwrap();
        assert!(stat.threads >= 1 && stat.resident_pages > 0);
        assert!(stat.virtual_bytes > stat.resident_pages * page_size() as u64);
        let file = File::open("/proc/self/stat").unwrap();
        let held: Vec<_> = (0..200).map(|_| file.try_clone().unwrap()).collect();
        // Other tests hold some, too.
        let open = open_fds().unwrap();
        assert!(open > 200 && Some(open) <= getrlimit(Resource::Nofile).current);
        drop(held);
        let age = SystemTime::now()
            .duration_since(UNIX_EPOCH + Process::this().started.unwrap())
            .unwrap();
        assert!(age < Duration::from_secs(3_600), "{age:?}");
        let spent = cpu();
        while cpu() < spent + Duration::from_millis(2) {}
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_not(stat in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Stat::parse(&stat);
        }

        #[test]
        fn any_fields_parse_or_not(fields in "77 \\(a\\)( [0-9-]{0,25}){0,60}") {
            let parsed = Stat::parse(fields.as_bytes());
            let enough = fields.split_ascii_whitespace().count() >= 24;
            prop_assert!(enough || parsed.is_none());
        }
    }
}
