//! The encodings that a body may come in, by the names that headers have for them. Called by `receive` and by the gRPC
//! framing.

use http::{HeaderMap, HeaderName, HeaderValue};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952, of one or more members.
    Gzip,
    /// `deflate` of RFC 9110: zlib, RFC 1950. What some clients send under that name, deflate without zlib around it
    /// (RFC 1951), is told apart by its first bytes.
    Deflate,
    /// RFC 8878, of one or more frames.
    Zstd,
}

/// What is taken, as `Accept-Encoding` (RFC 9110, section 12.5.3) and error texts say it.
pub const ACCEPTED: &str = "gzip, deflate, zstd";

/// What is taken, as `grpc-accept-encoding` says it.
pub const GRPC_ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,deflate,zstd");

impl Encoding {
    /// How the body is compressed, by the header `name` (`Content-Encoding`, `grpc-encoding`); not at all without one.
    ///
    /// # Errors
    /// What the headers say, when that is an encoding that is not taken, or several one over the other.
    pub fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Self, String> {
        let mut values = headers.get_all(name).iter();
        let (first, second) = (values.next(), values.next());
        let encoding = match (first, second) {
            (None, _) => Some(Self::Identity),
            (Some(value), None) => Self::parse(value),
            // Headers of one name are one list (RFC 9110, section 5.3).
            (Some(_), Some(_)) => None,
        };
        encoding.ok_or_else(|| {
            let values = headers.get_all(name).iter();
            let texts: Vec<_> = values
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            texts.join(", ")
        })
    }

    fn parse(header: &HeaderValue) -> Option<Self> {
        let name = header.to_str().ok()?.trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if name.is_empty() || is("identity") {
            Some(Self::Identity)
        } else if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("deflate") {
            Some(Self::Deflate)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONTENT_ENCODING;

    fn check(values: &[&[u8]], expected: Result<Encoding, &str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.append(CONTENT_ENCODING, value);
        }
        let encoding = Encoding::of(&headers, &CONTENT_ENCODING);
        assert_eq!(
            encoding.as_ref().map_err(String::as_str),
            expected.as_ref().map_err(|e| *e)
        );
    }

    #[test]
    fn encodings_by_name() {
        use Encoding::{Deflate, Gzip, Identity, Zstd};
        check(&[], Ok(Identity));
        check(&[b""], Ok(Identity));
        check(&[b"identity"], Ok(Identity));
        check(&[b"GZIP"], Ok(Gzip));
        check(&[b" x-gzip "], Ok(Gzip));
        check(&[b"deflate"], Ok(Deflate));
        check(&[b"Zstd"], Ok(Zstd));
        check(&[b"br"], Err("br"));
        check(&[b"gzip, gzip"], Err("gzip, gzip"));
        check(&[b"gzip", b"gzip"], Err("gzip, gzip"));
        check(&[b"identity", b"zstd"], Err("identity, zstd"));
        check(&[b"\xff"], Err("\u{fffd}"));
    }

    #[test]
    fn what_is_said_to_be_taken_is() {
        let grpc = GRPC_ACCEPTED;
        for list in [ACCEPTED, grpc.to_str().unwrap()] {
            for name in list.split(',') {
                let value = HeaderValue::from_str(name.trim()).unwrap();
                assert!(Encoding::parse(&value).is_some(), "{name}");
            }
        }
    }
}
