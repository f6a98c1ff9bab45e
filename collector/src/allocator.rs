//! Has the C library give large buffers back to the system when they are freed, and keep the small ones in few heaps. Called
//! by the binary's `main`, before anything else.
//!
//! Left to itself glibc raises the size from which a buffer has pages of its own with each one that is freed, up to 32 MiB,
//! and makes up to eight heaps for each processor, so that threads need not wait for each other. A heap shrinks from its
//! end only, and what is free in one is of no use to another: with one for each of fourteen threads, they held 108 MiB
//! where 21 MiB of kept traces and little else were in them, and 150 MiB were taken at a limit of 128 MiB. With two, and
//! bodies and batches outside of them, it is 111 to 123 MiB, for a tenth more processor time (`docs/overload.md`). glibc reads its
//! settings before `main`, so the program sets them and starts itself anew, which takes about a millisecond and keeps
//! the process id. Other C libraries have no such habit.

/// glibc's settings, by name. They hold for all threads.
const SETTINGS: [(&str, &str); 3] = [
    // From so many bytes on a buffer has pages of its own. At twice as many a tenth of the processor time would be saved, but
    // many large bodies at once take several MiB more.
    ("glibc.malloc.mmap_threshold", "65536"),
    // A heap keeps so much at its end, so that ordinary batches do not ask the system each time.
    ("glibc.malloc.trim_threshold", "262144"),
    ("glibc.malloc.arena_max", "2"),
];

const TUNABLES: &str = "GLIBC_TUNABLES";
/// That it has been tried: a program with privileges of its own does not get to see the other one.
const SETTLED: &str = "BELLWETHER_ALLOCATOR";

/// Starts the program anew with the settings, unless it has been or all of them are there; returns where that cannot be
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

/// The settings to start anew with, beside those that are there, which stay as they are.
fn wanted(is_settled: bool, tunables: &str) -> Option<String> {
    let missing = SETTINGS
        .iter()
        .filter(|(name, _)| !tunables.contains(name))
        .map(|(name, value)| format!("{name}={value}"));
    let missing: Vec<_> = missing.collect();
    if is_settled || missing.is_empty() {
        return None;
    }
    let there = Some(tunables.to_owned()).filter(|there| !there.is_empty());
    let all: Vec<_> = there.into_iter().chain(missing).collect();
    Some(all.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_others_stay_and_nothing_is_tried_twice() {
        let own = wanted(false, "").unwrap();
        assert!(own.contains("glibc.malloc.mmap_threshold=65536"), "{own}");
        assert_eq!(wanted(false, &own), None);
        let both = wanted(false, "glibc.malloc.arena_max=1").unwrap();
        assert!(both.starts_with("glibc.malloc.arena_max=1:"), "{both}");
        assert_eq!(both.matches("arena_max").count(), 1, "{both}");
        assert_eq!(wanted(true, ""), None);
    }
}
