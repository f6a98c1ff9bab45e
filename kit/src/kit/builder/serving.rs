//! The setters for how the service is reached, trusted, timed and stopped.

use std::net::SocketAddr;
use std::time::Duration;

use super::KitBuilder;
use crate::context::Trust;

impl KitBuilder {
    /// All of the shutdown, flush included, whatever `BELLWETHER_GRACE` says.
    pub fn grace(self, grace: Duration) -> Self {
        self.set("BELLWETHER_GRACE", Ok(grace), |config, grace| {
            config.grace = grace;
        })
    }

    /// How long the service stays reachable once it is unready, whatever `BELLWETHER_DRAIN_DELAY` says;
    /// must be shorter than the grace.
    pub fn drain_delay(self, delay: Duration) -> Self {
        self.set("BELLWETHER_DRAIN_DELAY", Ok(delay), |config, delay| {
            config.drain_delay = delay;
        })
    }

    /// Who may set request id, sampled flag and client address, whatever `BELLWETHER_TRUST` says: `private`,
    /// `all`, `none` or CIDRs. A policy that cannot be read is a fault of [`start`](Self::start).
    pub fn trust(self, policy: &str) -> Self {
        let trust = Trust::parse(policy).map_err(|fault| format!("trust({policy:?}): {fault}"));
        self.set("BELLWETHER_TRUST", trust, |config, trust| {
            config.trust = trust;
        })
    }

    /// How long a request may take, its response's body included, whatever `BELLWETHER_REQUEST_TIMEOUT`
    /// says.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        self.set(
            "BELLWETHER_REQUEST_TIMEOUT",
            Ok(timeout),
            |config, timeout| {
                config.request_timeout = Some(timeout);
            },
        )
    }

    /// How long the runtime may run no task before `/livez` fails, whatever `BELLWETHER_LIVENESS_TIMEOUT`
    /// says; `None` leaves it unwatched.
    ///
    /// A runtime whose threads are all blocked answers nothing, `/livez` on the service's own port neither:
    /// a probe there fails by its time-out. The admin address answers from a thread of its own, so a probe
    /// there is told what is wrong. After a third of the time-out an error line says it, and
    /// `bellwether_runtime_stalls_total` counts it. Watched is the runtime that [`start`](Self::start) is
    /// called in, from when the service has started; time in which the whole process stood still, as in a
    /// debugger, does not count.
    pub fn liveness_timeout(self, timeout: Option<Duration>) -> Self {
        let timeout = timeout.filter(|timeout| !timeout.is_zero());
        self.set(
            "BELLWETHER_LIVENESS_TIMEOUT",
            Ok(timeout),
            |config, timeout| {
                config.liveness_timeout = timeout;
            },
        )
    }

    /// Where operators find `/metrics` and the probes, whatever `BELLWETHER_ADMIN_ADDR` says.
    pub fn admin_addr(self, address: SocketAddr) -> Self {
        self.set("BELLWETHER_ADMIN_ADDR", Ok(address), |config, address| {
            config.admin_addr = Some(address);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::kit::Description;

    #[test]
    fn each_setter_is_told_under_its_own_name() {
        let builder = KitBuilder::without_env("orders")
            .grace(Duration::from_secs(30))
            .drain_delay(Duration::from_secs(1))
            .trust("none")
            .request_timeout(Duration::from_millis(1_500))
            .liveness_timeout(Some(Duration::ZERO))
            .admin_addr("127.0.0.1:9090".parse().unwrap());
        let told = Description::new(&builder.config, false, None);
        let by_code = told.settings();
        let by_code = by_code.filter(|setting| setting.source() == Source::Code);
        let by_code: Vec<_> = by_code
            .map(|setting| (setting.name(), setting.value()))
            .collect();
        let expected = [
            ("admin_addr", "127.0.0.1:9090"),
            ("grace", "30s"),
            ("drain_delay", "1s"),
            ("request_timeout", "1.5s"),
            ("liveness_timeout", "off"),
            ("trust", "none"),
        ];
        assert_eq!(by_code, expected);
    }
}
