//! The locks of the receivers' doors: certificates, SPIFFE IDs, tokens, browsers, wrong doors; and files that are rotated
//! while the collector runs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_collector::net::client::Protocol;

use super::certificates::{Authority, Files, Signed};
use super::process::{Collector, bellwether_with, get, post, wait_for};
use super::sender::{ALL, Kind, Sender};
use super::{batch, metric};

const CART: &str = "spiffe://shop.example/cart";
const TOKEN: &str = "0123456789abcdef-old";
const NEXT_TOKEN: &str = "0123456789abcdef-new";

/// A collector whose receivers are in TLS, with these arguments beside.
fn start(files: &Files, authority: &Authority, more: &[&str]) -> Collector {
    let server = authority.server();
    files.mount(&[("tls.crt", &server.cert), ("tls.key", &server.key)]);
    let (cert, key) = (files.name("tls.crt"), files.name("tls.key"));
    let mut args = vec!["--tls-cert-file", &*cert, "--tls-key-file", &*key];
    args.extend(["--reload-interval", "100ms"]);
    args.extend(more);
    Collector::start(&args)
}

fn counted(collector: &Collector, name: &str, kind: Kind) -> f64 {
    let protocol = kind.protocol();
    let metric = metric(
        collector,
        &format!("bellwether_receiver_{name}_total{{protocol=\"{protocol}\"}}"),
    );
    metric.unwrap_or(-1.0)
}

#[test]
fn clients_are_told_by_their_certificates() {
    let (files, ours, theirs) = (Files::new(), Authority::new(), Authority::new());
    files.write("clients.pem", &ours.pem());
    let clients = files.name("clients.pem");
    let collector = start(
        &files,
        &ours,
        &[
            "--tls-client-ca-file",
            &clients,
            "--tls-client-id",
            CART,
            "--tls-client-id",
            "spiffe://stock.example",
        ],
    );
    let refused: [(&str, Option<Signed>); 5] = [
        ("peer sent no certificates", None),
        ("certificate expired", Some(ours.expired(CART))),
        ("UnknownIssuer", Some(theirs.workload(CART))),
        (
            "spiffe://evil.example/cart is not among the clients that may come in",
            Some(ours.workload("spiffe://evil.example/cart")),
        ),
        (
            "spiffe://shop.example/cart/2 is not among",
            Some(ours.workload("spiffe://shop.example/cart/2")),
        ),
    ];
    let begun = Instant::now();
    let accepted = [CART, "spiffe://stock.example/any/where"].map(|id| ours.workload(id));
    for kind in ALL {
        for (number, (reason, signed)) in refused.iter().enumerate() {
            let tls = files.client(&ours, signed.as_ref());
            let mut sender = Sender::new(kind, &collector, Some(tls));
            assert!(!sender.is_let_in("cart"), "{kind:?}: {reason}");
            // The client knows that it was refused before it is noted.
            wait_for(reason, || {
                let (_, status) = get(&collector.web("/api/v1/status"));
                status.contains(reason)
            });
            assert!(counted(&collector, "failed_handshakes", kind) > number as f64);
        }
        assert_eq!(counted(&collector, "accepted_spans", kind), 0.0);
        for signed in &accepted {
            let tls = files.client(&ours, Some(signed));
            Sender::new(kind, &collector, Some(tls)).send("cart");
        }
        assert_eq!(counted(&collector, "accepted_spans", kind), 6.0);
    }
    // Told at a bounded rate: by each receiver at once and then every ten seconds, not for each connection.
    let told = || collector.lines_with("connections were refused, this one last");
    wait_for("a line of each receiver", || told().len() >= 3);
    let most = 3 * (1 + begun.elapsed().as_secs() / 10);
    let told = told();
    assert!(told.len() as u64 <= most, "{told:?}");
    assert!(told.iter().all(|line| line["reason"].is_string()));
    let (_, page) = get(&collector.web("/status"));
    assert!(page.contains("in TLS with client certificates"), "{page}");
    assert_eq!(
        collector.started()["client_certificates"],
        "otlp-grpc,otlp-http,zipkin"
    );
    collector.stop();
}

