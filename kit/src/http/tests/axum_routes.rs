//! The routes of an axum service, where the layer sees them: inside `Router::layer`.

use ::http::StatusCode;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::http::testing::{Bench, int, shared_text, text};

#[tokio::test]
async fn axum_routes_name_the_span() {
    let bench = Bench::new();
    let app = axum::Router::new()
        .route("/users/{id}", axum::routing::get(|| async { "hello" }))
        .layer(bench.layer());
    let request = |path: &str| {
        ::http::Request::get(path)
            .body(axum::body::Body::empty())
            .unwrap()
    };
    let response = app
        .clone()
        .oneshot(request("/users/7?secret=1"))
        .await
        .unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    let (line, span) = bench.settled();
    assert_eq!(line["http.route"], "/users/{id}");
    assert_eq!(line["url.path"], "/users/7");
    assert_eq!(shared_text(&span.name), "GET /users/{id}");
    assert_eq!(
        text(&span.attributes, "http.route").as_deref(),
        Some("/users/{id}")
    );
    assert_eq!(
        int(&span.attributes, "http.response.status_code"),
        Some(200)
    );

    let response = app.oneshot(request("/nowhere")).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    drop(response);
    let line = bench.closing_lines().remove(1);
    assert_eq!(line["http.route"], serde_json::Value::Null);
    assert_eq!(shared_text(&bench.spans.drain()[0].name), "GET");
}
