//! Tells a sender of spans that it found the pages' port, and where its own is. A layer of `web::router`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Web;
use crate::net::grpc;
use crate::net::rpc_status::{Code, RpcStatus};
use crate::status::Status;

/// Answers OTLP and Zipkin's spans here: 404 for its paths, 415 for its content elsewhere, `UNIMPLEMENTED` over gRPC.
pub(super) async fn tell(State(web): State<Web>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_path = PATHS.contains(&request.uri().path());
    if request.method() != Method::POST || !(is_path || is_otlp(headers)) {
        return next.run(request).await;
    }
    let text = text(&web.status);
    if grpc::is_grpc(headers) {
        let status = RpcStatus::new(Code::Unimplemented, text);
        return grpc::failure(&status).into_response();
    }
    let status = if is_path {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    };
    (status, text + "\n").into_response()
}

/// Where senders of OTLP and Zipkin post.
const PATHS: [&str; 5] = [
    "/v1/traces",
    "/v1/logs",
    "/v1/metrics",
    "/api/v2/spans",
    "/api/v1/spans",
];

fn is_otlp(headers: &HeaderMap) -> bool {
    let protobuf = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-protobuf"));
    protobuf || grpc::is_grpc(headers)
}

fn text(status: &Status) -> String {
    let mut text =
        "this port serves pages and the JSON API and takes no spans; send them to".to_owned();
    for (index, receiver) in status.receivers.iter().enumerate() {
        let or = if index == 0 { "" } else { " or" };
        let place = match &receiver.address {
            Ok(address) => format!("{or} {address} ({})", receiver.protocol),
            Err(_) => format!("{or} nowhere ({}: not listening)", receiver.protocol),
        };
        text.push_str(&place);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use axum::body::{Body, to_bytes};
    use tower::ServiceExt as _;

    use crate::status::ReceiverStatus;
    use crate::views::{Config, Views};

    async fn ask(method: Method, path: &str, kind: &str) -> (Response, String) {
        let views = Views::new(Config {
            retention: std::time::Duration::from_secs(3600),
            trace_bytes: 1 << 20,
            view_bytes: 1 << 20,
        });
        let receivers = vec![
            Arc::new(ReceiverStatus::left_out("otlp-grpc", "taken".to_owned())),
            Arc::new(ReceiverStatus::listening(
                "otlp-http",
                "127.0.0.1:4318".to_owned(),
            )),
            Arc::new(ReceiverStatus::listening(
                "zipkin",
                "127.0.0.1:9411".to_owned(),
            )),
        ];
        let status = Status {
            receivers,
            ..Status::default()
        };
        let closing = tokio::sync::watch::channel(false).1;
        let web = Web::new(Arc::new(views), Arc::new(status), closing);
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, kind);
        let response = crate::web::router(web).oneshot(request.body(Body::empty()).unwrap());
        let (parts, body) = response.await.unwrap().into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (Response::from_parts(parts, Body::empty()), text)
    }

    #[tokio::test]
    async fn senders_of_spans_hear_of_their_port() {
        for (path, kind, status) in [
            ("/v1/traces", "application/x-protobuf", 404),
            ("/v1/traces", "application/json", 404),
            ("/api/v2/spans", "application/json", 404),
            ("/", "application/x-protobuf", 415),
        ] {
            let (response, text) = ask(Method::POST, path, kind).await;
            assert_eq!(response.status(), status, "{path} {kind}");
            assert!(text.contains("127.0.0.1:4318 (otlp-http)"), "{text}");
            assert!(text.contains("nowhere (otlp-grpc"), "{text}");
            assert!(text.contains("127.0.0.1:9411 (zipkin)"), "{text}");
        }
        let (response, _) = ask(Method::POST, "/any", "application/grpc").await;
        assert_eq!(response.headers()["grpc-status"], "12");
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(message.contains("127.0.0.1:4318"), "{message}");
    }

    #[tokio::test]
    async fn everything_else_passes() {
        for (method, path, kind) in [
            (Method::GET, "/v1/traces", "application/x-protobuf"),
            (Method::POST, "/any", "application/json"),
        ] {
            let (response, text) = ask(method, path, kind).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND);
            assert!(text.contains("There is no such page"), "{text}");
        }
    }
}
