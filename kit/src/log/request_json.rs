//! The closing line in the format `json`, the one line that every request pays for: written straight, by keys that
//! are constants, into a room that need not grow. Used by `logger`, unless operators have one of the fields hidden.
//!
//! What it writes is what `json` writes; a test compares the two. A line that does not fit is left to `json`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::clock::Clock;
use super::json::{before_request_id, free_value, is_bare, level_to_message, request_id};
use super::request_line::{self, Fields, Name, Received, RequestLine, RouteText};
use super::room::{Page, Room};
use super::service::WrittenService;
use super::value::Value;
use crate::context::RequestId;
use crate::digits::{nine, octet, short};
use crate::http::Outcome;

/// What ends a line.
pub(super) const END: &[u8] = b"}\n";

/// What stands between the time of a line and its ids, for each outcome: rendered once a logger.
#[derive(Debug)]
pub(super) struct Heads([Vec<u8>; Outcome::ALL.len()]);

impl Heads {
    pub(super) fn new(service: &WrittenService) -> Self {
        Self(Outcome::ALL.map(|outcome| {
            let message = request_line::message(outcome).as_bytes();
            let target = request_line::TARGET.as_bytes();
            [
                level_to_message(request_line::level(outcome)),
                message,
                b"\",\"target\":\"",
                target,
                &service.service,
            ]
            .concat()
        }))
    }

    fn of(&self, outcome: Outcome) -> &[u8] {
        self.0.get(outcome as usize).map_or(&[], Vec::as_slice)
    }
}

/// A route as lines have it, rendered once: key and value.
#[derive(Debug)]
pub(crate) struct RouteField(Box<[u8]>);

impl RouteField {
    pub(crate) fn new(route: &str) -> Self {
        let mut field = Name::Route.json_key().as_bytes().to_vec();
        free_value(&mut field, &Value::Text(route));
        Self(field.into())
    }
}

/// The whole line, with the fields that any request has, unless it is too long for a page.
pub(super) fn write<'a>(
    page: &'a mut Page,
    clock: &mut Clock,
    spare: &mut Vec<u8>,
    heads: &Heads,
    line: &RequestLine<'_>,
) -> Option<&'a [u8]> {
    page.written(|room| {
        room.put(b"{\"timestamp\":\"");
        room.put(&clock.nanos(line.at));
        room.put(heads.of(line.outcome));
        room.put(&before_request_id(line.ids()));
        let mut straight = Straight { room, spare };
        straight.request_id(&line.context.request_id);
        straight.room.put(b"\"");
        line.fields(&mut straight);
        room.put(END);
    })
}

struct Straight<'a, 'r> {
    room: &'a mut Room<'r>,
    /// Where values are written of which no length is known beforehand.
    spare: &'a mut Vec<u8>,
}

// Always inlined: of a constant name both ends are known, and copying it is a few moves in place of a call.
impl Straight<'_, '_> {
    #[inline(always)]
    fn key(&mut self, name: Name) {
        self.room.put(name.json_key().as_bytes());
    }

    #[inline(always)]
    fn quoted(&mut self, name: Name, bare: &[u8]) {
        self.room.put(name.json_key_and_quote().as_bytes());
        self.room.put(bare);
        self.room.put(b"\"");
    }

    #[inline(never)]
    fn free(&mut self, name: Name, text: &str) {
        self.spare.clear();
        free_value(self.spare, &Value::Text(text));
        self.key(name);
        self.room.put(self.spare);
    }

    #[inline(always)]
    fn request_id(&mut self, id: &RequestId) {
        if id.is_bare() {
            self.room.put(id.as_bytes());
        } else {
            self.spare.clear();
            request_id(self.spare, id);
            self.room.put(self.spare);
        }
    }

