//! What containers of one pod share: a network of their own, in which every port is free and loopback is theirs alone.
//! `examples/tests/kubernetes` runs what manifests say in it, with the very ports that they name.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::Process;
use crate::wait::wait_for;

/// Turns loopback on, says so, and stays until it is killed.
const PAUSE: &str = "
import fcntl, socket, struct, sys
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, struct.pack('16sh', b'lo', IFF_UP))
print('up', flush=True)
sys.stdin.read()
";

/// A network with nothing in it yet. It goes when this and what runs in it have gone.
#[derive(Debug)]
pub struct Pod {
    namespace: File,
    _pause: Process,
}

impl Pod {
    /// Makes one; `None` where that is not allowed: it takes root.
    pub fn start(python: &Path) -> Option<Self> {
        let mut allowed = Command::new("unshare");
        allowed.args(["--net", "true"]);
        if !allowed.output().ok()?.status.success() {
            return None;
        }
        let mut command = Command::new("unshare");
        command.arg("--net").arg(python).args(["-c", PAUSE]);
        let pause = Process::start("pause", &mut command);
        wait_for("the loopback of a pod", || {
            pause.output().contains(&"up".to_owned()).then_some(())
        });
        let namespace = File::open(format!("/proc/{}/ns/net", pause.id())).ok()?;
        Some(Self {
            namespace,
            _pause: pause,
        })
    }

    /// Runs this in the pod's network, on a thread of its own: processes it starts and connections it makes are there.
    ///
    /// # Panics
    /// When `run` does, or the network cannot be entered.
    pub fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let entered = || {
            move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the pod's network");
            run()
        };
        let ended = std::thread::scope(|scope| scope.spawn(entered).join());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
