//! Ready-made dependency checks: does a port accept connections, does a URL answer well? For a user's
//! `KitBuilder::check`; anything else is a closure for [`check`](super::check()).

use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONNECTION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;

use super::check::{Check, check};
use crate::connector::{self, Connector};

/// How a check names itself to the service it asks.
const AGENT: &str = concat!("bellwether/", env!("CARGO_PKG_VERSION"));
/// The most of an answer that is read, in bytes: its head. A check looks at no body.
const MAX_HEAD: usize = 16 * 1024;

/// Passes when `address`, such as `db:5432` or `[::1]:6379`, accepts a TCP connection, its name looked up anew
/// each time. Nothing is sent: that the port is open is all it shows.
///
/// An address without a port is a fault of [`start`](crate::KitBuilder::start).
///
/// ```
/// use bellwether::checks;
///
/// let db = checks::tcp("db:5432").critical().timeout_ms(500);
/// ```
pub fn tcp(address: impl Into<String>) -> Check {
    let address = address.into();
    if !has_port(&address) {
        return Check::faulty(format!(
            "{address:?} must be HOST:PORT, such as db:5432 or [::1]:6379"
        ));
    }
    check(move || {
        let address = address.clone();
        async move {
            match TcpStream::connect(address.as_str()).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("cannot connect to {address}: {error}")),
            }
        }
    })
}

