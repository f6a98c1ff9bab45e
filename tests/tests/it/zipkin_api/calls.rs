//! Traces as Zipkin's senders have them, made by chance but always the same: calls whose halves share an id or do not,
//! retries, databases, brokers, work inside a service, roots that are missing.

use serde_json::{Value, json};

const SERVICES: [&str; 5] = ["Front-End", "cart", "Pricing", "stock", "mailer"];

/// `count` traces from `start` on (Unix microseconds), seven seconds apart.
pub(super) fn traces(count: u64, start: u64) -> Vec<Vec<Value>> {
    let traces = 0..count;
    traces
        .map(|number| {
            let mut trace = Trace::new(number, start + number * 7_000_000);
            trace.root(number);
            trace.spans
        })
        .collect()
}

struct Trace {
    id: String,
    spans: Vec<Value>,
    /// The state of the generator, splitmix64's.
    chance: u64,
    last_id: u64,
    micros: u64,
}

impl Trace {
    fn new(number: u64, micros: u64) -> Self {
        // As long as senders make them: of 64 bits, of 128, and of 128 that are 64.
        let id = match number % 4 {
            0 => format!("{:016x}", 0xa000 + number),
            1 => format!("{:032x}", 0xb000 + number),
            _ => format!(
                "{:032x}",
                0x7_0000_0000_0000_0000_0000_u128 + u128::from(number)
            ),
        };
        Self {
            id,
            spans: Vec::new(),
            chance: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            last_id: number << 16,
            micros,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn next_id(&mut self) -> String {
        self.last_id += 1;
        format!("{:016x}", self.last_id)
    }

    fn service(&mut self) -> &'static str {
        SERVICES[self.below(SERVICES.len() as u64) as usize]
    }

    /// A span of `service`, which goes on where the trace is.
    fn span(&mut self, id: &str, parent: Option<&str>, kind: Option<&str>, service: &str) -> Value {
        self.micros += 1 + self.below(400);
        let mut span = json!({
            "traceId": self.id, "id": id, "name": format!("{} {service}", ["GET", "put", "Work"][self.below(3) as usize]),
            "timestamp": self.micros, "duration": 1 + self.below(50_000), "localEndpoint": {"serviceName": service},
        });
        if let Some(parent) = parent {
            span["parentId"] = parent.into();
        }
        if let Some(kind) = kind {
            span["kind"] = kind.into();
        }
        if self.below(3) == 0 {
            span["localEndpoint"]["ipv4"] = format!("10.0.0.{}", 1 + self.below(3)).into();
        }
        if self.below(3) == 0 {
            let status = 200 + 300 * self.below(2);
            span["tags"] = json!({"http.method": "GET", "http.status_code": status.to_string()});
        }
        if self.below(6) == 0 {
            span["tags"]["error"] = ["timeout", "", "500"][self.below(3) as usize].into();
        }
        if self.below(4) == 0 {
            span["annotations"] = json!([
                {"timestamp": self.micros + 9, "value": "cache miss"}, {"timestamp": self.micros + 2, "value": "Wire Send"},
            ]);
        }
        span
    }

    fn root(&mut self, number: u64) {
        let id = self.next_id();
        let mut root = self.span(&id, None, Some("SERVER"), SERVICES[0]);
        if number.is_multiple_of(3) {
            root["remoteEndpoint"] =
                json!({"serviceName": "Browser", "ipv6": "2001:DB8:0:0:0:0:0:7"});
        }
        // One that never came.
        if number % 7 != 6 {
            self.spans.push(root);
        }
        for _ in 0..1 + self.below(3) {
            self.work(SERVICES[0], &id, 3);
        }
    }

    /// Something that `service` does below `parent`.
    fn work(&mut self, service: &str, parent: &str, depth: u64) {
        if depth == 0 {
            return;
        }
        let parent = Some(parent);
        match self.below(9) {
            0 => self.call(service, parent, depth, false),
            1 | 2 => self.call(service, parent, depth, true),
            3 => self.retry(service, parent, depth),
            4 => {
                let id = self.next_id();
                let span = self.span(&id, parent, None, service);
                self.spans.push(span);
                self.work(service, &id, depth - 1);
            }
            5 => {
                let id = self.next_id();
                let mut span = self.span(&id, parent, Some("CLIENT"), service);
                span["remoteEndpoint"] =
                    json!({"serviceName": "Postgres", "ipv4": "10.9.9.9", "port": 5432});
                self.spans.push(span);
            }
            6 => self.message(service, parent, depth),
            7 => {
                // Knows both sides, and does not say which one it is.
                let id = self.next_id();
                let mut span = self.span(&id, parent, None, service);
                span["remoteEndpoint"] = json!({"serviceName": "redis"});
                self.spans.push(span);
            }
            _ => self.answer_without_call(parent, depth),
        }
    }

    fn call(&mut self, service: &str, parent: Option<&str>, depth: u64, is_shared: bool) {
        let (id, called) = (self.next_id(), self.service());
        let mut client = self.span(&id, parent, Some("CLIENT"), service);
        match self.below(3) {
            0 => client["remoteEndpoint"] = json!({"serviceName": called}),
            1 => client["remoteEndpoint"] = json!({"serviceName": "load-balancer", "port": 80}),
            _ => {}
        }
        self.spans.push(client);
        // The called one may not have sent anything.
        if self.below(6) == 0 {
            return;
        }
        if is_shared {
            let mut server = self.span(&id, parent, Some("SERVER"), called);
            // Some senders forget to say so, and some their parent.
            match self.below(4) {
                0 => {}
                1 => drop(server.as_object_mut().map(|span| span.remove("parentId"))),
                _ => server["shared"] = true.into(),
            }
            self.spans.push(server);
            self.work(called, &id, depth - 1);
        } else {
            let below = self.next_id();
            let server = self.span(&below, Some(&id), Some("SERVER"), called);
            self.spans.push(server);
            self.work(called, &below, depth - 1);
        }
    }

    /// Two calls in vain and a third that is answered; all with one id at times, by servers of different services.
    fn retry(&mut self, service: &str, parent: Option<&str>, depth: u64) {
        if self.below(3) == 0 {
            let id = self.next_id();
            let client = self.span(&id, parent, Some("CLIENT"), service);
            self.spans.push(client);
            for called in ["cart", "stock"] {
                let mut server = self.span(&id, parent, Some("SERVER"), called);
                server["shared"] = true.into();
                self.spans.push(server);
                self.work(called, &id, depth - 1);
            }
            return;
        }
        for _ in 0..2 {
            let id = self.next_id();
            let mut client = self.span(&id, parent, Some("CLIENT"), service);
            client["remoteEndpoint"] = json!({"serviceName": "stock"});
            client["tags"]["error"] = "connection refused".into();
            self.spans.push(client);
        }
        self.call(service, parent, depth, false);
    }

    fn message(&mut self, service: &str, parent: Option<&str>, depth: u64) {
        let (id, taker) = (self.next_id(), self.service());
        let mut producer = self.span(&id, parent, Some("PRODUCER"), service);
        producer["remoteEndpoint"] = json!({"serviceName": "Kafka"});
        self.spans.push(producer);
        let below = self.next_id();
        let mut consumer = self.span(&below, Some(&id), Some("CONSUMER"), taker);
        if self.below(3) > 0 {
            consumer["remoteEndpoint"] = json!({"serviceName": "Kafka"});
        }
        self.spans.push(consumer);
        self.work(taker, &below, depth - 1);
    }

    /// Whoever called sent nothing, or says that it was another service.
    fn answer_without_call(&mut self, parent: Option<&str>, depth: u64) {
        let (id, called) = (self.next_id(), self.service());
        let kind = if self.below(2) == 0 {
            "SERVER"
        } else {
            "CLIENT"
        };
        let span = self.span(&id, parent, Some(kind), called);
        self.spans.push(span);
        self.work(called, &id, depth - 1);
    }
}
