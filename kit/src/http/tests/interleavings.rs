//! Several requests polled, failed, panicked and dropped in any order: each settles exactly once, as what
//! was seen of it says.

use std::pin::Pin;
use std::task::Poll;

use ::http::{Request, Response};
use proptest::prelude::*;
use tower_service::Service as _;

use crate::http::testing::{Bench, Script, Step, poll_body, poll_once, request, text};
use crate::http::{ResponseBody, ResponseFuture};

/// What a handler does once it has been pending for a while.
#[derive(Clone, Debug)]
enum End {
    Respond { status: u16, body: Script },
    Fail,
    Panic,
    PanicInCall,
}

#[derive(Clone, Debug)]
struct Plan {
    method: &'static str,
    pending: usize,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Poll,
    Drop,
}

type HandlerFuture = Pin<Box<dyn Future<Output = Result<Response<Script>, &'static str>>>>;

fn handle(plan: Plan) -> HandlerFuture {
    assert!(!matches!(plan.end, End::PanicInCall), "scripted");
    Box::pin(async move {
        for _ in 0..plan.pending {
            tokio::task::yield_now().await;
        }
        match plan.end {
            End::Respond { status, body } => {
                Ok(Response::builder().status(status).body(body).unwrap())
            }
            End::Fail => Err("down"),
            End::Panic | End::PanicInCall => panic!("scripted"),
        }
    })
}

/// One request under way, and what it must be told to have ended as, once that is certain.
struct Flight {
    plan: Plan,
    stage: Stage,
    sent: u64,
    outcome: Option<&'static str>,
}

enum Stage {
    Head(Pin<Box<ResponseFuture<HandlerFuture>>>),
    Body(Box<ResponseBody<Script>>),
    Over,
}

impl Flight {
    fn decide(&mut self, outcome: &'static str) {
        self.outcome.get_or_insert(outcome);
    }

