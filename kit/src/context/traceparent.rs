//! W3C `traceparent`, level 2: parse and write. Read and written by `propagation`; parsing allocates nothing.

use ::http::HeaderValue;

use super::{SpanId, TraceId};

/// A parsed `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: u8,
}

impl TraceParent {
    /// Flag bit: the caller recorded this trace.
    pub(crate) const SAMPLED: u8 = 0b01;
    /// Flag bit (level 2): the trace id's last 7 bytes are random.
    pub(crate) const RANDOM: u8 = 0b10;

    /// The length of version 00, which later versions may only extend.
    const LEN: usize = 55;

    /// `None` for anything the specification calls invalid (§3.2). Flags that level 2 does not define
    /// are dropped, as it demands of whoever sends the header on.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(Self::LEN)?;
        let mut fields = head.split(|byte| *byte == b'-');
        let version = hex_byte(fields.next()?)?;
        let trace_id = TraceId::from_hex(fields.next()?)?;
        let span_id = SpanId::from_hex(fields.next()?)?;
        let flags = hex_byte(fields.next()?)?;
        let well_formed = fields.next().is_none()
            && match version {
                0 => rest.is_empty(),
                0xff => false,
                _ => matches!(rest.first(), None | Some(b'-')),
            };
        well_formed.then_some(Self {
            trace_id,
            span_id,
            flags: flags & (Self::SAMPLED | Self::RANDOM),
        })
    }

    /// Version 00. One allocation.
    pub(crate) fn to_header(self) -> HeaderValue {
        const DIGITS: [u8; 4] = *b"0123";
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let flags = usize::from(self.flags & (Self::SAMPLED | Self::RANDOM));
        text[3..35].copy_from_slice(&self.trace_id.to_hex());
        text[36..52].copy_from_slice(&self.span_id.to_hex());
        text[54] = DIGITS[flags];
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    match *digits {
        [high, low] => Some(hex_digit(high)? << 4 | hex_digit(low)?),
        _ => None,
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn check(value: &str, flags: Option<u8>) {
        let parsed = TraceParent::parse(value.as_bytes());
        assert_eq!(parsed.map(|parent| parent.flags), flags, "{value}");
        if let Some(parent) = parsed {
            assert_eq!(parent.trace_id.to_string(), TRACE);
            assert_eq!(parent.span_id.to_string(), SPAN);
        }
    }

    #[test]
    fn traceparent_by_the_specification() {
        check(&format!("00-{TRACE}-{SPAN}-00"), Some(0));
        check(&format!("00-{TRACE}-{SPAN}-01"), Some(1));
        check(&format!("00-{TRACE}-{SPAN}-03"), Some(3));
        check(&format!("00-{TRACE}-{SPAN}-ff"), Some(3));
        check(&format!("cc-{TRACE}-{SPAN}-01"), Some(1));
        check(&format!("cc-{TRACE}-{SPAN}-01-what-comes"), Some(1));
        check(&format!("cc-{TRACE}-{SPAN}-01what"), None);
        check(&format!("00-{TRACE}-{SPAN}-01-"), None);
        check(&format!("00-{TRACE}-{SPAN}-01 "), None);
        check(&format!("ff-{TRACE}-{SPAN}-01"), None);
        check(&format!("0-{TRACE}-{SPAN}-001"), None);
        check(&format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None);
        check(&format!("00-{}-{SPAN}-01", "0".repeat(32)), None);
        check(&format!("00-{TRACE}-{}-01", "0".repeat(16)), None);
        check(&format!("00_{TRACE}-{SPAN}-01"), None);
        check(&format!("00-{TRACE}-{SPAN}-0g"), None);
        check(&format!("00-{TRACE}-{SPAN}-1"), None);
        check("", None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace: [u8; 16], span: [u8; 8], flags in 0_u8..4) {
            if let (Some(trace_id), Some(span_id)) = (TraceId::from_bytes(trace), SpanId::from_bytes(span)) {
                let parent = TraceParent { trace_id, span_id, flags };
                prop_assert_eq!(TraceParent::parse(parent.to_header().as_bytes()), Some(parent));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_valid(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(parent) = TraceParent::parse(&value) {
                prop_assert!(parent.flags <= 3);
            }
        }

        #[test]
        fn any_traceparent_shape(value in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?") {
            let parsed = TraceParent::parse(value.as_bytes());
            if value.starts_with("00") && value.len() > 55 || value.starts_with("ff") {
                prop_assert_eq!(parsed, None);
            }
        }
    }
}
