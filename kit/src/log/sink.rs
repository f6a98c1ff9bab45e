//! The queue of finished lines and the thread that writes them. Used by `logger`.
//!
//! Producers append to one buffer while the thread writes another; then the two are swapped. The
//! buffer is bounded in bytes: a line that does not fit is dropped and counted, and once there is room
//! again a line tells how many are missing, at the place where they are missing.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What may wait to be written, in bytes; as much again may be on its way out.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// What a buffer keeps of its memory when the thread has nothing to do.
const KEPT_BYTES: usize = 256 * 1024;

/// How long the thread gathers lines after a write, before it looks for more: under load a wake-up
/// and a write then serve many lines, and a line after a quiet time still goes out at once.
const GATHER: Duration = Duration::from_millis(2);

/// How long to wait for a writer that cannot take more just now (a non-blocking pipe that is full).
const RETRY: Duration = Duration::from_millis(5);

/// The producers' end; dropping it ends the thread once everything is written.
#[derive(Debug)]
pub(super) struct Sink {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The thread waits here for lines.
    work: Condvar,
    /// Flushes wait here for batches to be done.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    /// How many those are.
    queued: u64,
    /// Lines dropped since the last swap, not told of yet.
    gap: u64,
    counts: LineCounts,
    thread: Thread,
    closed: bool,
    /// Batches that the thread took, and those of them that it is done with.
    taken: u64,
    done: u64,
}

/// What became of the lines so far: written, or lost to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    pub(crate) written: u64,
    /// They came faster than they could be written.
    pub(crate) queue_full: u64,
    /// Writing failed: a full disk, a pipe that nobody reads any more.
    pub(crate) write_failed: u64,
    /// Their call site wrote more of them than it may in a second.
    pub(crate) rate_limited: u64,
    /// Not kept by the recorder: all requests together kept enough.
    pub(crate) recorder_full: u64,
}

/// What the thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Thread {
    /// Writing, or about to look at the queue.
    #[default]
    Busy,
    /// Letting lines gather.
    Gathering,
    /// Waiting for the first line.
    Idle,
}

