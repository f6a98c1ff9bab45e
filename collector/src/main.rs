//! The `bellwether` binary; all of it is in the library, which the demo starts too.

use std::process::ExitCode;

/// Uses again what is freed, and gives the rest back to the system soon (`bellwether_collector::allocator`).
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    #[cfg(feature = "jemalloc")]
    bellwether_collector::allocator::settle();
    bellwether_collector::main_with(std::env::args_os())
}
