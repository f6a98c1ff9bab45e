//! What a task that a handler spawns keeps of the request, as the crate's documentation tells it.

use std::convert::Infallible;
use std::future::{Ready, ready};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Empty;
use tower_layer::Layer as _;
use tower_service::Service as _;
use tracing::{Instrument as _, Span, info, info_span};

use super::super::testing::{Bench, Handler, get};

/// Answers a request by a handler that runs `spawn` and waits for its task; gives the request id of the
/// task's line and that of the call the task made.
async fn ids(spawn: impl Fn(Task) -> tokio::task::JoinHandle<()>) -> (Option<String>, String) {
    let bench = Bench::new();
    let (sent, seen) = std::sync::mpsc::channel();
    let task = || Task {
        client: bench.client_layer(),
        sent: sent.clone(),
    };
    let mut request = get("/orders");
    let id = "abc".parse().unwrap();
    request.headers_mut().insert("x-request-id", id);
    let mut service = bench.service(|_: Request<()>| {
        let task = spawn(task());
        async move {
            task.await.unwrap();
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    service.call(request).await.unwrap();
    let lines = bench.lines();
    let line = lines.iter().find(|line| line["message"] == "spawned");
    let logged = line.unwrap()["request_id"].as_str().map(str::to_owned);
    (logged, seen.try_recv().unwrap())
}

/// What the spawned task does: a line and a call.
struct Task {
    client: crate::http::ClientLayer,
    sent: std::sync::mpsc::Sender<String>,
}

impl Task {
    async fn run(self) {
        info!("spawned");
        let sent = self.sent;
        let server = move |request: Request<()>| -> Ready<Result<_, Infallible>> {
            let id = request.headers()["x-request-id"].to_str().unwrap();
            sent.send(id.to_owned()).unwrap();
            ready(Ok(Response::new(Empty::<Bytes>::new())))
        };
        let call = self.client.layer(Handler(server)).call(get("/stock"));
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_task_within_a_span_of_the_request_keeps_the_request() {
    let made_in_handler = ids(|task| tokio::spawn(task.run().instrument(info_span!("job")))).await;
    assert_eq!(made_in_handler, (Some("abc".to_owned()), "abc".to_owned()));
    let current = ids(|task| {
        let _handler = info_span!("handler").entered();
        tokio::spawn(task.run().in_current_span())
    });
    assert_eq!(current.await, (Some("abc".to_owned()), "abc".to_owned()));
}

#[tokio::test]
async fn a_task_without_one_does_not() {
    let (logged, sent) = ids(|task| tokio::spawn(task.run())).await;
    assert_eq!(logged, None);
    assert_ne!(
        sent, "abc",
        "a call outside of any request has an id of its own"
    );
    // The kit makes no `tracing` span of a request: without one of the service's there is none to take.
    let (logged, sent) = ids(|task| tokio::spawn(task.run().instrument(Span::current()))).await;
    assert_eq!(logged, None);
    assert_ne!(sent, "abc");
}