    #[inline(always)]
    fn digits(&mut self, number: u64) {
        match short(number) {
            Some((digits, len)) => self.room.front_of(&digits, len),
            None => self.room.put(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    #[inline(always)]
    fn ipv4(&mut self, address: Ipv4Addr) {
        let [octets @ .., last] = address.octets();
        for number in octets {
            let (text, len) = octet(number);
            self.room.front_of(&text, len + 1);
        }
        let (text, len) = octet(last);
        self.room.front_of(&text, len);
    }
}

impl Fields for Straight<'_, '_> {
    #[inline(always)]
    fn word(&mut self, name: Name, word: &'static str) {
        self.quoted(name, word.as_bytes());
    }

    #[inline(always)]
    fn text(&mut self, name: Name, text: &str) {
        if is_bare(text.as_bytes()) {
            self.quoted(name, text.as_bytes());
        } else {
            self.free(name, text);
        }
    }

    #[inline(always)]
    fn route(&mut self, route: RouteText<'_>) {
        match route.field {
            Some(RouteField(field)) => self.room.put(field),
            None => self.text(Name::Route, route.path),
        }
    }

    #[inline(always)]
    fn received(&mut self, name: Name, received: Received<'_>) {
        if received.is_bare() {
            self.quoted(name, received.bytes());
        } else if let Some(text) = received.text() {
            self.free(name, text);
        }
    }

    #[inline(always)]
    fn number(&mut self, name: Name, number: u64) {
        self.key(name);
        self.digits(number);
    }

    /// With a fraction of one to nine digits, as [`Value::Seconds`] is written.
    #[inline(always)]
    fn seconds(&mut self, name: Name, duration: Duration) {
        let (fraction, zeros_behind) = nine(duration.subsec_nanos());
        let mut text = *b"0.000000000";
        text[2..].copy_from_slice(&fraction);
        self.key(name);
        match duration.as_secs() {
            short @ 0..=9 => text[0] += short as u8,
            long => {
                self.room
                    .put(itoa::Buffer::new().format(long / 10).as_bytes());
                text[0] += (long % 10) as u8;
            }
        }
        // One digit stays, whatever it is.
        self.room.front_of(&text, 11 - zeros_behind.min(8));
    }

    #[inline(always)]
    fn address(&mut self, name: Name, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.room.put(name.json_key_and_quote().as_bytes());
                self.ipv4(address);
                self.room.put(b"\"");
            }
            IpAddr::V6(_) => {
                self.spare.clear();
                free_value(self.spare, &Value::Address(address));
                self.key(name);
                self.room.put(self.spare);
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use ::http::Version;
    use proptest::option;
    use proptest::prelude::*;

    use super::super::format::Format;
    use super::super::line::Line;
    use super::super::request_keyed::{Keyed, Keys};
    use super::super::scratch::Scratch;
    use super::*;
    use crate::context::testing::context;
    use crate::log::{RpcLine, Service};

    /// What a page must have left at its end for any short number.
    const SPARE: usize = 16;

    fn straight(line: &RequestLine<'_>, service: &Service<'_>) -> Option<String> {
        let (mut page, mut clock, mut spare) = Default::default();
        let heads = Heads::new(&Format::Json.service(service));
        let written = write(&mut page, &mut clock, &mut spare, &heads, line)?;
        Some(String::from_utf8(written.to_vec()).unwrap())
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
            outcome in prop::sample::select(&Outcome::ALL),
            (route, is_known) in (option::of(routes()), any::<bool>()),
            (path, error) in (texts(), option::of(texts())),
            agent in option::of(prop_oneof![texts().prop_map(String::into_bytes), any::<[u8; 9]>().prop_map(Vec::from)]),
            rpc in option::of(texts()),
            (status, size, address) in (option::of(100..1000_u16), any::<u64>(), any::<Option<IpAddr>>()),
        ) {
            let context = context();
            let field = route.as_deref().map(RouteField::new);
            let line = RequestLine {
                context: &context,
                at: Duration::new(at, duration.subsec_nanos()),
                outcome,
                method: "GET",
                route: route.as_deref().map(|path| RouteText { path, field: field.as_ref().filter(|_| is_known) }),
                path: Received::from(&*path),
                rpc: rpc.as_deref().map(|method| RpcLine { system: "grpc", method, status: "OK" }),
                status,
                duration,
                time_to_first_byte: first_byte,
                response_body_size: size,
                client_address: address,
                user_agent: agent.as_deref().map(Received::new),
                version: Version::HTTP_11,
                error_type: None,
                error: error.as_deref(),
                shown: &[],
            };
            let service = Service { name: "check \"out\"", resource: &[], project: None };
            let by_keys = by_keys(&line, &service);
            match straight(&line, &service) {
                Some(straight) => prop_assert_eq!(straight, by_keys),
                // Beyond the line, some are copied whole and kept in part.
                None => prop_assert!(by_keys.len() > Page::BYTES - SPARE),
            }
        }
    }
}
