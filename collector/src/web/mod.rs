//! The web address: JSON API, pages, live events. Routers that `pipeline` mounts behind the kit.

pub mod api;

use std::sync::Arc;

use crate::status::Status;
use crate::views::Views;

/// What every handler reads.
#[derive(Clone, Debug)]
pub struct Web {
    /// The views.
    pub views: Arc<Views>,
    /// The counters.
    pub status: Arc<Status>,
    /// Host names pages and API answer to, beside loopback names and the bound address.
    pub allowed_hosts: Arc<[String]>,
}
