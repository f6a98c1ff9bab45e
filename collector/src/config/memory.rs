//! The memory limit when none is asked for: what the cgroup this process runs in leaves. Used by `config`.

use std::fs;
use std::path::{Path, PathBuf};

/// `at_most`, or half the cgroup's limit where that is smaller.
pub(super) fn default_limit(root: &Path, at_most: usize) -> usize {
    cgroup_limit(root).map_or(at_most, |limit| at_most.min(limit / 2))
}

/// The smallest limit of the cgroups (version 2, then version 1) from this process's own up to the root;
/// `None` without any.
fn cgroup_limit(root: &Path) -> Option<usize> {
    let own = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let version_2 = root.join("sys/fs/cgroup");
    let version_1 = version_2.join("memory");
    own.lines()
        .filter_map(|line| {
            let (_, line) = line.split_once(':')?;
            let (controllers, path) = line.split_once(':')?;
            match controllers {
                "" => smallest(&version_2, path, "memory.max"),
                "memory" => smallest(&version_1, path, "memory.limit_in_bytes"),
                _ => None,
            }
        })
        .min()
}

/// The smallest limit in `file` along `path` below `mount`. A container may see another mount than the
/// path was written for; what does not exist is passed over.
fn smallest(mount: &Path, path: &str, file: &str) -> Option<usize> {
    let own: PathBuf = mount.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|folder| folder.starts_with(mount))
        .filter_map(|folder| fs::read_to_string(folder.join(file)).ok())
        // "max" is no number, and no limit.
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files in it, removed at the end.
    struct Root(PathBuf);

    impl Root {
        fn with(name: &str, files: &[(&str, &str)]) -> Self {
            let folder = format!("bellwether-cgroup-{}-{name}", std::process::id());
            let root = std::env::temp_dir().join(folder);
            for (path, content) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn check(name: &str, files: &[(&str, &str)], expected: usize) {
        let root = Root::with(name, files);
        assert_eq!(default_limit(&root.0, 1_000), expected, "{name}");
    }

    #[test]
    fn half_of_the_smallest_limit_counts() {
        check("none", &[], 1_000);
        let own = ("proc/self/cgroup", "0::/a/b\n");
        check(
            "unlimited",
            &[own, ("sys/fs/cgroup/a/b/memory.max", "max\n")],
            1_000,
        );
        check(
            "roomy",
            &[own, ("sys/fs/cgroup/a/b/memory.max", "9000\n")],
            1_000,
        );
        check(
            "parent",
            &[
                own,
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/memory.max", "600\n"),
                ("sys/fs/cgroup/memory.max", "700\n"),
            ],
            300,
        );
        check(
            "version-1",
            &[
                ("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n0::/\n"),
                ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "800"),
            ],
            400,
        );
        check(
            "hostile",
            &[
                ("proc/self/cgroup", "0::/../../etc\nnonsense\n"),
                ("sys/fs/cgroup/memory.max", "-3"),
            ],
            1_000,
        );
    }
}
