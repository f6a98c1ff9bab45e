//! OTLP over HTTP: one POST for each batch.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use flate2::write::GzEncoder;
use opentelemetry_http::HttpError;

use super::Failed;
use crate::trace::http_client::{Answer, Client};
use crate::trace::transport::{Accepted, Failure};
use crate::trace::{Compression, ExportConfig, fault};

/// The largest request, in bytes, as the OTLP specification recommends ("OTLP/HTTP Request").
const MAX_REQUEST: usize = 64 << 20;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const BELLWETHER: HeaderValue = HeaderValue::from_static(super::USER_AGENT);

/// Posts to one URL.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    url: Uri,
    compression: Compression,
}

impl Sender {
    /// # Errors
    ///
    /// When the URL is none, or is `https://` and the system's root certificates cannot be read.
    pub(super) fn new(config: &ExportConfig) -> Result<Self, String> {
        let url = config.url().parse();
        Ok(Self {
            client: Client::new(config)?,
            url: url.map_err(|error| format!("the OTLP endpoint is not a URL ({error})"))?,
            compression: config.compression,
        })
    }

    /// The request's body: packed, if that is wanted.
    ///
    /// # Errors
    ///
    /// When the batch is larger than a request may be.
    pub(super) fn body(&self, spans: &Bytes) -> Result<Bytes, Failure> {
        if spans.len() > MAX_REQUEST {
            let size = spans.len();
            return Err(Failure::Refused(format!(
                "a batch of {size} bytes is more than the {MAX_REQUEST} that a request may have; lower \
                 OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
            )));
        }
        match self.compression {
            Compression::None => Ok(spans.clone()),
            Compression::Gzip => packed(spans)
                .map_err(|error| Failure::Refused(format!("the batch cannot be packed: {error}"))),
        }
    }

    pub(super) async fn send(&self, body: Bytes) -> Result<Accepted, Failed> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, PROTOBUF);
        headers.insert(USER_AGENT, BELLWETHER);
        if self.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, GZIP);
        }
        settled(&self.client.send(request).await)
    }
}

/// What a try came to.
fn settled(result: &Result<Response<Bytes>, HttpError>) -> Result<Accepted, Failed> {
    let (failure, asked) = match Answer::of(result, false) {
        Answer::Accepted { rejected, message } => return Ok(Accepted { rejected, message }),
        Answer::Status(status) => {
            let headers = result.as_ref().ok().map(Response::headers);
            let asked = headers.and_then(|headers| retry_after(status, headers));
            (fault::of_status(status), asked)
        }
        Answer::Network(cause) => (Failure::Transient(cause), None),
    };
    Err(Failed { failure, asked })
}

fn packed(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut packer = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes)?;
    packer.finish().map(Bytes::from)
}

/// How long a collector that is overloaded wants to be left alone (RFC 9110, "Retry-After"): in seconds, or until
/// a date.
fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let throttled = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    let value = headers
        .get(RETRY_AFTER)
        .filter(|_| throttled.contains(&status))?;
    let value = value.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_overloaded_collector_is_left_alone_for_as_long_as_it_asks() {
        fn check(status: u16, value: &str, seconds: Option<u64>) {
            let status = StatusCode::from_u16(status).unwrap();
            let value = HeaderValue::from_str(value).unwrap();
            let asked = retry_after(status, &HeaderMap::from_iter([(RETRY_AFTER, value)]));
            assert_eq!(asked.map(|asked| asked.as_secs()), seconds);
        }
        check(503, "120", Some(120));
        check(429, " 1 ", Some(1));
        check(502, "120", None);
        check(503, "soon", None);
        check(503, "Fri, 31 Dec 1999 23:59:59 GMT", Some(0));
        assert_eq!(
            retry_after(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new()),
            None
        );

        let in_a_minute = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let value = HeaderValue::from_str(&in_a_minute).unwrap();
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
        let asked = retry_after(StatusCode::SERVICE_UNAVAILABLE, &headers).unwrap();
        assert!((50..=60).contains(&asked.as_secs()), "{asked:?}");
    }

    #[test]
    fn a_try_that_failed_says_whether_and_when_to_try_again() {
        fn check(answer: Result<u16, &str>, again: bool, asked: Option<u64>) {
            let result = answer.map_err(HttpError::from).map(|status| {
                let response = Response::builder().status(status).header(RETRY_AFTER, "7");
                response.body(Bytes::new()).unwrap()
            });
            let failed = settled(&result).unwrap_err();
            let transient = matches!(failed.failure, Failure::Transient(_));
            let seconds = failed.asked.map(|asked| asked.as_secs());
            assert_eq!((transient, seconds), (again, asked), "{answer:?}");
        }
        check(Ok(503), true, Some(7));
        check(Ok(429), true, Some(7));
        check(Ok(504), true, None);
        check(Ok(413), false, None);
        check(Err("connection refused"), true, None);
    }

    #[tokio::test]
    async fn a_request_that_is_too_large_is_not_made() {
        let sender = Sender::new(&ExportConfig::default()).unwrap();
        assert!(sender.body(&Bytes::from(vec![0; MAX_REQUEST])).is_ok());
        let larger = sender.body(&Bytes::from(vec![0; MAX_REQUEST + 1]));
        let Err(Failure::Refused(cause)) = larger else {
            panic!("{:?}", larger.map(|body| body.len()));
        };
        assert!(cause.contains("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), "{cause}");
    }
}
