//! What a span says about who called whom, and spans that came in pieces put together (zipkin2.internal.Trace). Called
//! by `links` and `tree`.

use super::span::{Endpoint, Kind, Span};

/// The part of a span that dependencies are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    pub(super) kind: Option<Kind>,
    pub(super) local: Endpoint,
    /// The service on the other side; empty when it is not told.
    pub(super) remote: String,
    /// A server's half of a span whose other half is the client's.
    pub(super) shared: bool,
    pub(super) error: bool,
}

impl Call {
    pub(super) fn of(span: Span) -> Self {
        let number = |id: &str| u64::from_str_radix(id, 16).unwrap_or_default();
        Self {
            id: number(&span.id),
            parent: span.parent_id.as_deref().map(number),
            kind: span.kind,
            error: span.tags.contains_key("error"),
            shared: span.shared,
            local: span.local_endpoint,
            remote: span.remote_endpoint.service_name,
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let Endpoint {
            service_name,
            ipv4,
            ipv6,
            ..
        } = &self.local;
        let texts = [service_name, ipv4, ipv6, &self.remote];
        size_of::<Self>() + texts.map(String::len).iter().sum::<usize>()
    }

    /// By id, client halves before others, those halves last that are told to be shared; one without an address first.
    fn order(&self) -> impl Ord + use<> {
        let half = match (self.shared, self.kind) {
            (true, _) => 2,
            (false, Some(Kind::Client)) => 0,
            (false, _) => 1,
        };
        let absent_last = |text: &str| (text.is_empty(), text.to_owned());
        let Endpoint {
            service_name,
            ipv4,
            ipv6,
            ..
        } = &self.local;
        let place = (self.local != Endpoint::default())
            .then(|| [service_name, ipv4, ipv6].map(|text| absent_last(text)));
        (self.id, half, place)
    }

    /// Takes over from a later piece of the same span what this one does not say.
    fn take_over(&mut self, later: Self) {
        self.parent = self.parent.or(later.parent);
        self.kind = self.kind.or(later.kind);
        fill(&mut self.remote, later.remote);
        fill_endpoint(&mut self.local, later.local);
        self.error |= later.error;
    }

    /// The server's half of an RPC may lack what says so, and its parent; the client's half has both.
    fn correct(&mut self, before: &Self) {
        if before.id != self.id {
            return;
        }
        self.shared |= before.kind == Some(Kind::Client) && self.kind == Some(Kind::Server);
        if self.shared {
            self.parent = self.parent.or(before.parent);
        }
    }
}

/// The spans of one trace, each whole, halves of one id next to each other.
pub(super) fn merged(mut calls: Vec<Call>) -> Vec<Call> {
    calls.sort_by_cached_key(Call::order);
    let mut whole: Vec<Call> = Vec::with_capacity(calls.len());
    let mut calls = calls.into_iter().peekable();
    while let Some(mut call) = calls.next() {
        // Of one place so far; a piece may lack an address, but has no other one.
        let mut place = call.local.clone();
        while let Some(piece) = calls.next_if(|next| {
            next.id == call.id && next.shared == call.shared && agree(&place, &next.local)
        }) {
            fill_endpoint(&mut place, piece.local.clone());
            call.take_over(piece);
        }
        if let Some(before) = whole.last() {
            call.correct(before);
        }
        whole.push(call);
    }
    whole
}

/// Whether nothing that both say differs.
fn agree(one: &Endpoint, other: &Endpoint) -> bool {
    let texts = [
        (&one.service_name, &other.service_name),
        (&one.ipv4, &other.ipv4),
        (&one.ipv6, &other.ipv6),
    ];
    let same =
        |(one, other): (&String, &String)| one.is_empty() || other.is_empty() || one == other;
    let ports = [one.port, other.port];
    texts.into_iter().all(same) && (ports.contains(&0) || one.port == other.port)
}

fn fill_endpoint(place: &mut Endpoint, other: Endpoint) {
    fill(&mut place.service_name, other.service_name);
    fill(&mut place.ipv4, other.ipv4);
    fill(&mut place.ipv6, other.ipv6);
    if place.port == 0 {
        place.port = other.port;
    }
}

fn fill(text: &mut String, other: String) {
    if text.is_empty() {
        *text = other;
    }
}
