//! The memory limit and how it is shared out. Used by `Config`, read by `pipeline`.

use std::path::Path;

use super::source::{Faults, Setting};
use super::{memory, value};
use crate::export;
use crate::receive::REQUEST_BYTES;

/// The memory limit, shared out. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// All of it.
    pub limit: usize,
    /// The batch log.
    pub log: usize,
    /// Kept traces.
    pub traces: usize,
    /// Histograms, edges and pending pairs.
    pub views: usize,
    /// Bodies under way.
    pub bodies: usize,
    /// What tail sampling knows of traces, all exporters together.
    pub index: usize,
}

/// Most bytes of one merged request; an exporter has some of them in hand beside the log.
pub const EXPORT_REQUEST_BYTES: usize = 4 * MIB;

const MIB: usize = 1024 * 1024;
const DEFAULT_MEMORY_LIMIT: usize = 256 * MIB;
const LEAST_MEMORY_LIMIT: usize = 64 * MIB;
/// Of the limit, for the process itself: code (10 MiB), stacks, connections, names, the spans of a batch that is looked
/// through.
const PROCESS_BYTES: usize = 24 * MIB;
/// What a connection that has carried large bodies holds while it is idle.
const CONNECTION_BYTES: usize = 64 * 1024;
const LEAST_CONNECTIONS: usize = 64;
const MOST_CONNECTIONS: usize = 4096;
/// What a request's head takes at most: 16 KiB of a few bytes that stand for many lines each.
const HEAD_BYTES: usize = 48 * 1024;
const LEAST_STREAMS: usize = 8;
/// The least that RFC 9113 recommends (section 6.5.2), where there is room for it.
const MOST_STREAMS: usize = 100;
const LEAST_WINDOW_BYTES: usize = 64 * 1024;
/// Of the log's share, what tail sampling takes for its index where there is any.
const INDEX_PART: usize = 8;
/// Of the log's share, what the requests of all exporters take together unless each has but one.
const IN_FLIGHT_PART: usize = 3;
/// The least that is left to the log when every exporter has its requests in hand.
const LEAST_LOG_BYTES: usize = 4 * MIB;

impl Shares {
    /// Connections that each listener keeps open at once: what they hold when idle is an eighth of the limit.
    pub fn connections(&self) -> usize {
        (self.limit / 8 / CONNECTION_BYTES).clamp(LEAST_CONNECTIONS, MOST_CONNECTIONS)
    }

    /// Bytes of requests under way at once, without their bodies: room for two on each connection of one listener. What is
    /// left for gaps has to do for it, and for little more than a flood.
    pub fn requests(&self) -> usize {
        self.connections() * 2 * REQUEST_BYTES
    }

    /// Bytes that a request over HTTP/2 may be ahead of what is counted: 1 MiB, and less below 256 MiB.
    pub fn stream_window(&self) -> u32 {
        let window = (self.limit / 256).clamp(LEAST_WINDOW_BYTES, MIB);
        u32::try_from(window).unwrap_or(u32::MAX)
    }

    /// Requests of one HTTP/2 connection under way at once: while each of `threads` reads one connection, their heads
    /// take a sixteenth of the limit, or what the least number of requests needs.
    pub fn streams(&self, threads: usize) -> u32 {
        let streams = self.limit / 16 / HEAD_BYTES / threads.max(1);
        u32::try_from(streams.clamp(LEAST_STREAMS, MOST_STREAMS)).unwrap_or(u32::MAX)
    }

    /// Three eighths for the log, a quarter each for kept traces and views, the rest for bodies, of what the
    /// process itself and the allocator's gaps leave; the requests that exporters have in hand come out of the log's.
    pub(super) fn of(limit: usize, in_hand: usize) -> Self {
        let shared = limit.saturating_sub(PROCESS_BYTES) / 16 * 13;
        let (log, quarter) = (shared / 8 * 3, shared / 4);
        Self {
            limit,
            log: log.saturating_sub(in_hand.saturating_mul(EXPORT_REQUEST_BYTES)),
            traces: quarter,
            views: quarter,
            bodies: shared - log - 2 * quarter,
            index: 0,
        }
    }

    /// With room for the index of tail sampling, out of the log's.
    fn with_index(self) -> Self {
        let index = self.log / INDEX_PART;
        Self {
            log: self.log - index,
            index,
            ..self
        }
    }

    /// Tells exporters that sample whole traces how large their index may become.
    pub(super) fn share_index(&self, exporters: &mut [export::Config]) {
        let tails = || exporters.iter().filter(|e| e.sampling.tail.is_some());
        let each = self.index / tails().count().max(1);
        for tail in exporters
            .iter_mut()
            .filter_map(|e| e.sampling.tail.as_mut())
        {
            tail.index_bytes = each;
        }
    }

