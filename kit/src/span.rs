//! `tracing` spans: what the kit keeps with each, in one piece, since each extension of a span costs an allocation
//! and each look at them a lock. The layer that `kit` installs keeps it; `log` and the client layer ask whose the
//! spans around them are, lines copy their fields, and `trace` exports those of sampled requests.

mod layer;

use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::context::SpanIdentity;
use crate::log::SpanText;
use crate::trace::{OpenSpan, SpanRecord};

#[cfg(test)]
pub(crate) use layer::KitLayer;
pub(crate) use layer::{controlled, layer};

/// What a span carries from its beginning on. One that began outside of any request belongs to nobody.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) fields: SpanText,
    identity: Option<SpanIdentity>,
    /// Of a span to be exported.
    open: Option<OpenSpan>,
}

impl Carried {
    /// Which request the span belongs to, and the id that lines and calls inside it carry.
    pub(crate) fn identity(&self) -> Option<&SpanIdentity> {
        self.identity.as_ref()
    }

    /// Whether this says more of the span than what another kit in the same subscriber has kept with it: to be exported
    /// is more than to belong to a request, and that is more than to belong to nobody.
    fn outranks(&self, other: &Self) -> bool {
        let rank = |carried: &Self| (carried.open.is_some(), carried.identity.is_some());
        rank(self) > rank(other)
    }

    /// The record of the span of this name, which ends now; nothing when it is not exported.
    fn close(&self, name: &'static str) -> Option<SpanRecord> {
        let (open, identity) = self.open.as_ref().zip(self.identity.as_ref())?;
        Some(open.close(identity, name, self.fields.values()))
    }
}

/// Which request a span belongs to.
pub(crate) fn identity<'a, S>(span: &SpanRef<'a, S>) -> Option<SpanIdentity>
where
    S: LookupSpan<'a>,
{
    span.extensions().get::<Carried>()?.identity.clone()
}
