//! `GET /api/v1/scale/{name}`: what KEDA's `metrics-api`, or any autoscaler that polls, scales a service by. Where spans cannot
//! tell, the answer is an error: an autoscaler leaves the replicas as they are then, and would take a 0 for idleness.

use std::time::Duration;

use axum::extract::{Path, State};

use super::answer::{Failure, found, unready};
use super::query::ApiQuery;
use super::{Answer, Api, InPath, unknown_service, unreadable_path};
use crate::views::scale::Scale;

/// Autoscalers look every 15 to 30 s, so that the services' own default would answer them with old news.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// Spans come in batches, seconds apart: a shorter time says more of the batches than of the load.
const LEAST_WINDOW: Duration = Duration::from_secs(10);

pub(super) async fn answer(State(api): State<Api>, service: InPath, query: ApiQuery) -> Answer {
    let Path(service) = service.map_err(unreadable_path)?;
    query.only(&["window"])?;
    let window = query.window(DEFAULT_WINDOW, LEAST_WINDOW, api.views.retention())?;
    found(move || {
        let scale = api.views.scale(&service, window);
        let scale = scale.ok_or_else(|| unknown_service(&service))?;
        telling(scale, api.stale_after)
    })
    .await
}

/// The numbers, if they say anything.
fn telling(scale: Scale, stale_after: Duration) -> Result<Scale, Failure> {
    let service = &scale.service;
    if scale.age_seconds > stale_after.as_secs_f64() {
        return Err(unready(
            "stale",
            format!(
                "no span of the service {service:?} has come for {:.0} s, longer than stale_after ({} s): whether it is idle or \
                 dead, spans cannot tell",
                scale.age_seconds,
                stale_after.as_secs()
            ),
        ));
    }
    if scale.window.seconds < LEAST_WINDOW.as_secs_f64() {
        return Err(unready(
            "too_early",
            format!(
                "the collector was started {:.0} s ago; it takes {} s to tell how much a service has to do",
                scale.window.seconds,
                LEAST_WINDOW.as_secs()
            ),
        ));
    }
    Ok(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::report::Window;
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;

    fn scale(age_seconds: f64, window_seconds: f64) -> Scale {
        Scale {
            service: "cart".into(),
            window: Window {
                from: String::new(),
                to: String::new(),
                seconds: window_seconds,
            },
            concurrency: 2.0,
            rate: 4.0,
            p50: None,
            p90: None,
            p95: None,
            p99: None,
            error_ratio: 0.0,
            age_seconds,
        }
    }

    #[test]
    fn numbers_that_say_nothing_are_not_told() {
        let stale_after = Duration::from_secs(120);
        for (age, window, told) in [
            (0.0, 10.0, None),
            (120.0, 60.0, None),
            (
                121.0,
                60.0,
                Some("for 121 s, longer than stale_after (120 s)"),
            ),
            (0.0, 9.9, Some("it takes 10 s")),
            (121.0, 5.0, Some("stale_after")),
        ] {
            let answer = telling(scale(age, window), stale_after);
            match (answer, told) {
                (Ok(scale), None) => assert_eq!(scale.concurrency, 2.0),
                (Err(failure), Some(told)) => {
                    assert!(failure.to_string().contains(told), "{failure}");
                    assert_eq!(failure.into_response().status(), StatusCode::CONFLICT);
                }
                (answer, told) => panic!("{age} s, {window} s: {answer:?}, not {told:?}"),
            }
        }
    }
}