    fn answered(&self) -> &'static str {
        match self.plan.end {
            End::Respond { status, .. } if status >= 500 => "error",
            _ => "ok",
        }
    }

    fn apply(&mut self, action: Action) {
        match (action, std::mem::replace(&mut self.stage, Stage::Over)) {
            (Action::Drop, Stage::Over) | (Action::Poll, Stage::Over) => {}
            (Action::Drop, _) => self.decide("client_gone"),
            (Action::Poll, Stage::Head(mut future)) => match poll_once(future.as_mut()) {
                Poll::Pending => self.stage = Stage::Head(future),
                Poll::Ready(result) => self.head(result),
            },
            (Action::Poll, Stage::Body(body)) => self.body(body),
        }
    }

    fn head(&mut self, result: Result<Response<ResponseBody<Script>>, &'static str>) {
        match (&self.plan.end, &result) {
            (End::Fail, Err(_)) => self.decide("error"),
            (End::Panic | End::PanicInCall, Ok(response)) => {
                assert_eq!(response.status(), 500);
                self.decide("panic");
            }
            (End::Respond { status: 101, .. }, Ok(_)) => self.decide("upgraded"),
            (End::Respond { status, body }, Ok(_)) => {
                let bodiless = self.plan.method == "HEAD"
                    || matches!(status, 204 | 304)
                    || (body.tells_end && body.steps.is_empty())
                    || body.exact_size == Some(0);
                if bodiless {
                    self.decide(self.answered());
                }
            }
            other => panic!("{other:?}"),
        }
        if let Ok(response) = result {
            self.stage = Stage::Body(Box::new(response.into_body()));
        }
    }

    fn body(&mut self, mut body: Box<ResponseBody<Script>>) {
        let polled = poll_body(&mut *body);
        let End::Respond { body: script, .. } = &mut self.plan.end else {
            return;
        };
        let (step, tells_end) = (script.steps.pop_front(), script.tells_end);
        let last = tells_end && script.steps.is_empty();
        match (step, polled) {
            (None, Poll::Ready(None)) => self.decide(self.answered()),
            (Some(Step::Pending), Poll::Pending) => {}
            (Some(Step::Data(data)), Poll::Ready(Some(Ok(_)))) => {
                self.sent += data.len() as u64;
                let exact_size = script.exact_size;
                if last || exact_size.is_some_and(|size| self.sent >= size) {
                    self.decide(self.answered());
                }
            }
            (Some(Step::Trailers), Poll::Ready(Some(Ok(_)))) => self.decide(self.answered()),
            (Some(Step::Error), Poll::Ready(Some(Err(_)))) => return self.decide("body_error"),
            (Some(Step::Panic), Poll::Ready(Some(Err(_)))) => return self.decide("panic"),
            (step, polled) => panic!("{step:?} gave {polled:?}"),
        }
        self.stage = Stage::Body(body);
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Pending),
        5 => prop_oneof![Just(""), Just("abc"), Just("de")].prop_map(Step::Data),
        1 => Just(Step::Trailers),
        1 => Just(Step::Error),
        1 => Just(Step::Panic),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let size = proptest::option::of(0_u64..8);
    (proptest::collection::vec(step(), 0..6), any::<bool>(), size).prop_map(
        |(steps, tells_end, exact_size)| Script {
            steps: steps.into(),
            tells_end,
            exact_size,
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let statuses = prop_oneof![
        4 => Just(200),
        1 => prop_oneof![Just(101), Just(204), Just(304), Just(404), Just(500), Just(503)],
    ];
    let end = prop_oneof![
        8 => (statuses, script()).prop_map(|(status, body)| End::Respond { status, body }),
        1 => Just(End::Fail),
        1 => Just(End::Panic),
        1 => Just(End::PanicInCall),
    ];
    let method = prop_oneof![4 => Just("GET"), 1 => Just("HEAD")];
    (method, 0_usize..3, end).prop_map(|(method, pending, end)| Plan {
        method,
        pending,
        end,
    })
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![12 => Just(Action::Poll), 1 => Just(Action::Drop)]
}

fn run(plans: Vec<Plan>, schedule: &[(prop::sample::Index, Action)]) {
    let bench = Bench::new();
    let mut flights: Vec<_> = plans
        .into_iter()
        .enumerate()
        .map(|(index, plan)| {
            let script = plan.clone();
            let mut service = bench.service(move |_: Request<()>| handle(script.clone()));
            let mut request = request(plan.method, "/");
            let id = format!("request-{index}").parse().unwrap();
            request.headers_mut().insert("x-request-id", id);
            let future = Box::pin(service.call(request));
            Flight {
                plan,
                stage: Stage::Head(future),
                sent: 0,
                outcome: None,
            }
        })
        .collect();
    for (index, action) in schedule {
        index.get_mut(&mut flights).apply(*action);
        let open = flights.iter().filter(|flight| flight.outcome.is_none());
        assert_eq!(bench.active(), i64::try_from(open.count()).unwrap());
    }
    for flight in &mut flights {
        flight.apply(Action::Drop);
    }
    assert_eq!(bench.active(), 0);
    assert_eq!(bench.measured(), flights.len() as u64);
    let (lines, spans) = (bench.closing_lines(), bench.spans.drain());
    assert_eq!((lines.len(), spans.len()), (flights.len(), flights.len()));
    for (index, flight) in flights.iter().enumerate() {
        let id = format!("request-{index}");
        let line = lines.iter().find(|line| line["request_id"] == id.as_str());
        let line = line.expect("one line for each request");
        let span = spans
            .iter()
            .find(|span| span.context.request_id.as_str() == id)
            .expect("one span for each request");
        assert_eq!(
            line["outcome"].as_str(),
            flight.outcome,
            "{:?}",
            flight.plan
        );
        let told = text(&span.attributes, "bellwether.outcome");
        assert_eq!(told.as_deref().unwrap_or("ok"), line["outcome"]);
    }
    assert!(crate::context::current().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_request_settles_exactly_once(
        plans in proptest::collection::vec(plan(), 1..4),
        schedule in proptest::collection::vec((any::<prop::sample::Index>(), action()), 0..40),
    ) {
        run(plans, &schedule);
    }
}
