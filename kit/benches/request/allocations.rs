//! How often, and how much, the measured thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::ExitCode;

use super::cases::{Case, Fixture};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<Allocated> = const { Cell::new(Allocated { times: 0, bytes: 0 }) };
}

#[derive(Clone, Copy)]
struct Allocated {
    times: u64,
    bytes: u64,
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches nothing that allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.saturating_sub(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: usize) {
    // Nothing is counted while a thread is torn down.
    let _ = ALLOCATED.try_with(|allocated| {
        let Allocated {
            times,
            bytes: before,
        } = allocated.get();
        allocated.set(Allocated {
            times: times + 1,
            bytes: before + bytes as u64,
        });
    });
}

pub(crate) fn print(case: Case) -> ExitCode {
    const TIMES: u64 = 10_000;
    let fixture = Fixture::new(case);
    fixture.run(TIMES);
    let before = ALLOCATED.get();
    fixture.run(TIMES);
    let after = ALLOCATED.get();
    let each = |before, after| (after - before) as f64 / TIMES as f64;
    println!(
        "{:18}{:8.2} allocations{:10.1} bytes",
        case.name(),
        each(before.times, after.times),
        each(before.bytes, after.bytes)
    );
    ExitCode::SUCCESS
}
