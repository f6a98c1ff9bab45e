//! Where an exporter sends to: an `--export` URL, parsed and checked. `config` reads it, the worker
//! connects to it.

use std::fmt;
use std::str::FromStr;

use http::uri::{Authority, PathAndQuery};

use crate::signal::{Signal, Signals};

/// The protocol an exporter speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetKind {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP/1.1, binary protobuf.
    OtlpHttp,
    /// Zipkin's JSON v2 over HTTP/1.1.
    Zipkin,
}

/// A parsed export URL. [`Display`](fmt::Display) writes it in full: defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The protocol.
    pub kind: TargetKind,
    /// Whether it is spoken in TLS; plaintext HTTP/2 is begun with prior knowledge.
    pub tls: bool,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port; the protocol's own unless given.
    pub port: u16,
    /// Path of the requests, of OTLP's those with traces; empty for gRPC, whose paths are fixed.
    pub path: String,
}

/// Why a text is no export URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No `SCHEME://`.
    #[error("`{0}` has no scheme; write it like {EXAMPLES}")]
    NoScheme(String),
    /// A scheme nobody knows.
    #[error("`{0}://` is no export scheme; allowed are {EXAMPLES}")]
    UnknownScheme(String),
    /// A scheme that is reserved for a later version.
    #[error("`{scheme}://` is not available in this version; use {instead}")]
    NotAvailable {
        /// The scheme asked for.
        scheme: String,
        /// What to use until then.
        instead: &'static str,
    },
    /// No host, or one that cannot be.
    #[error("`{0}` has no valid host; write HOST or HOST:PORT after the scheme")]
    BadHost(String),
    /// Not a port number from 1 to 65535.
    #[error("`{0}` is no port number; allowed are 1 to 65535")]
    BadPort(String),
    /// User and password in the URL, which would show in logs and status.
    #[error(
        "user and password do not belong in an export URL; leave out what stands before the `@`"
    )]
    Credentials,
    /// A path where none is allowed, or one that is not valid.
    #[error("`{path}` is no path for {kind}; {allowed}")]
    BadPath {
        /// What was given, without its query, which may hold a secret.
        path: String,
        /// The protocol.
        kind: TargetKind,
        /// What is allowed.
        allowed: &'static str,
    },
}

const EXAMPLES: &str = "otlp+grpc://HOST:4317, otlp+http://HOST:4318, zipkin+http://HOST:9411 \
                        (otlp+grpcs, otlp+https, zipkin+https for TLS)";

impl Target {
    /// Parses an export URL: `otlp+grpc://HOST[:PORT]`, `otlp+http://HOST[:PORT][/PATH]` or
    /// `zipkin+http://HOST[:PORT][/PATH]`; an `s` after the scheme is TLS. The path of OTLP is the one before `/v1/traces`,
    /// `/v1/logs` and `/v1/metrics`, as that of `OTEL_EXPORTER_OTLP_ENDPOINT` (OTLP exporter specification, endpoint URLs);
    /// that of traces does, too.
    ///
    /// # Errors
    /// [`TargetError`] says what is wrong with which part, and what is allowed.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let url = url.trim();
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| TargetError::NoScheme(without_credentials(url).to_owned()))?;
        let (kind, tls) = kind_of(scheme)?;
        let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        if authority.contains('@') {
            return Err(TargetError::Credentials);
        }
        let (host, port) = host_and_port(authority, kind)?;
        let path = path_for(kind, path)?;
        Ok(Self {
            kind,
            tls,
            host,
            port,
            path,
        })
    }

    /// Path of the requests with `signal`.
    pub fn path_of(&self, signal: Signal) -> String {
        match self.kind {
            TargetKind::OtlpGrpc => signal.grpc_path().to_owned(),
            TargetKind::Zipkin => self.path.clone(),
            TargetKind::OtlpHttp => {
                let base = self.path.strip_suffix(Signal::Traces.http_path());
                format!("{}{}", base.unwrap_or(&self.path), signal.http_path())
            }
        }
    }

    /// `HOST:PORT`, as `Host` and `:authority` want it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        Self::parse(url)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "s" } else { "" };
        write!(f, "{}{tls}://{}{}", self.kind, self.authority(), self.path)
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtlpGrpc => "otlp+grpc",
            Self::OtlpHttp => "otlp+http",
            Self::Zipkin => "zipkin+http",
        })
    }
}

