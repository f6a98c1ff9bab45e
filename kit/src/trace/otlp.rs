//! OTLP over HTTP with protobuf bodies, which is the default: spans go to the wire as `encode` wrote them.
//! Owned by `transport`.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use bytes::Bytes;
use flate2::write::GzEncoder;
use tokio::time::sleep;

use super::encode::Encoder;
use super::fault;
use super::http_client::{Answer, Client};
use super::retries::Retries;
use super::transport::{Accepted, Failure};
use super::{Compression, ExportConfig, SpanRecord};

/// The largest request, in bytes, as the OTLP specification recommends ("OTLP/HTTP Request").
const MAX_REQUEST: usize = 64 << 20;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const BELLWETHER: HeaderValue =
    HeaderValue::from_static(concat!("bellwether/", env!("CARGO_PKG_VERSION")));

/// Sends spans to one URL.
#[derive(Debug)]
pub(super) struct OtlpHttp {
    client: Client,
    encoder: Encoder,
    url: Uri,
    timeout: Duration,
    compression: Compression,
}

/// A try that failed, and how long the collector wants to be left alone.
#[derive(Debug)]
struct Failed {
    failure: Failure,
    asked: Option<Duration>,
}

impl OtlpHttp {
    /// # Errors
    ///
    /// When the URL is none, or is `https://` and the system's root certificates cannot be read.
    pub(super) fn new(
        config: &ExportConfig,
        resource: &[(String, String)],
    ) -> Result<Self, String> {
        let url = config.url().parse();
        Ok(Self {
            client: Client::new(config)?,
            encoder: Encoder::new(resource),
            url: url.map_err(|error| format!("the OTLP endpoint is not a URL ({error})"))?,
            timeout: config.timeout,
            compression: config.compression,
        })
    }

    /// Sends one batch, again within the configured time-out when OTLP calls that sensible.
    pub(super) async fn export<'a>(
        &mut self,
        records: impl Iterator<Item = &'a SpanRecord>,
    ) -> Result<Accepted, Failure> {
        let spans = self.encoder.request(records);
        let result = self.send(&spans).await;
        self.encoder.recycle(spans);
        result
    }

    async fn send(&self, spans: &Bytes) -> Result<Accepted, Failure> {
        let body = self.body(spans)?;
        let mut retries = Retries::within(self.timeout);
        loop {
            let failed = match self.send_once(body.clone()).await {
                Ok(accepted) => return Ok(accepted),
                Err(failed) => failed,
            };
            let pause = match failed.failure {
                Failure::Transient(_) => retries.next_pause(failed.asked),
                Failure::Refused(_) => None,
            };
            match pause {
                Some(pause) => sleep(pause).await,
                None => return Err(failed.failure),
            }
        }
    }

    /// # Errors
    ///
    /// When the batch is larger than a request may be.
    fn body(&self, spans: &Bytes) -> Result<Bytes, Failure> {
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

    async fn send_once(&self, body: Bytes) -> Result<Accepted, Failed> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, PROTOBUF);
        headers.insert(USER_AGENT, BELLWETHER);
        if self.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, GZIP);
        }
        let result = self.client.send(request).await;
        let (failure, asked) = match Answer::of(&result, false) {
            Answer::Accepted { rejected, message } => return Ok(Accepted { rejected, message }),
            Answer::Status(status) => {
                let headers = result.as_ref().ok().map(|response| response.headers());
                let asked = headers.and_then(|headers| retry_after(status, headers));
                (fault::of_status(status), asked)
            }
            Answer::Network(cause) => (Failure::Transient(cause), None),
        };
        Err(Failed { failure, asked })
    }
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
}
