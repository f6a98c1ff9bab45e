//! Binding the listeners: an address that was asked for must be had, a default one may be left out. Used by
//! `pipeline` before anything else starts.

use std::{fmt, io};

use tokio::net::{TcpListener, lookup_host};

use crate::config::ListenAddress;

/// A listener, or why there is none.
pub(super) type Bound = Result<Listening, String>;

/// A bound listener.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: TcpListener,
    /// `HOST:PORT`, as really bound.
    pub(super) address: String,
}

/// Addresses that cannot be had, all of them.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen:\n{}", lines(.0))]
pub struct BindError(Vec<BindFault>);

/// One address that cannot be had.
#[derive(Debug)]
struct BindFault {
    /// `--web 127.0.0.1:4319`: the flag or variable that says so, and what it says.
    place: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// The name of the host leads nowhere.
    Unresolved(io::Error),
    /// No interface of this machine has the host's address.
    NotOurs,
    Taken,
    Other(io::Error),
}

/// Binds each of `wanted`, those that were asked for first, so that a default cannot take their place.
///
/// # Errors
/// Every address that was asked for and cannot be had, every default that cannot for another reason than being taken;
/// or none at all.
pub(super) async fn all<const N: usize>(
    wanted: [(&'static str, &ListenAddress); N],
) -> Result<[Bound; N], BindError> {
    let mut bound: [Bound; N] = std::array::from_fn(|_| Err(String::new()));
    let (mut faults, mut left_out) = (Vec::new(), Vec::new());
    for asked_for in [true, false] {
        for ((protocol, address), bound) in wanted.into_iter().zip(&mut bound) {
            if address.asked_by.is_some() != asked_for {
                continue;
            }
            *bound = match one(address).await {
                Ok(listening) => Ok(listening),
                Err(cause) => {
                    let may_be_left_out = !asked_for && matches!(cause, Cause::Taken);
                    let fault = BindFault::new(protocol, address, cause);
                    if may_be_left_out {
                        left_out.push(fault);
                    } else {
                        faults.push(fault);
                    }
                    Err(format!("{address} is taken by another program"))
                }
            };
        }
    }
    if faults.is_empty() && bound.iter().all(Result::is_err) {
        faults = left_out;
    }
    if faults.is_empty() {
        Ok(bound)
    } else {
        Err(BindError(faults))
    }
}

async fn one(address: &ListenAddress) -> Result<Listening, Cause> {
    // Apart from binding, for its errors do not tell a name that leads nowhere from an address that is taken.
    let places: Vec<_> = lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(Cause::Unresolved)?
        .collect();
    let listener = TcpListener::bind(&places[..]).await.map_err(Cause::of)?;
    let address = listener.local_addr().map_err(Cause::Other)?.to_string();
    Ok(Listening { listener, address })
}

impl Cause {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::Taken,
            io::ErrorKind::AddrNotAvailable => Self::NotOurs,
            _ => Self::Other(error),
        }
    }
}

impl BindFault {
    fn new(protocol: &str, address: &ListenAddress, cause: Cause) -> Self {
        let of_host = matches!(cause, Cause::Unresolved(_) | Cause::NotOurs);
        let place = match &address.asked_by {
            Some(flag) => format!("{flag} {address}"),
            // Only --listen changes the host of a default.
            None if of_host => format!("--listen {}", address.host),
            None => format!("--{protocol} {address} (the default)"),
        };
        Self { place, cause }
    }
}

impl fmt::Display for BindFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const OURS: &str = "write a host of this machine, such as 127.0.0.1, or 0.0.0.0 for all";
        write!(f, "{}: ", self.place)?;
        match &self.cause {
            Cause::Unresolved(source) => {
                write!(f, "the host name does not resolve ({source}); {OURS}")
            }
            Cause::NotOurs => write!(f, "this machine does not have that address; {OURS}"),
            Cause::Taken => f.write_str(
                "address in use; choose another port, or stop the program that listens there",
            ),
            Cause::Other(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                f.write_str("not permitted; choose a port from 1024 up")
            }
            Cause::Other(source) => write!(f, "{source}; choose another address"),
        }
    }
}

