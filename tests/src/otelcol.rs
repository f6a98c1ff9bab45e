//! The OpenTelemetry Collector as a peer: as a source whose exporters send here, and as a sink whose receivers take
//! what is sent there and whose file exporter says what came.

use std::path::PathBuf;
use std::process::Command;

use bytes::Buf;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tempfile::TempDir;

use crate::http::get;
use crate::peers::cache;
use crate::process::Process;
use crate::system::{Collector, free_port};
use crate::wait::wait_telling;

/// A running OpenTelemetry Collector with three pipelines, one for each format.
#[derive(Debug)]
pub struct Otelcol {
    /// The port of each pipeline's receiver.
    pub ports: Pipelines<u16>,
    directory: TempDir,
    _process: Process,
}

/// One thing for each format.
#[derive(Clone, Copy, Debug)]
pub struct Pipelines<T> {
    /// OTLP over gRPC.
    pub grpc: T,
    /// OTLP over HTTP.
    pub http: T,
    /// Zipkin's JSON.
    pub zipkin: T,
}

/// Its program, as `tests/peers/install otelcol` leaves it.
pub fn otelcol() -> Option<PathBuf> {
    Some(cache().join("otelcol/otelcol")).filter(|program| program.exists())
}

/// The program of telemetrygen, as `tests/peers/install telemetrygen` leaves it.
pub fn telemetrygen() -> Option<PathBuf> {
    Some(cache().join("telemetrygen/telemetrygen")).filter(|program| program.exists())
}

impl Otelcol {
    /// Starts one whose receivers take OTLP over gRPC, OTLP over HTTP and Zipkin, and which writes down what comes.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn sink(program: &PathBuf) -> Self {
        let ports = Pipelines::<u16>::free();
        let directory = TempDir::new().expect("a directory");
        let file = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "receivers:
  otlp/grpc: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{}'}}}}}}
  otlp/http: {{protocols: {{http: {{endpoint: '127.0.0.1:{}'}}}}}}
  zipkin: {{endpoint: '127.0.0.1:{}'}}
exporters:
  file/grpc: {{path: '{}', format: proto, flush_interval: 100ms}}
  file/http: {{path: '{}', format: proto, flush_interval: 100ms}}
  file/zipkin: {{path: '{}', format: proto, flush_interval: 100ms}}
pipelines:
  traces/grpc: {{receivers: [otlp/grpc], exporters: [file/grpc]}}
  traces/http: {{receivers: [otlp/http], exporters: [file/http]}}
  traces/zipkin: {{receivers: [zipkin], exporters: [file/zipkin]}}
",
            ports.grpc,
            ports.http,
            ports.zipkin,
            file("grpc"),
            file("http"),
            file("zipkin"),
        );
        Self::start(program, ports, directory, &config)
    }

    /// Starts one that takes OTLP over HTTP at each of its ports and sends it to `collector` by the exporter of that
    /// name, each as it is by default: gzip for both of OTLP.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn source(program: &PathBuf, collector: &Collector) -> Self {
        let ports = Pipelines::<u16>::free();
        let directory = TempDir::new().expect("a directory");
        let config = format!(
            "receivers:
  otlp/grpc: {{protocols: {{http: {{endpoint: '127.0.0.1:{}'}}}}}}
  otlp/http: {{protocols: {{http: {{endpoint: '127.0.0.1:{}'}}}}}}
  otlp/zipkin: {{protocols: {{http: {{endpoint: '127.0.0.1:{}'}}}}}}
processors:
  batch: {{timeout: 50ms}}
exporters:
  otlp: {{endpoint: '127.0.0.1:{}', tls: {{insecure: true}}}}
  otlphttp: {{endpoint: 'http://127.0.0.1:{}'}}
  zipkin: {{endpoint: 'http://127.0.0.1:{}/api/v2/spans'}}
pipelines:
  traces/grpc: {{receivers: [otlp/grpc], processors: [batch], exporters: [otlp]}}
  traces/http: {{receivers: [otlp/http], processors: [batch], exporters: [otlphttp]}}
  traces/zipkin: {{receivers: [otlp/zipkin], processors: [batch], exporters: [zipkin]}}
",
            ports.grpc,
            ports.http,
            ports.zipkin,
            collector.otlp_grpc,
            collector.otlp_http,
            collector.zipkin,
        );
        Self::start(program, ports, directory, &config)
    }

    fn start(program: &PathBuf, ports: Pipelines<u16>, directory: TempDir, config: &str) -> Self {
        let health = free_port();
        let (components, pipelines) = config.split_once("pipelines:").expect("pipelines");
        let config = format!(
            "{components}extensions:
  health_check: {{endpoint: '127.0.0.1:{health}'}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:{}",
            pipelines.replace('\n', "\n  ")
        );
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, config).expect("a file");
        let mut command = Command::new(program);
        let process = Process::start("otelcol", command.arg("--config").arg(&path));
        wait_telling(
            || {
                format!(
                    "the OpenTelemetry Collector, which said {:#?}",
                    process.output()
                )
            },
            || get(&format!("http://127.0.0.1:{health}/")).filter(|answer| answer.status == 200),
        );
        Self {
            ports,
            directory,
            _process: process,
        }
    }

    /// The requests that a sink's pipeline `name` has written down so far.
    pub fn written(&self, name: &str) -> Vec<ExportTraceServiceRequest> {
        let bytes = std::fs::read(self.directory.path().join(name)).unwrap_or_default();
        let mut rest = &bytes[..];
        let mut requests = Vec::new();
        // Each has its length before it; the last one may be on its way to the file.
        while let Ok(length) = rest.try_get_u32() {
            let Some((message, after)) = rest.split_at_checked(length as usize) else {
                break;
            };
            requests.push(ExportTraceServiceRequest::decode(message).expect("OTLP"));
            rest = after;
        }
        requests
    }
}

impl Pipelines<u16> {
    fn free() -> Self {
        Self {
            grpc: free_port(),
            http: free_port(),
            zipkin: free_port(),
        }
    }
}
