//! Has the allocator give what is freed back to the system soon, and keep it in few heaps until then. Called by the binary's
//! `main`, before anything else.
//!
//! The binary's allocator is jemalloc. glibc's either keeps freed bodies in heaps that cannot shrink, which breaks the memory
//! limit, or gives each of them back at once and asks for new pages for the next one, which costs up to half of the
//! processor time (`docs/overload.md`). jemalloc keeps them for as long as it is told and uses them again; left to itself
//! for ten seconds, in four heaps for each processor. It reads its settings before `main`, so the program sets them and starts
//! itself anew, which takes about a millisecond and keeps the process id.

/// Where jemalloc reads its settings (`opt.` in jemalloc(3)).
const VARIABLE: &str = "_RJEM_MALLOC_CONF";

/// Freed pages are given back after a fifth of a second, also by a thread of the allocator's own while nothing is asked for,
/// and buffers of 2 MiB and more at once; two heaps hold less than many that each have something free.
const SETTINGS: &str = "narenas:2,dirty_decay_ms:200,muzzy_decay_ms:0,oversize_threshold:2097152,\
                        background_thread:true,max_background_threads:1";

/// Starts the program anew with the settings, unless there are any; returns where that cannot be done, and everything
/// works as well, in more memory.
pub fn settle() {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;

        // Set by the first start, or by somebody who knows better.
        if std::env::var_os(VARIABLE).is_some() {
            return;
        }
        let (Ok(program), mut args) = (std::env::current_exe(), std::env::args_os()) else {
            return;
        };
        let mut command = std::process::Command::new(program);
        if let Some(name) = args.next() {
            command.arg0(name);
        }
        // Returns only when it failed.
        let _ = command.args(args).env(VARIABLE, SETTINGS).exec();
    }
}
