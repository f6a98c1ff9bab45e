//! File systems for one collector, which see no other process: one that can lose its power or be full, one that can be
//! taken away. In a mount namespace of the collector's own, so that nothing is left of them when it ends. Linux only.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::process::{Collector, wait_for};

/// An ext4 file system in an image. What is on it is what a disk would have: it outlasts the collector, and of a power
/// cut what was synced.
pub(crate) struct Image {
    directory: TempDir,
}

/// A directory that is mounted over an empty one.
pub(crate) struct Mounted {
    directory: TempDir,
}

impl Image {
    /// With so many MiB; `None`, and a line that says so, where it cannot be had.
    pub(crate) fn new(test: &str, mib: u32) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let image = Self { directory };
        let (path, at) = (image.path(), image.at());
        std::fs::create_dir(&at).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(u64::from(mib) << 20).unwrap();
        let made = done("mkfs.ext4", &["-q", "-F", path.to_str().unwrap()])
            && done("python3", &["-c", "import fcntl"])
            && done("unshare", &["-m", "sh", "-c", &image.mount()]);
        let why = "it takes root, loop devices, mkfs.ext4 and python3";
        let image = or_skipped(test, made.then_some(image), why)?;
        image.wait_until_free();
        Some(image)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn at(&self) -> PathBuf {
        self.directory.path().join("at")
    }

    fn mount(&self) -> String {
        let (path, at) = (self.path(), self.at());
        format!("mount -o loop {} {}", path.display(), at.display())
    }

    /// A collector whose data directory is on it.
    pub(crate) fn start(&self, url: &str, more: &[&str]) -> Collector {
        let data = self.at().join("data");
        let args = ["--data-dir", data.to_str().unwrap(), "--export", url];
        let script = within(&self.mount());
        Collector::start_through(&script, &[&args, more].concat())
    }

    /// Cuts its power: nothing that was not synced by now is ever written. The collector gets errors from now on. When
    /// that was, Unix nanoseconds.
    pub(crate) fn cut_power(&self, collector: &Collector) -> u128 {
        // FS_IOC_SHUTDOWN without a flush of the journal, which is there to test file systems in this very way.
        let script = "import fcntl,os,struct,sys,time\n\
                      at=os.open(sys.argv[1],os.O_RDONLY)\n\
                      print(time.time_ns(),flush=True)\n\
                      fcntl.ioctl(at,0x8004587d,struct.pack('I',2))";
        let at = format!("/proc/{}/root{}", collector.id(), self.at().display());
        let output = Command::new("python3").args(["-c", script, &at]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        told.trim().parse().unwrap()
    }

    /// Waits until nobody has it mounted any more.
    pub(crate) fn wait_until_free(&self) {
        let path = self.path();
        wait_for("the image to be unmounted", || {
            let mut losetup = Command::new("losetup");
            losetup.arg("-j").arg(&path);
            losetup.output().unwrap().stdout.is_empty()
        });
    }
}

impl Mounted {
    /// `None`, and a line that says so, where it cannot be had.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let mounted = Self { directory };
        for path in [mounted.behind(), mounted.at()] {
            std::fs::create_dir(path).unwrap();
        }
        let works = done("unshare", &["-m", "sh", "-c", &mounted.mount()]);
        or_skipped(test, works.then_some(mounted), "it takes root and mounts")
    }

    fn behind(&self) -> PathBuf {
        self.directory.path().join("behind")
    }

    /// Where it is mounted; looked at from here it is empty.
    pub(crate) fn at(&self) -> PathBuf {
        self.directory.path().join("at")
    }

    fn mount(&self) -> String {
        let (behind, at) = (self.behind(), self.at());
        format!("mount --bind {} {}", behind.display(), at.display())
    }

    /// A collector whose data directory it is.
    pub(crate) fn start(&self, url: &str) -> Collector {
        let at = self.at();
        let args = ["--data-dir", at.to_str().unwrap(), "--export", url];
        Collector::start_through(&within(&self.mount()), &args)
    }

    /// What a collector says that finds it read-only.
    pub(crate) fn start_read_only(&self) -> String {
        let mount = format!(
            "{} && mount -o remount,bind,ro {}",
            self.mount(),
            self.at().display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &within(&mount), env!("CARGO_BIN_EXE_bellwether")]);
        let ports = ["--otlp-grpc", "--otlp-http", "--zipkin", "--web"].map(|port| [port, "0"]);
        command.args(ports.as_flattened());
        let output = command.arg("--data-dir").arg(self.at()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Takes it from under a collector.
    pub(crate) fn take_away(&self, collector: &Collector) {
        self.change(collector, &format!("umount -l {}", self.at().display()));
    }

    /// Puts it back.
    pub(crate) fn give_back(&self, collector: &Collector) {
        self.change(collector, &self.mount());
    }

    fn change(&self, collector: &Collector, script: &str) {
        let pid = collector.id().to_string();
        assert!(done("nsenter", &["-t", &pid, "-m", "sh", "-c", script]));
    }
}

/// A script that goes on in a mount namespace of its own, behind `mount`.
fn within(mount: &str) -> String {
    format!("exec unshare -m sh -c '{mount} && exec \"$0\" \"$@\"' \"$0\" \"$@\"")
}

fn done(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::null());
    // The library of /sbin is not in everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.status().is_ok_and(|status| status.success())
}

/// Tells that a test is skipped where something cannot be had; also where peers are required, for these are rights of the
/// machine, which no script installs.
fn or_skipped<T>(test: &str, what: Option<T>, why: &str) -> Option<T> {
    if what.is_none() {
        // Past the test harness, which would hide the output of a test that passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
    }
    what
}

/// Whether a directory is empty.
pub(crate) fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).unwrap().next().is_none()
}
