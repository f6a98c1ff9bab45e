//! One part of the calculator, or all of it in one process.
//!
//! `calculator monolith` runs everything in process. `calculator add` (and `subtract`, `multiply`,
//! `divide`) runs one operation; `calculator api --add URL …` runs the API in front of them.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use bellwether_examples::operation::Faults;
use bellwether_examples::service::{self, Part};
use clap::Parser;

#[derive(Parser)]
#[command(about = "The Bellwether example calculator")]
struct Arguments {
    #[command(subcommand)]
    part: Part,
    /// The address to listen on; a container wants 0.0.0.0.
    #[arg(long, env = "HOST", default_value = "127.0.0.1", global = true)]
    host: IpAddr,
    /// The port to listen on.
    #[arg(long, env = "PORT", default_value_t = 8080, global = true)]
    port: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { part, host, port } = Arguments::parse();
    match service::run(part, SocketAddr::new(host, port), Faults::default()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("calculator: {error}");
            ExitCode::FAILURE
        }
    }
}