    /// As asked for, or of what there is; enough for `exporters` in any case, but perhaps not for all the requests that they
    /// were to have under way: they are told how many.
    pub(super) fn resolve(
        setting: Option<Setting>,
        exporters: &mut [export::Config],
        root: &Path,
        faults: &mut Faults,
    ) -> Self {
        let one_by_one = |exporter: &export::Config| {
            let requests_in_flight = 1;
            let exporter = export::Config {
                requests_in_flight,
                ..exporter.clone()
            };
            exporter.requests_in_hand()
        };
        let in_hand = exporters.iter().map(one_by_one).sum();
        let samples_traces = exporters.iter().any(|e| e.sampling.tail.is_some());
        let least = least_memory_limit(in_hand, samples_traces);
        let limit = faults.checked(setting, |text| {
            let limit = value::bytes(text)?;
            if limit < least {
                let (least, exporters) = (least.div_ceil(MIB), exporters.len());
                return Err(format!(
                    "at least {least}MiB are needed with {exporters} exporters"
                ));
            }
            Ok(limit)
        });
        // A small cgroup is no fault of the command line's: the least that works is taken then.
        let by_default = || memory::default_limit(root, DEFAULT_MEMORY_LIMIT);
        let limit = limit.unwrap_or_else(|| by_default().max(least));
        let room = Self::of(limit, 0).log / IN_FLIGHT_PART / EXPORT_REQUEST_BYTES;
        let shares = Self::of(limit, share_requests(room, exporters));
        if samples_traces {
            shares.with_index()
        } else {
            shares
        }
    }
}

/// Has `exporters` hold no more than `room` requests together, as long as each can send one; how many they hold then.
fn share_requests(room: usize, exporters: &mut [export::Config]) -> usize {
    loop {
        let in_hand = exporters.iter().map(export::Config::requests_in_hand).sum();
        let greatest = exporters.iter_mut().max_by_key(|e| e.most_under_way());
        match greatest {
            Some(export) if in_hand > room && export.most_under_way() > 1 => {
                export.requests_in_flight -= 1;
            }
            _ => return in_hand,
        }
    }
}

fn least_memory_limit(in_hand: usize, samples_traces: bool) -> usize {
    let index = LEAST_LOG_BYTES / (INDEX_PART - 1) * usize::from(samples_traces);
    let log = in_hand
        .saturating_mul(EXPORT_REQUEST_BYTES)
        .saturating_add(LEAST_LOG_BYTES + index);
    (log.saturating_mul(128) / 39)
        .saturating_add(PROCESS_BYTES + 64)
        .max(LEAST_MEMORY_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{Compression, Config, Target};

    #[test]
    fn connections_follow_the_limit() {
        let check = |limit, expected| {
            assert_eq!(Shares::of(limit, 0).connections(), expected, "{limit}");
        };
        check(0, 64);
        check(64 * MIB, 128);
        check(256 * MIB, 512);
        check(1 << 40, 4096);
        let window = |limit| Shares::of(limit, 0).stream_window() as usize;
        assert_eq!(
            [0, 64 * MIB, 1 << 40].map(window),
            [64 * 1024, MIB / 4, MIB]
        );
    }

    #[test]
    fn heads_follow_the_limit_and_the_threads() {
        let streams = |mib: usize, threads| Shares::of(mib * MIB, 0).streams(threads);
        assert_eq!([1, 4, 64].map(|threads| streams(64, threads)), [85, 21, 8]);
        assert_eq!([4, 16].map(|threads| streams(256, threads)), [85, 21]);
        assert_eq!([0, 1, 8].map(|threads| streams(1_024, threads)), [100; 3]);
    }

    #[test]
    fn requests_under_way_leave_the_log_most_of_its_share() {
        let check = |room, asked: &[(usize, Compression)], expected: &[usize]| {
            let target = Target::parse("otlp+grpc://a").unwrap();
            let exporter = |&(requests_in_flight, compression): &(usize, Compression)| Config {
                requests_in_flight,
                compression,
                ..Config::to(target.clone())
            };
            let mut exporters: Vec<_> = asked.iter().map(exporter).collect();
            let in_hand = share_requests(room, &mut exporters);
            let told: Vec<_> = exporters.iter().map(Config::most_under_way).collect();
            assert_eq!(told, expected, "{room}");
            let least: usize = exporters.len() * 2;
            assert!(in_hand <= room.max(least), "{in_hand} of {room}");
        };
        use Compression::{Gzip, None};
        check(5, &[(4, None)], &[4]);
        check(2, &[(4, None)], &[2]);
        check(0, &[(4, None), (4, Gzip)], &[1, 1]);
        check(6, &[(4, None), (4, None)], &[3, 3]);
        check(6, &[(1, None), (8, None)], &[1, 5]);
        check(6, &[(4, Gzip)], &[3]);
    }

    #[test]
    fn shares_never_exceed_the_limit() {
        for (limit, exporters) in [(64 * MIB, 0), (256 * MIB, 1), (1 << 40, 5), (0, 0)] {
            let shares = Shares::of(limit, exporters);
            let in_hand = exporters * EXPORT_REQUEST_BYTES;
            let sum = shares.log + in_hand + shares.traces + shares.views + shares.bodies;
            assert!(sum <= limit.max(in_hand), "{shares:?}");
        }
        for exporters in 0..20 {
            let least = Shares::of(least_memory_limit(exporters, false), exporters);
            assert!(least.log >= LEAST_LOG_BYTES, "{exporters}: {least:?}");
            let least = Shares::of(least_memory_limit(exporters, true), exporters);
            let log = least.log;
            let least = least.with_index();
            assert!(least.log >= LEAST_LOG_BYTES, "{exporters}: {least:?}");
            assert_eq!(
                least.log + least.index,
                log,
                "the index comes out of the log's share"
            );
        }
    }
}