/// A client that has sent already when it is refused, as all do in TLS 1.3, still hears why.
#[test]
fn who_is_refused_reads_the_alert() {
    let (files, ours, theirs) = (Files::new(), Authority::new(), Authority::new());
    files.write("clients.pem", &ours.pem());
    let clients = files.name("clients.pem");
    let args = ["--tls-client-ca-file", &*clients, "--tls-client-id", CART];
    let collector = start(&files, &ours, &args);
    let stranger = ours.workload("spiffe://evil.example/cart");
    for (signed, alert) in [
        (None, "CertificateRequired"),
        (Some(ours.expired(CART)), "CertificateExpired"),
        (Some(theirs.workload(CART)), "UnknownCA"),
        (Some(stranger), "CertificateUnknown"),
    ] {
        let tls = files.client(&ours, signed.as_ref());
        let config = tls.load(Protocol::Http2).unwrap();
        for _ in 0..5 {
            let name = "127.0.0.1".try_into().unwrap();
            let mut connection = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
            let mut socket = TcpStream::connect(collector.grpc_address()).unwrap();
            while connection.is_handshaking() {
                connection.complete_io(&mut socket).unwrap();
            }
            // Some of it while the alert is on its way, some when it is there.
            for is_there in [false, true] {
                if is_there {
                    socket.peek(&mut [0]).unwrap();
                }
                for _ in 0..50 {
                    connection.writer().write_all(b"spans").unwrap();
                    while connection.wants_write() {
                        connection.write_tls(&mut socket).unwrap();
                    }
                }
            }
            let mut stream = rustls::StreamOwned::new(connection, socket);
            let error = stream.read(&mut [0; 16]).unwrap_err().to_string();
            assert!(error.contains(alert), "{error} is not {alert}");
        }
    }
    collector.stop();
}

#[test]
fn rotated_files_are_taken_up_while_a_connection_lives_on() {
    let (files, old, new) = (Files::new(), Authority::new(), Authority::new());
    files.write("clients.pem", &old.pem());
    files.write("tokens", TOKEN);
    let (clients, tokens) = (files.name("clients.pem"), files.name("tokens"));
    let token = format!("${{file:{tokens}}}");
    let collector = start(
        &files,
        &old,
        &["--tls-client-ca-file", &clients, "--auth-token", &token],
    );
    let old_tls = files.client(&old, Some(&old.workload(CART)));
    let new_tls = files.client(&new, Some(&new.workload(CART)));
    for kind in [Kind::Grpc, Kind::Http] {
        let sender = |tls| Sender::new(kind, &collector, Some(tls)).token(TOKEN);
        assert!(!sender(new_tls.clone()).is_let_in("cart"));
    }
    let mut living = [Kind::Grpc, Kind::Http]
        .map(|kind| Sender::new(kind, &collector, Some(old_tls.clone())).token(TOKEN));
    living.iter_mut().for_each(|sender| sender.send("cart"));

    // A key that comes after its certificate, and half a file, leave what was in force.
    let rotated = new.server();
    files.mount(&[("tls.crt", &rotated.cert), ("tls.key", "")]);
    wait_for("the broken files to be told", || {
        !collector.lines_with("the certificates and keys of receivers cannot be used as they are now; the last good ones stay in force").is_empty()
    });
    let mut sender = Sender::new(Kind::Http, &collector, Some(old_tls.clone())).token(TOKEN);
    sender.send("cart");

    // The server's certificate, then the authority of its clients, then the token.
    files.mount(&[("tls.crt", &rotated.cert), ("tls.key", &rotated.key)]);
    let between = files.client(&new, Some(&old.workload(CART)));
    wait_for("the new certificate", || {
        let mut sender = Sender::new(Kind::Grpc, &collector, Some(between.clone())).token(TOKEN);
        sender.is_let_in("cart")
    });
    assert!(
        !Sender::new(Kind::Http, &collector, Some(old_tls))
            .token(TOKEN)
            .is_let_in("cart")
    );
    files.write("clients.pem", &new.pem());
    wait_for("the new authority of clients", || {
        let mut sender = Sender::new(Kind::Http, &collector, Some(new_tls.clone())).token(TOKEN);
        sender.is_let_in("cart")
    });
    assert!(
        !Sender::new(Kind::Grpc, &collector, Some(between))
            .token(TOKEN)
            .is_let_in("cart")
    );
    // For a while both are valid.
    files.write("tokens", &format!("{TOKEN}\n{NEXT_TOKEN}\n"));
    let mut next = Sender::new(Kind::Grpc, &collector, Some(new_tls)).token(NEXT_TOKEN);
    wait_for("the new token", || next.is_let_in("cart"));

    // Neither of them trusts the certificate that is shown now: these are the connections they made then.
    living.iter_mut().for_each(|sender| sender.send("cart"));
    files.write("tokens", NEXT_TOKEN);
    wait_for("the old token to be over", || !living[0].is_let_in("cart"));
    let reply = living[1].try_send("cart").unwrap();
    assert_eq!(reply.status, 401);
    next.send("cart");
    let broken = "the certificates and keys of receivers cannot be used as they are now; the last good ones stay in force";
    assert_eq!(collector.lines_with(broken).len(), 1, "told once");
    collector.stop();
}

