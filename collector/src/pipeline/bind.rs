//! Binding the listeners: an address that was asked for must be had, a default one may be left out. Used by
//! `pipeline` before anything else starts.

use std::io;

use tokio::net::TcpListener;

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

/// An address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {protocol}{asked}: {source}; choose another address or stop what uses it"
)]
pub struct BindError {
    /// `otlp-grpc`, `otlp-http`, `web`.
    pub protocol: &'static str,
    /// `HOST:PORT` as asked for.
    pub address: String,
    /// ` (--web)`, or empty for a default.
    pub asked: String,
    /// What the operating system said.
    pub source: io::Error,
}

/// Binds each of `wanted`, those that were asked for first, so that a default cannot take their place.
///
/// # Errors
/// An address that was asked for, or a default for another reason than being taken; or none at all.
pub(super) async fn all<const N: usize>(
    wanted: [(&'static str, &ListenAddress); N],
) -> Result<[Bound; N], BindError> {
    let mut bound: [Bound; N] = std::array::from_fn(|_| Err(String::new()));
    let mut failure = None;
    for asked_for in [true, false] {
        for ((protocol, address), bound) in wanted.into_iter().zip(&mut bound) {
            if address.asked_by.is_some() != asked_for {
                continue;
            }
            *bound = match one(address).await {
                Ok(listening) => Ok(listening),
                Err(source) => {
                    let error = error(protocol, address, source);
                    if asked_for || error.source.kind() != io::ErrorKind::AddrInUse {
                        return Err(error);
                    }
                    let reason = format!("{} is taken by another program", error.address);
                    failure = Some(error);
                    Err(reason)
                }
            };
        }
    }
    match failure {
        Some(error) if bound.iter().all(Result::is_err) => Err(error),
        _ => Ok(bound),
    }
}

async fn one(address: &ListenAddress) -> io::Result<Listening> {
    let listener = TcpListener::bind((address.host.as_str(), address.port)).await?;
    let address = listener.local_addr()?.to_string();
    Ok(Listening { listener, address })
}

fn error(protocol: &'static str, address: &ListenAddress, source: io::Error) -> BindError {
    let asked = address.asked_by.as_ref();
    BindError {
        protocol,
        address: address.to_string(),
        asked: asked.map(|flag| format!(" ({flag})")).unwrap_or_default(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    async fn a_taken_address_that_was_asked_for_is_an_error() {
        let (_taken, port) = taken().await;
        let web = address(port, Some("--web"));
        let error = all([("otlp-grpc", &address(0, None)), ("web", &web)])
            .await
            .unwrap_err();
        let text = error.to_string();
        let expected = format!("cannot listen on 127.0.0.1:{port} for web (--web): ");
        assert!(text.starts_with(&expected), "{text}");
    }

    #[tokio::test]
    async fn what_was_asked_for_comes_before_a_default() {
        let (listener, port) = taken().await;
        drop(listener);
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
        assert!(all([("web", &address(port, None))]).await.is_err());
    }

    #[tokio::test]
    async fn a_host_that_is_not_ours_is_an_error() {
        // 192.0.2.0/24 is reserved for documentation (RFC 5737), so no interface has it.
        let elsewhere = ListenAddress {
            host: "192.0.2.1".to_owned(),
            port: 0,
            asked_by: None,
        };
        assert!(all([("web", &elsewhere)]).await.is_err());
    }
}