impl TargetKind {
    fn default_port(self) -> u16 {
        match self {
            Self::OtlpGrpc => 4317,
            Self::OtlpHttp => 4318,
            Self::Zipkin => 9411,
        }
    }

    /// What can be sent in it.
    pub fn signals(self) -> Signals {
        match self {
            Self::OtlpGrpc | Self::OtlpHttp => Signals::ALL,
            Self::Zipkin => [Signal::Traces].into_iter().collect(),
        }
    }

    fn default_path(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "",
            Self::OtlpHttp => Signal::Traces.http_path(),
            Self::Zipkin => "/api/v2/spans",
        }
    }
}

/// The protocol of a scheme, and whether it is spoken in TLS.
fn kind_of(scheme: &str) -> Result<(TargetKind, bool), TargetError> {
    match scheme.to_ascii_lowercase().as_str() {
        "otlp+grpc" => Ok((TargetKind::OtlpGrpc, false)),
        "otlp+grpcs" => Ok((TargetKind::OtlpGrpc, true)),
        "otlp+http" => Ok((TargetKind::OtlpHttp, false)),
        "otlp+https" => Ok((TargetKind::OtlpHttp, true)),
        "zipkin+http" => Ok((TargetKind::Zipkin, false)),
        "zipkin+https" => Ok((TargetKind::Zipkin, true)),
        "kafka" => Err(TargetError::NotAvailable {
            scheme: scheme.to_owned(),
            instead: "otlp+grpc:// to an OpenTelemetry Collector that writes to Kafka",
        }),
        _ => Err(TargetError::UnknownScheme(
            without_credentials(scheme).to_owned(),
        )),
    }
}

fn host_and_port(authority: &str, kind: TargetKind) -> Result<(String, u16), TargetError> {
    let bad_host = || TargetError::BadHost(authority.to_owned());
    // An IPv6 address has colons of its own, so the port starts after its bracket.
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let colon = authority.get(host_end..).and_then(|rest| rest.find(':'));
    let (host, port) = match colon {
        Some(colon) => {
            let (host, port) = authority.split_at(host_end + colon);
            (host, port.strip_prefix(':'))
        }
        None => (authority, None),
    };
    let parsed: Authority = host.parse().map_err(|_| bad_host())?;
    let host = parsed.host();
    if host.is_empty() || host != parsed.as_str() {
        return Err(bad_host());
    }
    let port = match port {
        Some(text) => port_number(text)?,
        None => kind.default_port(),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(bad_host()),
        None => host,
    };
    Ok((host.to_owned(), port))
}

fn port_number(text: &str) -> Result<u16, TargetError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(TargetError::BadPort(text.to_owned())),
    }
}

fn path_for(kind: TargetKind, path: &str) -> Result<String, TargetError> {
    let bad = |allowed| {
        let told = path.split_once('?').map(|(path, _)| format!("{path}?***"));
        Err(TargetError::BadPath {
            path: told.unwrap_or_else(|| path.to_owned()),
            kind,
            allowed,
        })
    };
    if path.is_empty() || path == "/" {
        return Ok(kind.default_path().to_owned());
    }
    if kind == TargetKind::OtlpGrpc {
        return bad("gRPC has fixed paths, leave it out");
    }
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return bad("neither a query nor a fragment may follow it");
    }
    match path.parse::<PathAndQuery>() {
        Ok(valid) if kind == TargetKind::OtlpHttp => {
            let base = valid.as_str().trim_end_matches('/');
            let is_of = |signal: Signal| base.ends_with(signal.http_path());
            if is_of(Signal::Logs) || is_of(Signal::Metrics) {
                return bad("leave out the end that names a signal, each gets its own");
            }
            let traces = Signal::Traces.http_path();
            let base = base.strip_suffix(traces).unwrap_or(base);
            Ok(format!("{base}{traces}"))
        }
        Ok(valid) => Ok(valid.as_str().to_owned()),
        Err(_) => bad("only characters of a URL path, others percent-encoded"),
    }
}

