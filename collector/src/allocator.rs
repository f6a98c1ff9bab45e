//! Has the C library give large buffers back to the system when they are freed. Called by the binary's `main`, before
//! anything else.
//!
//! Left to itself glibc raises the size from which a buffer has pages of its own with each one that is freed, up to 32 MiB.
//! Bodies and batches of megabytes then come out of heaps that cannot shrink: many large senders at once cost 50 MiB more
//! than all that was counted, at a limit of 64 MiB. It reads its settings before `main`, so the program sets them and starts
//! itself anew, which takes about a millisecond and keeps the process id. Other C libraries have no such habit.

/// From so many bytes on a buffer has pages of its own, and as many at the end of a heap go back.
const OWN_PAGES: &str = "262144";
/// A heap keeps a little, so that ordinary batches do not ask the system each time.
const KEPT: &str = "1048576";

const TUNABLES: &str = "GLIBC_TUNABLES";
const THRESHOLD: &str = "glibc.malloc.mmap_threshold";
/// That it has been tried: a program with privileges of its own does not get to see the other one.
const SETTLED: &str = "BELLWETHER_ALLOCATOR";

/// Starts the program anew with the settings, unless it has been or they are somebody else's; returns where that cannot be
/// done, and everything works as well, in more memory.
pub fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt as _;

        let is_settled = std::env::var_os(SETTLED).is_some();
        let tunables = std::env::var(TUNABLES);
        let Some(tunables) = wanted(is_settled, tunables.as_deref().unwrap_or_default()) else {
            return;
        };
        let (Ok(program), mut args) = (std::env::current_exe(), std::env::args_os()) else {
            return;
        };
        let mut command = std::process::Command::new(program);
        if let Some(name) = args.next() {
            command.arg0(name);
        }
        command.args(args).env(SETTLED, "settled");
        // Returns only when it failed.
        let _ = command.env(TUNABLES, tunables).exec();
    }
}

/// The settings to start anew with, beside those that are there.
fn wanted(is_settled: bool, tunables: &str) -> Option<String> {
    if is_settled || tunables.contains(THRESHOLD) {
        return None;
    }
    let own = format!("{THRESHOLD}={OWN_PAGES}:glibc.malloc.trim_threshold={KEPT}");
    Some(match tunables {
        "" => own,
        tunables => format!("{tunables}:{own}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_others_stay_and_nothing_is_tried_twice() {
        let own = wanted(false, "").unwrap();
        assert!(own.contains("glibc.malloc.mmap_threshold=262144"), "{own}");
        let both = wanted(false, "glibc.malloc.arena_max=1").unwrap();
        assert_eq!(both, format!("glibc.malloc.arena_max=1:{own}"));
        assert_eq!(wanted(false, "glibc.malloc.mmap_threshold=1"), None);
        assert_eq!(wanted(true, ""), None);
    }
}
