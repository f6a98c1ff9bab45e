//! Admission into a log on disk, where it waits.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tempfile::TempDir;

use crate::budget::Budget;
use crate::intake::Intake;
use crate::log::disk::{DiskConfig, Durability};
use crate::log::{BatchLog, OnFull, ReaderConfig};
use crate::net::body::Held;
use crate::receive::Receiver;
use crate::receive::format::Format;
use crate::signal::{Signal, Signals};
use crate::status::{ExporterStatus, ReceiverStatus};
use crate::views::{Config, Views};
use crate::wire::test_support;

fn receiver(directory: &TempDir, budget: &Budget) -> Receiver {
    let config = DiskConfig {
        directory: directory.path().to_owned(),
        durability: Durability::Synced,
        limit: 128 << 20,
        retention: Duration::from_secs(3_600),
    };
    let reader = ReaderConfig {
        status: Arc::new(ExporterStatus::default()),
        on_full: OnFull::DropOldest,
    };
    let opened = BatchLog::on_disk(&config, 8 << 20, vec![reader], Arc::default());
    let (log, _cursors, _) = opened.unwrap();
    let views = Arc::new(Views::new(Config {
        retention: Duration::from_secs(3_600),
        trace_bytes: 1 << 20,
        view_bytes: 1 << 20,
    }));
    Receiver {
        access: Arc::default(),
        intake: Intake::new(log, views),
        takes: Signals::ALL,
        budget: budget.clone(),
        requests: Budget::new(1 << 20),
        status: Arc::new(ReceiverStatus::listening("otlp-http", "here".to_owned())),
        others: Arc::default(),
    }
}

#[tokio::test]
async fn memory_stays_reserved_while_a_batch_waits_for_the_disk() {
    let (directory, budget) = (TempDir::new().unwrap(), Budget::new(1 << 20));
    let receiver = receiver(&directory, &budget);
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"0102030405060708",
        "traceId":"01020304050607080102030405060708","name":"pay"}]}]}]}"#;
    let protobuf = test_support::request("shop", 10);
    for (format, body) in [
        (Format::OtlpProtobuf, &protobuf[..]),
        (Format::OtlpJson, &json[..]),
    ] {
        let mut waited = 0;
        for _ in 0..20 {
            let held = Held {
                bytes: body.to_vec().into(),
                reservation: budget.reserve(body.len()).unwrap(),
            };
            let mut admitted = pin!(receiver.admit(Signal::Traces, format, held));
            // A sync may be quicker than the first look at it, but not every time.
            let answer = match admitted.as_mut().now_or_never() {
                Some(answer) => answer,
                None => {
                    waited += 1;
                    assert!(budget.used() > 0, "{format:?}");
                    admitted.await
                }
            };
            assert!(answer.is_ok(), "{answer:?}");
        }
        assert!(waited > 0, "{format:?}");
        assert_eq!(budget.used(), 0, "{format:?}");
    }
}
