//! `/livez`, `/readyz`, `/startupz`: axum routes over `report`, mounted by `kit` beside the service's own
//! routes and on the admin address.

use std::borrow::Cow;

use axum::Router;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::{Health, State};
use crate::config::Paths;
use crate::http::NotTraffic;

/// Which question a path answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Live,
    Ready,
    Started,
}

/// Who can reach the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The service's own address: no error texts. Being asked there proves that the service serves.
    Public,
    /// The admin address: operators.
    Operators,
}

impl Probe {
    /// Every path, with what it answers.
    pub(crate) fn paths(paths: &Paths) -> Vec<(&str, Self)> {
        let live = paths.live().into_iter().map(|path| (path, Self::Live));
        let ready = paths.ready().into_iter().map(|path| (path, Self::Ready));
        let started = paths.startup().into_iter();
        let started = started.map(|path| (path, Self::Started));
        live.chain(ready).chain(started).collect()
    }

    /// The handler of this probe; HEAD is answered too.
    pub(crate) fn handler(self, health: Health, audience: Audience) -> MethodRouter {
        get(move |RawQuery(query): RawQuery| {
            let response = self.answer(&health, audience, query.as_deref().unwrap_or_default());
            std::future::ready(response)
        })
    }

    fn answer(self, health: &Health, audience: Audience, query: &str) -> Response {
        if audience == Audience::Public {
            // A program with a server of its own never tells us that it listens; this request does.
            health.lifecycle.advance(State::Ready);
        }
        let query = Query::parse(query);
        let verdict = match self {
            // Liveness asks no dependency: one that is down is no reason to be restarted.
            Self::Live => health.liveness.verdict(),
            Self::Ready => health.ready(&query.exclude),
            Self::Started => health.started(),
        };
        let status = match verdict {
            Ok(()) => StatusCode::OK,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let (content_type, body) = if query.verbose {
            let with_errors = audience == Audience::Operators;
            let report = health.report(&verdict, &query.exclude, with_errors);
            ("application/health+json", format!("{report}\n"))
        } else {
            let text = verdict.err().unwrap_or_else(|| "ok".to_owned());
            ("text/plain; charset=utf-8", format!("{text}\n"))
        };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(NotTraffic);
        response
    }
}

/// All probe routes.
pub(crate) fn routes(health: &Health, audience: Audience, paths: &Paths) -> Router {
    Probe::paths(paths)
        .into_iter()
        .fold(Router::new(), |router, (path, probe)| {
            router.route(path, probe.handler(health.clone(), audience))
        })
}

/// `?verbose` and `?exclude=NAME`, repeatable; anything else is ignored, as load balancers add their own.
#[derive(Debug, Default, PartialEq)]
struct Query {
    verbose: bool,
    exclude: Vec<String>,
}

/// Names excluded at once; nobody has more checks than that.
const MAX_EXCLUDED: usize = 64;

impl Query {
    fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "verbose" => parsed.verbose = !matches!(value, "0" | "false"),
                "exclude" if parsed.exclude.len() < MAX_EXCLUDED => {
                    parsed.exclude.push(decode(value).into_owned());
                }
                _ => {}
            }
        }
        parsed
    }
}

/// Form decoding: `+` and percent escapes; text that does not decode stands for itself.
fn decode(value: &str) -> Cow<'_, str> {
    let spaced = value.replace('+', " ");
    match crate::config::percent_decode(&spaced) {
        Some(decoded) => Cow::Owned(decoded),
        None => Cow::Borrowed(value),
    }
}
