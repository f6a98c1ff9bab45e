//! `bellwether probe`: asks the collector beside it whether it is ready, for exec probes in images that have
//! neither shell nor client. Called by `main_with`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::ListenAddress;

/// Of each step; Kubernetes gives a whole probe one second unless told otherwise.
const TIMEOUT: Duration = Duration::from_millis(900);

/// Enough of the answer for its status line and a short reason.
const ANSWER_BYTES: u64 = 4_096;

/// Why the collector is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody answers there.
    #[error("no collector answers at {address}: {source}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Somebody answers, but not with 200.
    #[error("the collector at {address} is not ready: {answer}")]
    NotReady {
        /// Where it was asked.
        address: String,
        /// Its status line, or what came in its place.
        answer: String,
    },
}

/// Asks for `/readyz` at the collector's web address.
///
/// # Errors
/// [`ProbeError`] unless the answer is 200.
pub fn probe(web: &ListenAddress) -> Result<(), ProbeError> {
    let address = reachable(web);
    let answer = ask(&address).map_err(|source| ProbeError::Unreachable {
        address: address.to_string(),
        source,
    })?;
    let mut words = answer.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    if is_http && words.next() == Some("200") {
        return Ok(());
    }
    Err(ProbeError::NotReady {
        address: address.to_string(),
        answer: answer.lines().next().unwrap_or("no answer").to_owned(),
    })
}

/// What listens on every address is asked on loopback.
fn reachable(web: &ListenAddress) -> ListenAddress {
    let host = match web.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    ListenAddress {
        host: host.to_owned(),
        ..web.clone()
    }
}

fn ask(web: &ListenAddress) -> io::Result<String> {
    let mut stream = connect(web)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nhost: {web}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn connect(web: &ListenAddress) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (web.host.as_str(), web.port).to_socket_addrs()?.collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn address(host: &str, port: u16) -> ListenAddress {
        ListenAddress {
            host: host.to_owned(),
            port,
            asked_by: None,
        }
    }

    /// Probes a listener that gives this answer to one request.
    fn probe_answered(answer: &'static str) -> Result<(), ProbeError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        let probed = probe(&address("0.0.0.0", port));
        let request = server.join().unwrap();
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\n"), "{request}");
        probed
    }

    #[test]
    fn only_200_is_ready() {
        assert!(probe_answered("HTTP/1.1 200 OK\r\n\r\nok").is_ok());
        for answer in [
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            "SSH-2.0-x 200\r\n",
            "",
        ] {
            let error = probe_answered(answer).unwrap_err();
            assert!(
                matches!(error, ProbeError::NotReady { .. }),
                "{answer}: {error}"
            );
        }
    }

    #[test]
    fn nobody_there_is_not_ready() {
        // Bound and not listening: no other test gets the port meanwhile.
        let nobody = tokio::net::TcpSocket::new_v4().unwrap();
        nobody.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let port = nobody.local_addr().unwrap().port();
        let error = probe(&address("127.0.0.1", port)).unwrap_err();
        assert!(matches!(error, ProbeError::Unreachable { .. }), "{error}");
    }
}
