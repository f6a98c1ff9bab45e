//! The closing line in the format `json`, the one line that every request pays for: written straight, by keys that
//! are constants, where a line of events looks at each of its keys and values. Used by `logger`, unless operators
//! have one of the fields hidden.
//!
//! What it writes is what `json` writes; a test compares the two.

use std::net::IpAddr;
use std::time::Duration;

use super::format::{Format, Head};
use super::json::{
    free_value, is_bare, level_to_message, push_address, push_ids, push_number, push_seconds,
};
use super::line::Line;
use super::request_line::{Fields, Name, Received, RequestLine, TARGET};
use super::scratch::Scratch;
use super::value::Value;

/// What nearly all closing lines fit in, in bytes: one look at the buffer's room in place of one a field.
const USUAL_BYTES: usize = 1024;

/// A line with its head, and the fields that any request has. Bounded without a look at lengths: each of the few
/// texts is, all but the route where they come from, and all of them together are less than a line may have.
pub(super) fn begin<'a>(
    scratch: &'a mut Scratch,
    service: &[u8],
    head: &'a Head<'a>,
    line: &RequestLine<'_>,
) -> Line<'a> {
    let Scratch { out, clock, .. } = scratch;
    out.reserve(USUAL_BYTES);
    out.extend_from_slice(b"{\"timestamp\":\"");
    clock.write_nanos(out, head.at);
    out.extend_from_slice(level_to_message(line.level()));
    out.extend_from_slice(line.message().as_bytes());
    out.extend_from_slice(b"\",\"target\":\"");
    out.extend_from_slice(TARGET.as_bytes());
    out.extend_from_slice(service);
    push_ids(out, line.ids());
    out.push(b'"');
    line.fields(&mut Straight(out));
    Line::begun(Format::Json, scratch, head)
}

struct Straight<'a>(&'a mut Vec<u8>);

impl Straight<'_> {
    /// Always inlined: of a constant name both ends are known, and copying it is a few moves in place of a call.
    #[inline(always)]
    fn key(&mut self, name: Name) -> &mut Vec<u8> {
        self.0.extend_from_slice(name.json_key().as_bytes());
        self.0
    }

    #[inline(always)]
    fn quoted(&mut self, name: Name, bare: &[u8]) {
        self.0
            .extend_from_slice(name.json_key_and_quote().as_bytes());
        self.0.extend_from_slice(bare);
        self.0.push(b'"');
    }
}

impl Fields for Straight<'_> {
    #[inline(always)]
    fn word(&mut self, name: Name, word: &'static str) {
        self.quoted(name, word.as_bytes());
    }

    #[inline(always)]
    fn text(&mut self, name: Name, text: &str) {
        if is_bare(text.as_bytes()) {
            self.quoted(name, text.as_bytes());
        } else {
            free_value(self.key(name), &Value::Text(text));
        }
    }

    #[inline(always)]
    fn received(&mut self, name: Name, received: Received<'_>) {
        if is_bare(received.0) {
            self.quoted(name, received.0);
        } else if let Some(text) = received.text() {
            free_value(self.key(name), &Value::Text(text));
        }
    }

    #[inline(always)]
    fn number(&mut self, name: Name, number: u64) {
        push_number(self.key(name), number);
    }

    #[inline(always)]
    fn seconds(&mut self, name: Name, duration: Duration) {
        push_seconds(self.key(name), duration);
    }

    #[inline(always)]
    fn address(&mut self, name: Name, address: IpAddr) {
        self.0
            .extend_from_slice(name.json_key_and_quote().as_bytes());
        push_address(self.0, address);
        self.0.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use ::http::Version;
    use proptest::option;
    use proptest::prelude::*;

    use super::super::request_line::{Keyed, Keys};
    use super::*;
    use crate::context::testing::context;
    use crate::http::Outcome;
    use crate::log::{RpcLine, Service};

    const OUTCOMES: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::Error,
        Outcome::ClientGone,
        Outcome::Timeout,
        Outcome::Panic,
        Outcome::BodyError,
        Outcome::Upgraded,
        Outcome::Rejected,
    ];

    fn straight(line: &RequestLine<'_>, service: &[u8]) -> String {
        let (mut scratch, head) = (Scratch::default(), line.head());
        begin(&mut scratch, service, &head, line).end();
        String::from_utf8(scratch.out).unwrap()
    }

    fn by_keys(line: &RequestLine<'_>, service: &Service<'_>) -> String {
        let (mut scratch, head) = (Scratch::default(), line.head());
        let service = Format::Json.service(service);
        let mut out = Line::begin(Format::Json, &service, &mut scratch, &head);
        line.fields(&mut Keyed {
            keys: &Keys::new(Format::Json),
            line: &mut out,
        });
        out.end();
        String::from_utf8(scratch.out).unwrap()
    }

    /// What may stand in a text: much that is plain, and all that needs care.
    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,40}",
            "\\PC{0,9}|[a-z\"\\\\\u{0}-\u{1f}\u{7f}é]{0,20}",
            "(Bearer |Basic |http://|ann:pw|@|B|/){0,6}",
        ]
    }

    /// Of a route hook, the one text that nobody has cut before.
    fn routes() -> impl Strategy<Value = String> {
        prop_oneof![9 => texts(), 1 => (16_300..16_500_usize).prop_map(|len| "é@\"".repeat(len / 2))]
    }

    fn durations() -> impl Strategy<Value = Duration> {
        let nanos = prop_oneof![
            0..1_000_000_000_u32,
            (0..1_000_u32).prop_map(|ms| ms * 1_000_000)
        ];
        (prop_oneof![0..20_u64, any::<u64>()], nanos)
            .prop_map(|(secs, nanos)| Duration::new(secs, nanos))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn straight_is_what_the_keys_write(
            (at, duration, first_byte) in (0..253_402_300_799_u64, durations(), option::of(durations())),
            outcome in prop::sample::select(&OUTCOMES),
            (route, path, error) in (option::of(routes()), texts(), option::of(texts())),
            agent in option::of(prop_oneof![texts().prop_map(String::into_bytes), any::<[u8; 9]>().prop_map(Vec::from)]),
            rpc in option::of(texts()),
            (status, size, address) in (option::of(100..1000_u16), any::<u64>(), any::<Option<IpAddr>>()),
        ) {
            let context = context();
            let line = RequestLine {
                context: &context,
                at: UNIX_EPOCH + Duration::new(at, duration.subsec_nanos()),
                outcome,
                method: "GET",
                route: route.as_deref(),
                path: Received::from(&*path),
                rpc: rpc.as_deref().map(|method| RpcLine { system: "grpc", method, status: "OK" }),
                status,
                duration,
                time_to_first_byte: first_byte,
                response_body_size: size,
                client_address: address,
                user_agent: agent.as_deref().map(Received),
                version: Version::HTTP_11,
                error: error.as_deref(),
                shown: &[],
            };
            let service = Service { name: "check \"out\"", resource: &[], project: None };
            let written = Format::Json.service(&service);
            prop_assert_eq!(straight(&line, &written.service), by_keys(&line, &service));
        }
    }
}
