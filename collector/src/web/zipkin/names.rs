//! Lists of what there is to ask for: services, the names of a service's spans, whom it calls, values of a tag. In lower
//! case where Zipkin has it so, sorted, each once. Called by `mod`.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::answer::{Array, Full, Room};
use crate::views::Views;
use crate::wire::SpanRef;
use crate::wire::zipkin::{TagFinder, Told, is_named, lower_case, service_name};

/// Services with a span in a kept trace.
///
/// # Errors
/// [`Full::NoRoom`], as of all lists here: of more than an answer may have they are the first.
pub(super) fn services(views: &Views, room: Room) -> Result<Array, Full> {
    let mut names = Names::new(room);
    for name in views.kept_services() {
        names.add(&lower_case(service_name(&name)));
    }
    names.answer()
}

/// What the spans of a service are called.
pub(super) fn spans(views: &Views, service: &str, room: Room) -> Result<Array, Full> {
    of_service(views, service, room, |span| Some(span.name))
}

/// Whom a service calls, and who calls it.
pub(super) fn remote_services(views: &Views, service: &str, room: Room) -> Result<Array, Full> {
    of_service(views, service, room, |span| Told::by(span).remote_service())
}

/// The values of a tag, of whichever service.
pub(super) fn values(views: &Views, key: &str, room: Room) -> Result<Array, Full> {
    let mut names = Names::new(room);
    views.look_at_kept(views.kept_trace_ids(), |kept| {
        let mut tag = TagFinder::new(key);
        for value in kept.spans().filter_map(|span| tag.find(&span)) {
            names.add(&value);
        }
    });
    names.answer()
}

fn of_service(
    views: &Views,
    service: &str,
    room: Room,
    name: impl for<'a> Fn(&SpanRef<'a>) -> Option<&'a str>,
) -> Result<Array, Full> {
    let service = service.to_lowercase();
    let mut names = Names::new(room);
    views.look_at_kept(views.kept_trace_ids(), |kept| {
        let of_service = kept.spans_of(|name| is_named(service_name(name), &service));
        for name in of_service.filter_map(|span| name(&span)) {
            names.add(&lower_case(name));
        }
    });
    names.answer()
}

struct Names {
    names: HashSet<String, RandomState>,
    room: Room,
    no_room: bool,
}

impl Names {
    fn new(room: Room) -> Self {
        Self {
            names: HashSet::default(),
            room,
            no_room: false,
        }
    }

    fn add(&mut self, name: &str) {
        if name.is_empty() || self.names.contains(name) {
            return;
        }
        match self.room.gather(3 * size_of::<String>() + name.len()) {
            Ok(()) => drop(self.names.insert(name.to_owned())),
            Err(Full::TooLarge { .. }) => {}
            Err(Full::NoRoom) => self.no_room = true,
        }
    }

    fn answer(self) -> Result<Array, Full> {
        if self.no_room {
            return Err(Full::NoRoom);
        }
        let mut names: Vec<_> = self.names.into_iter().collect();
        names.sort_unstable();
        let names = names.iter();
        let names = names.map(|name| serde_json::to_vec(name).unwrap_or_default());
        Array::of_most(self.room, names)
    }
}
