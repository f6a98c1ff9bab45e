//! WebSockets outlive their request: they settle at 101, are waited for, told, and cut at the end.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::service::{Service, text};

/// A WebSocket that has agreed on whether the service says goodbye.
async fn open(service: &Service, manners: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(service.addr).await.unwrap();
    let url = format!("ws://{}/ws", service.addr);
    let (mut socket, answer) = client_async(url, stream).await.unwrap();
    assert_eq!(answer.status(), 101);
    socket.send(Message::text(manners)).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text("agreed")));
    socket
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    socket.next().await?.ok()
}

#[tokio::test]
async fn it_settles_at_its_upgrade_and_lives_on() {
    let mut service = Service::start(&[]).await;
    let mut socket = open(&service, "polite").await;
    let closing = service.closing("/ws").await;
    assert_eq!(closing["outcome"], "upgraded");
    assert_eq!(closing["http.response.status_code"], 101);
    socket.send(Message::text("still here")).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text("still here")));
    // Told when the service is to stop, long before its time is up.
    let began = Instant::now();
    service.signal("TERM");
    assert_eq!(next(&mut socket).await, Some(Message::Close(None)));
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    let cut = |line: &Value| line.get("connections").is_some();
    assert!(!service.lines().iter().any(cut));
}

#[tokio::test]
async fn one_that_does_not_end_is_waited_for_then_cut() {
    let mut service = Service::start(&[("BELLWETHER_GRACE", "3s")]).await;
    let mut socket = open(&service, "stubborn").await;
    let began = Instant::now();
    service.signal("TERM");
    service.line(|line| line["message"] == "draining").await;
    socket.send(Message::text("not yet")).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text("not yet")));
    assert_eq!(next(&mut socket).await, None);
    // The flush has a fifth of the grace.
    assert!(
        began.elapsed() >= Duration::from_millis(2_300),
        "{:?}",
        began.elapsed()
    );
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
    let cut = service.line(|line| line.get("connections").is_some()).await;
    assert_eq!(
        (&cut["connections"], &cut["level"]),
        (&1.into(), &"WARN".into())
    );
    // Its task has seen the end, and what it logged then was flushed.
    let lines = service.lines();
    let at = |message: &str| {
        let at = lines
            .iter()
            .position(|line| text(line, "message") == message);
        at.unwrap_or_else(|| panic!("no {message:?} in {lines:#?}"))
    };
    assert!(at("socket closed") < at("stopped"));
}
