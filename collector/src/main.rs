//! The `bellwether` binary; all of it is in the library, which the demo starts too.

use std::process::ExitCode;

fn main() -> ExitCode {
    bellwether_collector::allocator::settle();
    bellwether_collector::main_with(std::env::args_os())
}