/// Passes when a GET of `url` is answered with a status from 200 to 299, over HTTP/1.1 on a connection of its
/// own. Redirects are not followed, the answer's body is not read. `https://` needs the `tls` feature and
/// trusts the system's root certificates.
///
/// A URL that cannot be asked, or that holds credentials, is a fault of [`start`](crate::KitBuilder::start).
///
/// ```
/// use bellwether::checks;
///
/// let search = checks::http("http://search:9200/_cluster/health");
/// ```
pub fn http(url: impl AsRef<str>) -> Check {
    let url = url.as_ref();
    match parse(url) {
        Ok(uri) if uri.scheme_str() == Some("https") => https(&uri),
        Ok(uri) => asking(connector::plain(), uri),
        // Not the URL itself: it may hold the credentials.
        Err(fault) => Check::faulty(fault),
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && bare && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn parse(url: &str) -> Result<Uri, String> {
    let uri: Uri = url
        .parse()
        .map_err(|error| format!("the URL to ask cannot be read: {error}"))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    match uri.scheme_str() {
        Some("http" | "https") if authority.contains('@') => Err(
            "the URL to ask must not hold credentials: send them from a closure with `check`"
                .to_owned(),
        ),
        Some("http" | "https") => Ok(uri),
        _ => Err(format!(
            "{url:?} must be a URL to ask, such as http://search:9200/health"
        )),
    }
}

#[cfg(feature = "tls")]
fn https(uri: &Uri) -> Check {
    asking(connector::tls(), uri.clone())
}

#[cfg(not(feature = "tls"))]
fn https(uri: &Uri) -> Check {
    let needed = "without the feature `tls` of the bellwether crate";
    Check::faulty(format!("{uri} cannot be asked {needed}"))
}

fn asking(connector: Result<Connector, String>, uri: Uri) -> Check {
    let connector = match connector {
        Ok(connector) => connector,
        Err(error) => return Check::faulty(format!("{uri} cannot be asked, {error}")),
    };
    let client = Client::builder(TokioExecutor::new())
        // Each run shows that a connection can be made; none lies idle in between.
        .pool_max_idle_per_host(0)
        .http1_max_buf_size(MAX_HEAD)
        .build(connector);
    check(move || ask(client.clone(), uri.clone()))
}

async fn ask(client: Client<Connector, Full<Bytes>>, uri: Uri) -> Result<(), String> {
    let request = Request::get(&uri)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Full::default())
        .map_err(|error| error.to_string())?;
    let answer = client.request(request).await;
    let status = answer
        .map_err(|error| format!("no answer from {uri}: {}", causes(&error)))?
        .status();
    match status {
        status if status.is_success() => Ok(()),
        status if status.is_redirection() => Err(format!(
            "{uri} answered {status}; redirects are not followed"
        )),
        status => Err(format!("{uri} answered {status}")),
    }
}

/// What went wrong at the bottom: the client's own text says only that it did not work.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    }

    #[tokio::test]
    async fn a_port_that_accepts_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(tcp(format!("127.0.0.1:{port}")).probe().await, Ok(()));
        assert_eq!(tcp(format!("localhost:{port}")).probe().await, Ok(()));
        let closed = nobody().await;
        let error = tcp(closed.as_str()).probe().await.unwrap_err();
        assert!(error.contains(&closed), "{error}");
    }

    /// What the check makes of one answer, and the request it was sent.
    async fn asked(answer: &[u8]) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/health?deep=1", listener.local_addr().unwrap());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4_096];
            let read = stream.read(&mut request).await.unwrap();
            request.truncate(read);
            // A check that has seen enough has hung up.
            let _ = stream.write_all(answer).await;
            String::from_utf8(request).unwrap()
        };
        let check = http(url);
        tokio::join!(check.probe(), serve)
    }

    #[tokio::test]
    async fn the_status_decides() {
        async fn check(status: &str, error: Option<&str>) {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let (verdict, request) = asked(answer.as_bytes()).await;
            assert!(request.starts_with("GET /health?deep=1 HTTP/1.1\r\n"));
            assert!(request.contains("\r\nhost: 127.0.0.1:"), "{request}");
            assert!(request.contains("user-agent: bellwether/"), "{request}");
            match error {
                None => assert_eq!(verdict, Ok(())),
                Some(part) => assert!(verdict.as_ref().unwrap_err().contains(part), "{verdict:?}"),
            }
        }
        check("200 OK", None).await;
        check("204 No Content", None).await;
        check("302 Found", Some("redirects are not followed")).await;
        check("404 Not Found", Some("404")).await;
        check("503 Service Unavailable", Some("503")).await;
    }

    #[tokio::test]
    async fn an_answer_is_read_as_far_as_its_head() {
        let endless = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; 100_000]].concat();
        assert_eq!(asked(&endless).await.0, Ok(()));
        let head = [b"HTTP/1.1 200 OK\r\nx-long: ".as_slice(), &[b'x'; 100_000]].concat();
        assert!(asked(&head).await.0.is_err());
        assert!(asked(b"SSH-2.0-OpenSSH\r\n").await.0.is_err());
        let error = http(format!("http://{}/", nobody().await)).probe().await;
        assert!(error.unwrap_err().to_lowercase().contains("refused"));
    }

    #[test]
    fn what_cannot_be_asked_is_a_fault() {
        fn check(made: &Check, part: Option<&str>) {
            match (made.fault(), part) {
                (None, None) => {}
                (Some(fault), Some(part)) => assert!(fault.contains(part), "{fault}"),
                other => panic!("{other:?}"),
            }
        }
        check(&tcp("db:5432"), None);
        check(&tcp("[::1]:5432"), None);
        check(&tcp("db"), Some("\"db\" must be HOST:PORT"));
        check(&tcp("db:"), Some("HOST:PORT"));
        check(&tcp(":80"), Some("HOST:PORT"));
        check(&tcp("db:0"), Some("HOST:PORT"));
        check(&tcp("::1:80"), Some("HOST:PORT"));
        check(&tcp("http://db:80"), Some("HOST:PORT"));
        check(&http("http://search:9200"), None);
        check(&http("search:9200"), Some("must be a URL"));
        check(&http("ftp://search/"), Some("must be a URL"));
        check(&http("http://"), Some("cannot be read"));
        check(&http("http://me:secret@search/"), Some("credentials"));
        assert!(
            !http("http://me:secret@search/")
                .fault()
                .unwrap()
                .contains("secret")
        );
        let tls = http("https://search/");
        check(&tls, (!cfg!(feature = "tls")).then_some("feature `tls`"));
    }
}