#[test]
fn a_token_is_asked_for_before_anything_else() {
    let variables = [("SENDERS_TOKEN", TOKEN)];
    let args = [
        "--auth-token",
        "${SENDERS_TOKEN}",
        "--auth-receiver",
        "otlp_grpc",
        "--auth-receiver",
        "otlp_http",
    ];
    let collector = Collector::start_with(&args, &variables);
    for kind in [Kind::Grpc, Kind::Http] {
        for token in [None, Some("wrong-0123456789abcdef")] {
            let mut sender = Sender::new(kind, &collector, None);
            if let Some(token) = token {
                sender = sender.token(token);
            }
            let reply = sender.try_send("cart").unwrap();
            match kind {
                Kind::Grpc => assert_eq!(reply.headers["grpc-status"], "16", "{reply:?}"),
                _ => {
                    assert_eq!(reply.status, 401);
                    assert_eq!(reply.headers["www-authenticate"], "Bearer");
                    assert_eq!(reply.headers["content-type"], "application/x-protobuf");
                }
            }
            assert!(!format!("{reply:?}").contains(TOKEN));
        }
        Sender::new(kind, &collector, None)
            .token(TOKEN)
            .send("cart");
        assert_eq!(counted(&collector, "denied_requests", kind), 2.0);
        assert_eq!(counted(&collector, "accepted_spans", kind), 3.0);
    }
    // Neither a path that is not there nor a body that is malformed is told to a stranger.
    for path in ["/nothing", "/v1/traces", "/v1/logs"] {
        let url = format!("http://{}{path}", collector.http_address());
        assert_eq!(post(&url, b"malformed").0, 401, "{path}");
    }
    Sender::new(Kind::Zipkin, &collector, None).send("cart");
    assert_eq!(collector.started()["tokens"], "otlp-grpc,otlp-http");
    let (_, page) = get(&collector.web("/status"));
    assert!(page.contains("in plaintext, for a token"), "{page}");
    let told = collector.lines_with("requests were refused, the last one for this reason");
    assert_eq!(told.len(), 2, "once for each receiver: {told:?}");
    collector.stop();
}

/// Sends a head, perhaps with a body, and reads the answer to its end.
fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).to_ascii_lowercase()
}

const PREFLIGHT: &str = "OPTIONS /v1/traces HTTP/1.1\r\nhost: a\r\norigin: https://shop.example\r\n\
    access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\nconnection: close\r\n\r\n";