impl Sink {
    /// Starts the thread. `note_gap` appends a line that tells how many lines are missing.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(
        writer: Box<dyn Write + Send>,
        note_gap: impl Fn(u64, &mut Vec<u8>) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let output = Output {
            writer,
            torn: false,
        };
        let run = {
            let shared = Arc::clone(&shared);
            move || run(&shared, output, note_gap)
        };
        std::thread::Builder::new()
            .name("bellwether-log".to_owned())
            .spawn(run)?;
        Ok(Self { shared })
    }

    /// Queues a finished line, or drops and counts it when there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.lines.len() + line.len() > QUEUE_BYTES {
            queue.gap += 1;
            queue.counts.queue_full += 1;
            return;
        }
        queue.lines.extend_from_slice(line);
        queue.queued += 1;
        let wake = match queue.thread {
            Thread::Busy => false,
            Thread::Gathering => queue.lines.len() > QUEUE_BYTES / 2,
            Thread::Idle => true,
        };
        if wake {
            self.shared.wake(queue);
        }
    }

    /// Waits until every line queued so far is written, at most `timeout`; false when time ran out.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let mut queue = self.shared.lock();
        let waiting = !queue.lines.is_empty() || queue.gap > 0;
        let target = queue.taken + u64::from(waiting);
        if waiting && queue.thread != Thread::Busy {
            self.shared.wake(queue);
            queue = self.shared.lock();
        }
        let (_queue, wait) = self
            .shared
            .progress
            .wait_timeout_while(queue, timeout, |queue| queue.done < target)
            .unwrap_or_else(PoisonError::into_inner);
        !wait.timed_out()
    }

    pub(super) fn counts(&self) -> LineCounts {
        self.shared.lock().counts
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        self.shared.wake(queue);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread; whoever calls next sees it busy and need not wake it again.
    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.thread = Thread::Busy;
        drop(queue);
        self.work.notify_one();
    }

    /// Waits for lines and swaps them with `batch`, which is empty. Nothing when the sink is closed and all is
    /// written.
    fn next(&self, batch: &mut Vec<u8>) -> Option<Taken> {
        let mut queue = self.lock();
        if queue.taken > 0 && !queue.closed {
            queue.thread = Thread::Gathering;
            queue = self
                .work
                .wait_timeout_while(queue, GATHER, |queue| queue.thread == Thread::Gathering)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        while queue.lines.is_empty() && queue.gap == 0 {
            if queue.closed {
                return None;
            }
            // What a flood took goes back only now: while it lasts, its buffers need not grow again.
            batch.shrink_to(KEPT_BYTES);
            queue.lines.shrink_to(KEPT_BYTES);
            queue.thread = Thread::Idle;
            queue = self
                .work
                .wait_while(queue, |queue| queue.thread == Thread::Idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
        queue.thread = Thread::Busy;
        queue.taken += 1;
        std::mem::swap(&mut queue.lines, batch);
        Some(Taken {
            lines: std::mem::take(&mut queue.queued),
            gap: std::mem::take(&mut queue.gap),
        })
    }

    fn done(&self, lines: u64, lost: u64) {
        let mut queue = self.lock();
        queue.done += 1;
        queue.counts.written += lines.saturating_sub(lost);
        queue.counts.write_failed += lost;
        drop(queue);
        self.progress.notify_all();
    }
}

/// What a batch has in it.
struct Taken {
    lines: u64,
    /// Lines dropped after those.
    gap: u64,
}

fn run(shared: &Shared, mut output: Output, note_gap: impl Fn(u64, &mut Vec<u8>)) {
    let mut batch = Vec::new();
    while let Some(Taken { mut lines, gap }) = shared.next(&mut batch) {
        if gap > 0 {
            note_gap(gap, &mut batch);
            lines += 1;
        }
        let lost = output.write(&batch);
        shared.done(lines, lost);
        batch.clear();
    }
}

/// The writer, and whether it was left in the middle of a line.
struct Output {
    writer: Box<dyn Write + Send>,
    torn: bool,
}

impl Output {
    /// Writes whole lines. Gives the number of lines lost, which is not zero when writing fails: a
    /// closed pipe stays closed, so they are not kept for another attempt.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if self.torn {
            let mut end = &b"\n"[..];
            if self.push(&mut end).is_err() {
                return count(lines);
            }
            self.torn = false;
        }
        let mut rest = lines;
        if self.push(&mut rest).is_err() {
            let written = lines.len() - rest.len();
            self.torn = lines.get(..written).is_some_and(ends_within_line);
            return count(rest);
        }
        if self.writer.flush().is_err() {
            return count(lines);
        }
        0
    }

    /// Writes all of `rest`; on an error `rest` is what was not written.
    fn push(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.writer.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => *rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::park_timeout(RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn ends_within_line(written: &[u8]) -> bool {
    written.last().is_some_and(|byte| *byte != b'\n')
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn queue_full(lines: u64) -> LineCounts {
        LineCounts {
            queue_full: lines,
            ..LineCounts::default()
        }
    }

    /// What was lost, without what was written.
    fn lost(sink: &Sink) -> LineCounts {
        LineCounts {
            written: 0,
            ..sink.counts()
        }
    }

    fn write_failed(lines: u64) -> LineCounts {
        LineCounts {
            write_failed: lines,
            ..LineCounts::default()
        }
    }

    /// A writer that asks the test what to do with each batch.
    struct Scripted {
        batches: Sender<Vec<u8>>,
        answers: Receiver<io::Result<usize>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without a test behind it any more, all goes well.
            let _ = self.batches.send(bytes.to_vec());
            let answer = self.answers.recv().unwrap_or(Ok(usize::MAX));
            answer.map(|written| written.min(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Script {
        sink: Sink,
        batches: Receiver<Vec<u8>>,
        answers: Sender<io::Result<usize>>,
    }

    impl Script {
        fn start() -> Self {
            let (batches, batch) = channel();
            let (answer, answers) = channel();
            let writer = Box::new(Scripted { batches, answers });
            let note = |gap, batch: &mut Vec<u8>| {
                batch.extend_from_slice(format!("gap {gap}\n").as_bytes());
            };
            Self {
                sink: Sink::start(writer, note).unwrap(),
                batches: batch,
                answers: answer,
            }
        }

        /// The next batch handed to the writer, which waits for its answer.
        fn batch(&self) -> String {
            String::from_utf8(self.batches.recv_timeout(LONG).unwrap()).unwrap()
        }

        fn answer(&self, answer: io::Result<usize>) {
            self.answers.send(answer).unwrap();
        }

        fn accept(&self) {
            self.answer(Ok(usize::MAX));
        }
    }

    #[test]
    fn lines_queued_during_a_write_go_out_in_one() {
        let script = Script::start();
        script.sink.push(b"1\n");
        assert_eq!(script.batch(), "1\n");
        script.sink.push(b"2\n");
        script.sink.push(b"3\n");
        script.accept();
        assert_eq!(script.batch(), "2\n3\n");
        script.accept();
        assert!(script.sink.flush(LONG));
        assert_eq!(lost(&script.sink), LineCounts::default());
    }

    #[test]
    fn a_full_queue_drops_counts_and_tells() {
        let script = Script::start();
        script.sink.push(b"first\n");
        assert_eq!(script.batch(), "first\n");
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let room = QUEUE_BYTES / line.len();
        for _ in 0..room + 7 {
            script.sink.push(&line);
        }
        assert_eq!(lost(&script.sink), queue_full(7));
        script.accept();
        let batch = script.batch();
        assert_eq!(batch.len(), room * line.len() + "gap 7\n".len());
        assert!(batch.ends_with("x\ngap 7\n"));
        script.accept();
        script.sink.push(b"again\n");
        assert_eq!(script.batch(), "again\n");
        script.accept();
        assert!(script.sink.flush(LONG));
        assert_eq!(lost(&script.sink), queue_full(7));
    }

    #[test]
    fn a_flush_ends_when_its_time_is_up() {
        let script = Script::start();
        assert!(script.sink.flush(Duration::ZERO), "nothing to wait for");
        script.sink.push(b"1\n");
        let began = Instant::now();
        assert!(!script.sink.flush(Duration::from_millis(20)));
        assert!(began.elapsed() >= Duration::from_millis(20));
        script.accept();
        assert!(script.sink.flush(LONG));
    }

    #[test]
    fn a_broken_pipe_is_counted_and_does_not_stop_the_thread() {
        let script = Script::start();
        script.sink.push(b"1\n2\n");
        script.batch();
        script.answer(Err(ErrorKind::BrokenPipe.into()));
        assert!(script.sink.flush(LONG));
        assert_eq!(lost(&script.sink), write_failed(2));
        script.sink.push(b"3\n");
        assert_eq!(script.batch(), "3\n");
        script.answer(Ok(0));
        assert!(script.sink.flush(LONG));
        assert_eq!(lost(&script.sink), write_failed(3));
    }

    #[test]
    fn half_a_line_is_ended_before_the_next() {
        let script = Script::start();
        script.sink.push(b"one\ntwo\nthree\n");
        script.batch();
        script.answer(Ok(5));
        assert_eq!(script.batch(), "wo\nthree\n");
        script.answer(Err(ErrorKind::StorageFull.into()));
        assert!(script.sink.flush(LONG));
        assert_eq!(lost(&script.sink), write_failed(2));
        script.sink.push(b"four\n");
        assert_eq!(script.batch(), "\n");
        script.accept();
        assert_eq!(script.batch(), "four\n");
        script.accept();
        assert!(script.sink.flush(LONG));
        assert_eq!(lost(&script.sink), write_failed(2));
    }

    #[test]
    fn a_writer_that_is_busy_or_interrupted_is_asked_again() {
        let script = Script::start();
        script.sink.push(b"1\n");
        for kind in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
            assert_eq!(script.batch(), "1\n");
            script.answer(Err(kind.into()));
        }
        assert_eq!(script.batch(), "1\n");
        script.accept();
        assert!(script.sink.flush(LONG));
        assert_eq!(lost(&script.sink), LineCounts::default());
    }

    #[test]
    fn the_thread_ends_after_the_last_line() {
        let Script {
            sink,
            batches,
            answers,
        } = Script::start();
        sink.push(b"1\n");
        batches.recv_timeout(LONG).unwrap();
        sink.push(b"2\n");
        drop(sink);
        drop(answers);
        assert_eq!(batches.recv_timeout(LONG).unwrap(), b"2\n");
        // The channel closes when the thread drops the writer.
        assert!(
            batches
                .recv_timeout(LONG)
                .is_err_and(|error| { error == std::sync::mpsc::RecvTimeoutError::Disconnected })
        );
    }

    #[test]
    fn every_line_of_many_threads_is_written_or_counted() {
        const THREADS: u64 = 4;
        const LINES: u64 = 20_000;
        let (batches, written) = channel();
        let (_, answers) = channel();
        let writer = Box::new(Scripted { batches, answers });
        let sink = Sink::start(writer, |_, _| {}).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..LINES).for_each(|_| sink.push(b"a line of a thread\n")));
            }
        });
        assert!(sink.flush(LONG));
        let out: u64 = written.try_iter().map(|batch| count(&batch)).sum();
        let counts = sink.counts();
        assert_eq!(out, counts.written);
        assert_eq!(out + counts.queue_full, THREADS * LINES);
    }
}
