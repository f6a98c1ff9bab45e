//! The command line as typed: texts only, so that `config` can check all of them before it complains.

use clap::{Parser, Subcommand};

/// Takes OpenTelemetry spans, sends them on, and shows the latency between services.
///
/// Each flag has a variable: BELLWETHER_ and the flag's name in capitals (--otlp-grpc: BELLWETHER_OTLP_GRPC).
/// Flags beat variables; a variable that may hold several values separates them by commas. ADDR is HOST:PORT,
/// :PORT or PORT; port 0 takes any free one.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, about, long_about, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<CommandName>,
    #[command(flatten)]
    pub(super) flags: Flags,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum CommandName {
    /// Run the collector; so does no command at all.
    Run,
    /// Exit with 0 if the collector at --web is ready, for exec probes in images without a shell.
    Probe,
}

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Host or IP address to listen on, where an address names none [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "HOST")]
    pub(super) listen: Option<String>,
    /// Where to take OTLP over gRPC [default: port 4317]
    #[arg(long, global = true, value_name = "ADDR")]
    pub(super) otlp_grpc: Option<String>,
    /// Where to take OTLP over HTTP [default: port 4318]
    #[arg(long, global = true, value_name = "ADDR")]
    pub(super) otlp_http: Option<String>,
    /// Where to take Zipkin's spans, JSON v2 or protobuf [default: port 9411]
    #[arg(long, global = true, value_name = "ADDR")]
    pub(super) zipkin: Option<String>,
    /// Where to serve pages, JSON API, probes and metrics [default: port 4319]
    #[arg(long, global = true, value_name = "ADDR")]
    pub(super) web: Option<String>,
    /// Host name the pages answer to, beside localhost and IP addresses; may be repeated
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) web_host: Vec<String>,
    /// Where to send spans on to: otlp+grpc://HOST:4317, otlp+http://HOST:4318 or zipkin+http://HOST:9411; may
    /// be repeated
    #[arg(long, global = true, value_name = "URL")]
    pub(super) export: Vec<String>,
    /// Most memory to use, in bytes or as 256MiB; each listener keeps two connections open for each MiB of it, 64 to
    /// 4096, and lets others wait [default: 256MiB or half the cgroup's limit, the smaller]
    #[arg(long, global = true, value_name = "BYTES")]
    pub(super) memory_limit: Option<String>,
    /// How far back pages and API reach, 1m to 24h [default: 1h]
    #[arg(long, global = true, value_name = "DURATION")]
    pub(super) retention: Option<String>,
}