fn browser_post(origin: &str, token: &str) -> String {
    format!(
        "POST /v1/traces HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    )
}

#[test]
fn pages_of_allowed_origins_may_send() {
    let args = [
        "--auth-token",
        "${SENDERS_TOKEN}",
        "--cors-origin",
        "https://*.shop.example",
        "--cors-origin",
        "https://shop.example",
        "--cors-header",
        "x-team",
        "--cors-max-age",
        "10m",
    ];
    let collector = Collector::start_with(&args, &[("SENDERS_TOKEN", TOKEN)]);
    let http = collector.http_address();
    for address in [http, collector.zipkin_address()] {
        let answer = raw(address, PREFLIGHT);
        for part in [
            "http/1.1 204",
            "access-control-allow-origin: https://shop.example\r\n",
            "access-control-allow-methods: post\r\n",
            "access-control-allow-headers: authorization, content-encoding, content-type, x-team\r\n",
            "access-control-max-age: 600\r\n",
            "vary: origin\r\n",
        ] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    }
    // Refusals can be read by the page, too.
    for (origin, token, status, allowed) in [
        ("https://eu.shop.example", TOKEN, "200", true),
        ("https://eu.shop.example", "wrong", "401", true),
        ("https://evil.example", TOKEN, "200", false),
    ] {
        let answer = raw(http, &browser_post(origin, token));
        assert!(
            answer.starts_with(&format!("http/1.1 {status}")),
            "{answer}"
        );
        let allow = format!("access-control-allow-origin: {origin}\r\n");
        assert_eq!(answer.contains(&allow), allowed, "{answer}");
        assert_eq!(answer.contains("access-control-allow"), allowed, "{answer}");
        assert!(answer.contains("vary: origin"), "{answer}");
    }
    let elsewhere = PREFLIGHT.replace("https://shop", "https://evil");
    assert!(raw(http, &elsewhere).starts_with("http/1.1 403"));
    collector.stop();

    let silent = Collector::start(&[]);
    for request in [PREFLIGHT, &*browser_post("https://shop.example", TOKEN)] {
        let answer = raw(silent.http_address(), request);
        assert!(
            !answer.contains("access-control") && !answer.contains("vary"),
            "{answer}"
        );
    }
    silent.stop();
}

fn question(host: &str, more: &str) -> String {
    format!("GET /api/v2/services HTTP/1.1\r\nhost: {host}\r\n{more}connection: close\r\n\r\n")
}

/// Zipkin's questions at the port where its spans come in: behind the same locks, for the same hosts as pages, and for no
/// page of another origin, whoever may send.
#[test]
fn questions_are_let_in_as_spans_are() {
    let args = [
        "--auth-token",
        "${SENDERS_TOKEN}",
        "--cors-origin",
        "*",
        "--web-host",
        "traces.example",
    ];
    let collector = Collector::start_with(&args, &[("SENDERS_TOKEN", TOKEN)]);
    Sender::new(Kind::Zipkin, &collector, None)
        .token(TOKEN)
        .send("cart");
    let zipkin = collector.zipkin_address();
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    for (host, more, status) in [
        ("localhost", "", "401"),
        ("localhost", &*token, "200"),
        ("traces.example", &token, "200"),
        ("evil.example", &token, "421"),
    ] {
        let answer = raw(zipkin, &question(host, more));
        assert!(
            answer.starts_with(&format!("http/1.1 {status}")),
            "{host}: {answer}"
        );
        assert_eq!(answer.ends_with("[\"cart\"]"), status == "200", "{answer}");
    }
    let of_a_page = format!("{token}origin: https://evil.example\r\n");
    let answer = raw(zipkin, &question("localhost", &of_a_page));
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(!answer.contains("access-control"), "{answer}");
    assert!(answer.contains("cross-origin-resource-policy: same-origin"));
    assert_eq!(counted(&collector, "denied_requests", Kind::Zipkin), 1.0);
    collector.stop();
}

#[test]
fn questions_need_the_certificate_that_spans_need() {
    let (files, authority) = (Files::new(), Authority::new());
    files.write("clients.pem", &authority.pem());
    let clients = files.name("clients.pem");
    let args = ["--tls-client-ca-file", &*clients, "--tls-client-id", CART];
    let collector = start(&files, &authority, &args);
    for (signed, is_let_in) in [(None, false), (Some(authority.workload(CART)), true)] {
        let tls = files.client(&authority, signed.as_ref());
        let config = tls.load(Protocol::Http1).unwrap();
        let name = "127.0.0.1".try_into().unwrap();
        let connection = rustls::ClientConnection::new(config, name).unwrap();
        let socket = TcpStream::connect(collector.zipkin_address()).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, socket);
        let mut answer = Vec::new();
        // Who is refused may hear of it when it writes or when it reads.
        let asked = stream.write_all(question("localhost", "").as_bytes());
        let _ = asked.and_then(|()| stream.read_to_end(&mut answer));
        let is_answered = answer.starts_with(b"HTTP/1.1 200");
        assert_eq!(
            is_answered,
            is_let_in,
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    collector.stop();
}

#[test]
fn who_comes_to_the_wrong_door_is_told() {
    let (files, ours) = (Files::new(), Authority::new());
    // Zipkin alone stays in plaintext.
    let more = ["--tls-receiver", "otlp_grpc", "--tls-receiver", "otlp_http"];
    let collector = start(&files, &ours, &more);
    for kind in [Kind::Grpc, Kind::Http] {
        let reply = Sender::new(kind, &collector, None)
            .try_send("cart")
            .unwrap();
        let text = match kind {
            Kind::Grpc => {
                assert_eq!(reply.headers["grpc-status"], "14");
                reply.headers["grpc-message"].to_str().unwrap().to_owned()
            }
            _ => {
                assert_eq!(reply.status, 400);
                String::from_utf8(reply.body.to_vec()).unwrap()
            }
        };
        assert!(text.contains("this port takes TLS only"), "{text}");
        assert_eq!(counted(&collector, "failed_handshakes", kind), 1.0);
        let tls = files.client(&ours, None);
        Sender::new(kind, &collector, Some(tls)).send("cart");
    }
    let tls = files.client(&ours, None);
    let error = Sender::new(Kind::Zipkin, &collector, Some(tls)).try_send("cart");
    let error = error.unwrap_err().to_string();
    assert!(error.contains("if it speaks no TLS"), "{error}");
    Sender::new(Kind::Zipkin, &collector, None).send("cart");
    let reason = "it came in TLS, and this port is plaintext";
    wait_for("the line that tells of it", || {
        let told = collector.lines_with("connections were refused, this one last");
        told.iter()
            .any(|line| line["reason"] == reason && line["protocol"] == "zipkin")
    });
    assert_eq!(collector.started()["tls"], "otlp-grpc,otlp-http");
    collector.stop();
}

/// Peers that connect and never shake hands have every place, again and again.
#[test]
fn a_flood_of_slow_handshakes_holds_nobody_back() {
    let (files, ours) = (Files::new(), Authority::new());
    files.write("clients.pem", &ours.pem());
    let clients = files.name("clients.pem");
    let more = ["--memory-limit", "64MiB", "--tls-client-ca-file", &clients];
    let collector = start(&files, &ours, &more);
    let tls = files.client(&ours, Some(&ours.workload(CART)));
    let mut known = Sender::new(Kind::Grpc, &collector, Some(tls.clone()));
    known.send("cart");
    // The beginning of a handshake, whose rest never comes; there are 128 places.
    let flood: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(collector.grpc_address()).unwrap();
            stream.write_all(&[22, 3, 1, 2, 0, 1, 0]).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    Sender::new(Kind::Grpc, &collector, Some(tls)).send("cart");
    // Ten seconds is what each of the slow ones would have.
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    known.send("cart");
    let gave_way = "all connections are in use: peers that sent no request in time, or did not shake hands, gave way to others";
    assert!(!collector.lines_with(gave_way).is_empty());
    #[cfg(target_os = "linux")]
    assert!(collector.resident_bytes() < 64 << 20);
    drop(flood);
    collector.stop();
}

/// No limit counts what they hold, as for those in plaintext.
#[cfg(target_os = "linux")]
#[test]
fn idle_connections_in_tls_keep_little_memory() {
    let (files, ours) = (Files::new(), Authority::new());
    let collector = start(&files, &ours, &[]);
    let tls = files.client(&ours, None);
    let send = |kind| {
        let mut sender = Sender::new(kind, &collector, Some(tls.clone()));
        sender.send("cart");
        sender
    };
    drop(send(Kind::Http));
    let before = collector.resident_bytes();
    let idle: Vec<_> = (0..100)
        .map(|number| send([Kind::Http, Kind::Grpc][number % 2]))
        .collect();
    let each = (collector.resident_bytes() - before) / idle.len() as u64;
    assert!(each < 128 * 1024, "{each} bytes for each idle connection");
    collector.stop();
}

#[test]
fn one_collector_sends_to_another_with_its_certificate_and_token() {
    let (files, ours) = (Files::new(), Authority::new());
    files.write("clients.pem", &ours.pem());
    files.write("tokens", NEXT_TOKEN);
    files.write("token", TOKEN);
    let (clients, tokens) = (
        files.name("clients.pem"),
        format!("${{file:{}}}", files.name("tokens")),
    );
    let gateway = start(
        &files,
        &ours,
        &[
            "--tls-client-ca-file",
            &clients,
            "--tls-client-id",
            CART,
            "--auth-token",
            &tokens,
        ],
    );
    let signed = ours.workload(CART);
    files.write("ca.pem", &ours.pem());
    files.write("client.crt", &signed.cert);
    files.write("client.key", &signed.key);
    let mut yaml = "reload_interval: 100ms\nexporters:\n".to_owned();
    for (name, url) in [
        ("grpc", format!("otlp+grpcs://{}", gateway.grpc_address())),
        ("http", format!("otlp+https://{}", gateway.http_address())),
    ] {
        yaml.push_str(&format!(
            "  - name: {name}\n    url: {url}\n    headers: {{authorization: \"Bearer ${{file:{}}}\"}}\n    retry: {{longest: 200ms}}\n    \
             tls: {{ca_file: {}, cert_file: {}, key_file: {}}}\n",
            files.name("token"),
            files.name("ca.pem"),
            files.name("client.crt"),
            files.name("client.key"),
        ));
    }
    files.write("agent.yaml", &yaml);
    let agent = Collector::start(&["--config", &files.name("agent.yaml")]);
    assert_eq!(post(&agent.traces(), &batch("cart", 5)).0, 200);
    // The wrong token: nothing is taken, and nothing is refused for good.
    let of = |what: &str, name: &str| {
        metric(
            &agent,
            &format!("bellwether_exporter_{what}_total{{exporter=\"{name}\"}}"),
        )
    };
    for name in ["grpc", "http"] {
        wait_for("the wrong token to be refused", || {
            of("retries", name) > Some(1.0)
        });
        assert_eq!(of("set_aside_spans", name), Some(0.0));
    }
    files.write("token", NEXT_TOKEN);
    for name in ["grpc", "http"] {
        wait_for("the right token", || of("sent_spans", name) == Some(5.0));
        assert_eq!(of("set_aside_spans", name), Some(0.0));
    }
    agent.stop();
    gateway.stop();
}

#[test]
fn faults_of_locks_are_told_before_anything_starts() {
    let (files, ours, theirs) = (Files::new(), Authority::new(), Authority::new());
    let (server, other) = (ours.server(), theirs.server());
    files.write("cert.pem", &server.cert);
    files.write("key.pem", &other.key);
    let text = format!(
        "tls:\n  cert_file: {cert}\n  key_file: {key}\n  client_ids: [\"spiffe://A/b\", \"https://a\"]\n  receivers: [otlp]\n\
         auth:\n  tokens: [\"s3cret-s3cret-s3cret\", \"${{file:/nonexistent}}\"]\n\
         cors:\n  headers: [\"a b\"]\n  max_age: 1w\n\
         connections: {{max_age: 0s, idle: 1s}}\nexporters:\n  - url: otlp+http://a\n    headers: {{authorization: }}\n",
        cert = files.name("cert.pem"),
        key = files.name("key.pem"),
    );
    let file = files.write("collector.yaml", &text);
    let output = bellwether_with(&["check", file.to_str().unwrap()], &[]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for part in [
        ":2: tls.cert_file: ",
        "cannot be used together",
        ":4: tls.client_ids[0]: \"spiffe://A/b\" is not allowed: a SPIFFE ID is needed",
        ":4: tls.client_ids[1]: \"https://a\" is not allowed: only together with tls.client_ca_file",
        ":5: tls.receivers[0]: \"otlp\" is not allowed: allowed are otlp_grpc, otlp_http, zipkin",
        ":7: auth.tokens[0]: write ${NAME} or ${file:PATH}: a token itself does not belong here",
        ":7: auth.tokens[1]: /nonexistent cannot be read",
        ":9: cors.headers[0]: \"a b\" is not allowed",
        ":9: cors.headers[0]: \"a b\" is not allowed: only together with cors.origins",
        ":10: cors.max_age: \"1w\" is not allowed",
        ":11: connections.max_age: \"0s\" is not allowed: allowed are 1s to 24h, or never",
        ":11: connections.idle: there is no such key",
        ":14: exporters[0].headers.authorization: the value is empty",
    ] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert!(!errors.contains("s3cret"), "{errors}");
}
