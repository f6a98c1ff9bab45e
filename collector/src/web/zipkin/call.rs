//! What a span says about who called whom, and spans that came in pieces put together (zipkin2.internal.Trace). Called
//! by `links` and `tree`.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::answer::{Full, Room};
use super::texts::{Text, Texts};
use crate::wire::zipkin::{Told, service_name};
use crate::wire::{SpanKind, SpanRef, StatusCode};

/// The part of a span that dependencies are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) parent: Option<u64>,
    /// `None` for work inside a service.
    pub(super) kind: Option<SpanKind>,
    pub(super) place: Place,
    /// The service on the other side.
    pub(super) remote: Option<Text>,
    /// A server's half of a span whose other half is the client's.
    pub(super) shared: bool,
    pub(super) error: bool,
}

/// Where a span was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) service: Option<Text>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    port: Option<u16>,
}

impl Call {
    /// # Errors
    /// [`Full`]: no more names can be told apart.
    pub(super) fn of(span: &SpanRef<'_>, texts: &mut Texts, room: &mut Room) -> Result<Self, Full> {
        let told = Told::by(span);
        let (ids, (address, port)) = (told.ids(), told.place());
        let (mut ipv4, mut ipv6) = (None, None);
        match address {
            Some(IpAddr::V4(address)) => ipv4 = Some(address),
            Some(IpAddr::V6(address)) => ipv6 = Some(address),
            None => {}
        }
        let is_remote = !matches!(span.kind, SpanKind::Unspecified | SpanKind::Internal);
        Ok(Self {
            id: ids.id,
            parent: ids.parent,
            kind: Some(span.kind).filter(|_| is_remote),
            place: Place {
                service: texts.find(service_name(span.resource.service_name), room)?,
                ipv4,
                ipv6,
                port,
            },
            remote: texts.find(told.remote_service().unwrap_or_default(), room)?,
            shared: ids.is_shared,
            error: span.status == StatusCode::Error,
        })
    }

    /// By id, client halves before others, those halves last that are told to be shared; one without a place first.
    fn order(&self, other: &Self, texts: &Texts) -> Ordering {
        let half = |call: &Self| match (call.shared, call.kind) {
            (true, _) => 2,
            (false, Some(SpanKind::Client)) => 0,
            (false, _) => 1,
        };
        (self.id, half(self))
            .cmp(&(other.id, half(other)))
            .then_with(|| self.place.order(&other.place, texts))
    }

    /// Takes over from a later piece of the same span what this one does not say.
    fn take_over(&mut self, later: &Self) {
        self.parent = self.parent.or(later.parent);
        self.kind = self.kind.or(later.kind);
        self.remote = self.remote.or(later.remote);
        self.place.fill(&later.place);
        self.error |= later.error;
    }

    /// The server's half of an RPC may lack what says so, and its parent; the client's half has both.
    fn correct(&mut self, before: &Self) {
        if before.id != self.id {
            return;
        }
        self.shared |= before.kind == Some(SpanKind::Client) && self.kind == Some(SpanKind::Server);
        if self.shared {
            self.parent = self.parent.or(before.parent);
        }
    }
}

impl Place {
    /// As their texts are in order, what is absent last.
    fn order(&self, other: &Self, texts: &Texts) -> Ordering {
        let is_somewhere = |place: &Self| *place != Self::default();
        if self == other || !(is_somewhere(self) && is_somewhere(other)) {
            return is_somewhere(self).cmp(&is_somewhere(other));
        }
        absent_last(self.service, other.service, |text| texts.get(text))
            .then_with(|| absent_last(self.ipv4, other.ipv4, |address| address.to_string()))
            .then_with(|| absent_last(self.ipv6, other.ipv6, |address| address.to_string()))
    }

    /// Whether nothing that both say differs.
    fn agrees(&self, other: &Self) -> bool {
        fn same<T: Copy + PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        same(self.service, other.service)
            && same(self.ipv4, other.ipv4)
            && same(self.ipv6, other.ipv6)
            && same(self.port, other.port)
    }

    fn fill(&mut self, other: &Self) {
        self.service = self.service.or(other.service);
        self.ipv4 = self.ipv4.or(other.ipv4);
        self.ipv6 = self.ipv6.or(other.ipv6);
        self.port = self.port.or(other.port);
    }
}

fn absent_last<T, K: Ord>(one: Option<T>, other: Option<T>, key: impl Fn(T) -> K) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => key(one).cmp(&key(other)),
        (one, other) => one.is_none().cmp(&other.is_none()),
    }
}

/// Puts the spans of one trace together: each whole, halves of one id next to each other.
pub(super) fn merge(calls: &mut Vec<Call>, texts: &Texts) {
    calls.sort_by(|a, b| a.order(b, texts));
    let mut before: Option<Call> = None;
    let mut at = 0;
    let mut whole = 0;
    while let Some(&(mut call)) = calls.get(at) {
        // Of one place so far; a piece may lack an address, but has no other one.
        let mut place = call.place;
        at += 1;
        while let Some(&piece) = calls.get(at)
            && piece.id == call.id
            && piece.shared == call.shared
            && place.agrees(&piece.place)
        {
            place.fill(&piece.place);
            call.take_over(&piece);
            at += 1;
        }
        if let Some(before) = &before {
            call.correct(before);
        }
        before = Some(call);
        if let Some(place) = calls.get_mut(whole) {
            *place = call;
            whole += 1;
        }
    }
    calls.truncate(whole);
}