/// One line each; a host that is wrong for three listeners is told once.
fn lines(faults: &[BindFault]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in faults.iter().map(BindFault::to_string) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fault_peers::Nobody;

    fn address(port: u16, asked_by: Option<&str>) -> ListenAddress {
        ListenAddress {
            host: "127.0.0.1".to_owned(),
            port,
            asked_by: asked_by.map(str::to_owned),
        }
    }

    async fn taken() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn a_taken_default_is_left_out_and_told() {
        let (_taken, port) = taken().await;
        let [grpc, web] = all([
            ("otlp-grpc", &address(port, None)),
            ("web", &address(0, None)),
        ])
        .await
        .unwrap();
        let expected = format!("127.0.0.1:{port} is taken by another program");
        assert_eq!(grpc.unwrap_err(), expected);
        assert!(
            !web.unwrap().address.ends_with(":0"),
            "the bound port is told"
        );
    }

    #[tokio::test]
    async fn every_taken_address_that_was_asked_for_is_told_with_its_flag() {
        let (_taken, port) = taken().await;
        let (_taken_too, other) = taken().await;
        let text = error_of([
            ("otlp-grpc", &address(0, None)),
            ("otlp-http", &address(other, Some("--otlp-http"))),
            ("web", &address(port, Some("BELLWETHER_WEB"))),
        ])
        .await;
        let lines: Vec<_> = text.lines().skip(1).collect();
        let [http, web] = lines[..] else {
            panic!("two lines expected: {text}");
        };
        let expected = format!("--otlp-http 127.0.0.1:{other}: address in use; ");
        assert!(http.starts_with(&expected), "{text}");
        let expected = format!("BELLWETHER_WEB 127.0.0.1:{port}: address in use; ");
        assert!(web.starts_with(&expected), "{text}");
    }

    async fn error_of<const N: usize>(wanted: [(&'static str, &ListenAddress); N]) -> String {
        all(wanted).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_was_asked_for_comes_before_a_default() {
        let nobody = Nobody::start();
        let port = nobody.address.port();
        let [grpc, web] = all([
            ("otlp-grpc", &address(port, None)),
            ("web", &address(port, Some("--web"))),
        ])
        .await
        .unwrap();
        assert!(grpc.is_err());
        assert!(web.is_ok());
    }

    #[tokio::test]
    async fn nothing_bound_at_all_is_an_error() {
        let (_taken, port) = taken().await;
        let text = error_of([("web", &address(port, None))]).await;
        let expected = format!("--web 127.0.0.1:{port} (the default): address in use");
        assert!(text.contains(&expected), "{text}");
    }

    #[tokio::test]
    async fn a_host_that_cannot_be_is_told_once_and_as_what_it_is() {
        let on = |host: &str, asked_by: Option<&str>| ListenAddress {
            host: host.to_owned(),
            port: 0,
            asked_by: asked_by.map(str::to_owned),
        };
        // Neither can exist: RFC 5737 keeps the address for documentation, RFC 6761 the name for tests.
        let (elsewhere, nonsense) = (on("192.0.2.1", None), on("nonsense.invalid", None));
        let text = error_of([("web", &elsewhere), ("otlp-grpc", &elsewhere)]).await;
        let expected = "--listen 192.0.2.1: this machine does not have that address";
        assert_eq!(text.matches(expected).count(), 1, "{text}");
        let text = error_of([("web", &nonsense), ("otlp-grpc", &nonsense)]).await;
        let expected = "--listen nonsense.invalid: the host name does not resolve";
        assert_eq!(text.matches(expected).count(), 1, "{text}");
        let text = error_of([("web", &on("nonsense.invalid", Some("--web")))]).await;
        let expected = "--web nonsense.invalid:0: the host name does not resolve";
        assert!(text.contains(expected), "{text}");
    }
}