fn without_credentials(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(url: &str, expected: Result<(TargetKind, &str, u16, &str), &str>) {
        match (Target::parse(url), expected) {
            (Ok(target), Ok((kind, host, port, path))) => {
                assert_eq!(target.kind, kind, "{url}");
                assert_eq!(target.host, host, "{url}");
                assert_eq!(target.port, port, "{url}");
                assert_eq!(target.path, path, "{url}");
                let scheme = url.trim().split("://").next().unwrap_or_default();
                assert_eq!(target.tls, scheme.ends_with('s'), "{url}");
                assert_eq!(target.to_string().parse(), Ok(target), "{url}");
            }
            (Err(error), Err(part)) => {
                let text = error.to_string();
                assert!(text.contains(part), "{url}: `{text}` lacks `{part}`");
            }
            (got, expected) => panic!("{url}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn export_urls_and_their_defaults() {
        use TargetKind::{OtlpGrpc, OtlpHttp, Zipkin};
        check("otlp+grpc://tempo", Ok((OtlpGrpc, "tempo", 4317, "")));
        check("otlp+grpc://tempo:99/", Ok((OtlpGrpc, "tempo", 99, "")));
        check("OTLP+GRPC://[::1]", Ok((OtlpGrpc, "::1", 4317, "")));
        check("otlp+grpc://[::1]:7", Ok((OtlpGrpc, "::1", 7, "")));
        check(
            " otlp+http://a.b ",
            Ok((OtlpHttp, "a.b", 4318, "/v1/traces")),
        );
        check(
            "otlp+http://a/x/y",
            Ok((OtlpHttp, "a", 4318, "/x/y/v1/traces")),
        );
        for base in ["otlp+http://a/x/", "otlp+http://a/x/v1/traces/"] {
            check(base, Ok((OtlpHttp, "a", 4318, "/x/v1/traces")));
        }
        check("zipkin+http://z", Ok((Zipkin, "z", 9411, "/api/v2/spans")));
        check("zipkin+http://z:80/p", Ok((Zipkin, "z", 80, "/p")));
        check("otlp+grpcs://tempo", Ok((OtlpGrpc, "tempo", 4317, "")));
        check("otlp+https://a:443", Ok((OtlpHttp, "a", 443, "/v1/traces")));
        check("zipkin+https://z", Ok((Zipkin, "z", 9411, "/api/v2/spans")));
    }

    #[test]
    fn each_signal_has_its_path_beside_that_of_traces() {
        let check = |url: &str, expected: [&str; 3]| {
            let target = Target::parse(url).unwrap();
            assert_eq!(Signal::ALL.map(|signal| target.path_of(signal)), expected);
        };
        let paths = ["/v1/traces", "/v1/logs", "/v1/metrics"];
        check("otlp+http://a", paths);
        check("otlp+https://a/v1/traces", paths);
        let below = ["/x/v1/traces", "/x/v1/logs", "/x/v1/metrics"];
        check("otlp+http://a/x", below);
        check("otlp+grpc://a", Signal::ALL.map(Signal::grpc_path));
        check("zipkin+http://a/spans", ["/spans"; 3]);
    }

    #[test]
    fn faults_name_the_part_and_what_is_allowed() {
        check("tempo:4317", Err("no scheme"));
        check("", Err("no scheme"));
        check("http://tempo", Err("`http://` is no export scheme"));
        check("kafka://t", Err("not available in this version"));
        check("otlp+grpc://", Err("no valid host"));
        check("otlp+grpc://:4317", Err("no valid host"));
        check("otlp+grpc://a b", Err("no valid host"));
        check("otlp+grpc://::1", Err("no valid host"));
        check("otlp+grpc://[::zz]:1", Err("no valid host"));
        check("otlp+grpc://t:0", Err("`0` is no port number"));
        check("otlp+grpc://t:65536", Err("`65536` is no port number"));
        check("otlp+grpc://t:http", Err("`http` is no port number"));
        check("otlp+grpc://t:+80", Err("`+80` is no port number"));
        check("otlp+grpc://t::1", Err("`:1` is no port number"));
        check("otlp+grpc://t:", Err("`` is no port number"));
        check("otlp+grpc://t/v1/traces", Err("fixed paths"));
        check("otlp+http://t/a?b=c", Err("query"));
        check("otlp+http://t?b=c", Err("query"));
        check("otlp+http://t/a b", Err("URL path"));
        check("otlp+http://t/v1/logs", Err("names a signal"));
        check("otlp+http://t/a/v1/metrics/", Err("names a signal"));
    }

    #[test]
    fn a_password_is_never_repeated() {
        for url in [
            "otlp+grpc://u:secret@t",
            "u:secret@t",
            "u:secret@otlp+grpc://t",
            "otlp+http://t/a?key=secret",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(url in "(otlp\\+grpcs?://|otlp\\+https?://|zipkin\\+https?://)?.{0,40}") {
            if let Ok(target) = Target::parse(&url) {
                prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
            }
        }
    }
}
