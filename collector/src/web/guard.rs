//! What stands in front of every page and of the API: the check of `Host` against DNS rebinding, and
//! the security headers of every answer. Mounted by `web::router`.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Web, api};

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// Refuses a request whose `Host` is a name this collector was not told to answer to: 421.
pub(super) async fn check_host(State(web): State<Web>, request: Request, next: Next) -> Response {
    match refusal(&request, &web.allowed_hosts) {
        None => next.run(request).await,
        Some((status, text)) if request.uri().path().starts_with("/api/v1") => {
            api::turned_away(status, text.trim_end().to_owned())
        }
        Some((status, text)) => (status, text).into_response(),
    }
}

/// Sets the headers that keep a page from being framed, sniffed, or made to run a stranger's script.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    set(
        headers,
        header::CONTENT_SECURITY_POLICY,
        CONTENT_SECURITY_POLICY,
    );
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::REFERRER_POLICY, "same-origin");
    set(
        headers,
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    if !headers.contains_key(header::CACHE_CONTROL) {
        set(headers, header::CACHE_CONTROL, "no-store");
    }
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

fn refusal(request: &Request, allowed: &[String]) -> Option<(StatusCode, String)> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::to_str);
    let authority = match (request.uri().authority(), host, hosts.next()) {
        (Some(authority), _, None) => Ok(authority.clone()),
        (None, Some(Ok(host)), None) => host.parse::<Authority>().map_err(|_| ()),
        _ => Err(()),
    };
    let Ok(authority) = authority else {
        let text = "bad request: exactly one readable Host header is needed\n";
        return Some((StatusCode::BAD_REQUEST, text.to_owned()));
    };
    let name = authority.host();
    if answers_to(name, allowed) {
        return None;
    }
    let name = super::format::shorten(name, 100);
    let text = format!(
        "misdirected request: this collector does not answer to the host name {name:?}; \
         allow it with --web-host {name}\n"
    );
    Some((StatusCode::MISDIRECTED_REQUEST, text))
}

/// DNS rebinding needs a *name* that the attacker's DNS can turn round, so an IP address (the bound one,
/// whichever of them when all are bound) is always fine; names must be known.
fn answers_to(host: &str, allowed: &[String]) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    // RFC 6761 §6.3: localhost and all names below it are loopback.
    name == "localhost"
        || name.ends_with(".localhost")
        || allowed.iter().any(|known| {
            known
                .trim_end_matches('.')
                .eq_ignore_ascii_case(name.as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn only_known_names_and_addresses_are_answered() {
        let allowed = ["traces.example.org".to_owned()];
        let check = |host: &str, want: bool| assert_eq!(answers_to(host, &allowed), want, "{host}");
        check("localhost", true);
        check("LOCALHOST.", true);
        check("app.localhost", true);
        check("127.0.0.1", true);
        check("[::1]", true);
        check("192.168.1.5", true);
        check("traces.example.org", true);
        check("Traces.Example.Org.", true);
        check("evil.example", false);
        check("localhost.evil.example", false);
        check("127.0.0.1.evil.example", false);
        check("notlocalhost", false);
        check("", false);
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        let check = |uri: &str, hosts: &[&str], want: Option<StatusCode>| {
            let mut request = Request::builder().uri(uri);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            let request = request.body(Body::empty()).unwrap();
            let got = refusal(&request, &[]).map(|(status, _)| status);
            assert_eq!(got, want, "{uri} {hosts:?}");
        };
        check("/", &["localhost:4319"], None);
        check("/", &["[::1]:4319"], None);
        check("/", &[], Some(StatusCode::BAD_REQUEST));
        check(
            "/",
            &["localhost", "localhost"],
            Some(StatusCode::BAD_REQUEST),
        );
        check("/", &["a b"], Some(StatusCode::BAD_REQUEST));
        check(
            "/",
            &["evil.example"],
            Some(StatusCode::MISDIRECTED_REQUEST),
        );
        check("http://localhost:4319/", &[], None);
        check(
            "http://evil.example/",
            &["localhost"],
            Some(StatusCode::MISDIRECTED_REQUEST),
        );
    }
}
