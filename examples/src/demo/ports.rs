//! The loopback ports of the demo: the usual ones, or free ones where those are taken.

use std::net::{Ipv4Addr, TcpListener};

use crate::operation::Operation;

/// One port for each listener.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The collector: OTLP over gRPC.
    pub otlp_grpc: u16,
    /// The collector: OTLP over HTTP.
    pub otlp_http: u16,
    /// The collector: pages, API, probes.
    pub web: u16,
    /// The calculator's API.
    pub api: u16,
    /// a + b
    pub add: u16,
    /// a − b
    pub subtract: u16,
    /// a × b
    pub multiply: u16,
    /// a ÷ b
    pub divide: u16,
    /// The slow link in front of `divide`.
    pub link: u16,
    /// The usual ports that were taken.
    pub taken: Vec<u16>,
}

impl Ports {
    /// Tries each usual port and falls back to one the system picks. All stay bound until every one is
    /// chosen, so that none is given twice.
    pub fn choose() -> std::io::Result<Self> {
        let mut held = Vec::new();
        let mut taken = Vec::new();
        let mut choose = |usual: u16| -> std::io::Result<u16> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).or_else(|_| {
                taken.push(usual);
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            })?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        Ok(Self {
            otlp_grpc: choose(4317)?,
            otlp_http: choose(4318)?,
            web: choose(4319)?,
            api: choose(8080)?,
            add: choose(8081)?,
            subtract: choose(8082)?,
            multiply: choose(8083)?,
            divide: choose(8084)?,
            link: choose(8085)?,
            taken,
        })
    }

    /// The port of an operation's service.
    pub fn of(&self, operation: Operation) -> u16 {
        match operation {
            Operation::Add => self.add,
            Operation::Subtract => self.subtract,
            Operation::Multiply => self.multiply,
            Operation::Divide => self.divide,
        }
    }

    /// Where `/readyz` is asked before traffic starts.
    pub fn to_probe(&self) -> [u16; 6] {
        [
            self.web,
            self.api,
            self.add,
            self.subtract,
            self.multiply,
            self.divide,
        ]
    }
}
