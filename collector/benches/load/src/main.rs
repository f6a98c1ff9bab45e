//! Drives the collector and its peers over sockets and tells what a span costs each: see `../README.md`.

#![allow(
    clippy::disallowed_methods,
    reason = "the threads that sleep serve nobody, and nothing is drained before the exit"
)]

mod machine;
mod run;
mod sender;
mod shop;
mod sink;
mod subject;
mod suites;
#[path = "../../support/mod.rs"]
mod support;
mod table;

use std::path::PathBuf;

use run::Cpus;
use suites::{Given, SUITES};

const USAGE: &str = "usage: bellwether-load [--bellwether FILE] [--otelcol FILE] [--rotel FILE] [--runs 5] [--batch N] [--path TEXT] [--disk DIR] SUITE…
Each suite prints a table. Subjects that were not given are left out. Needs Linux and four processors.";

fn main() {
    let mut given = Given {
        runs: 5,
        disk: std::env::temp_dir(),
        ..Given::default()
    };
    let mut wanted = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .unwrap_or_else(|| quit(&format!("{word} needs a value")))
        };
        match word.as_str() {
            "--bellwether" => given.bellwether = Some(PathBuf::from(value())),
            "--otelcol" => given.otelcol = Some(PathBuf::from(value())),
            "--rotel" => given.rotel = Some(PathBuf::from(value())),
            "--disk" => given.disk = PathBuf::from(value()),
            "--runs" => given.runs = number(&value()),
            "--batch" => given.batch = Some(number(&value())),
            "--path" => given.path = Some(value()),
            name => match SUITES.iter().find(|suite| suite.name == name) {
                Some(suite) => wanted.push(suite),
                None => quit(&format!("there is no suite {name}")),
            },
        }
    }
    if wanted.is_empty() {
        quit("which suites?");
    }
    // What is not pinned otherwise stays away from the subject.
    machine::pin(&[suites::SENDER, suites::SINK]);
    println!(
        "{}, load average {}\n",
        machine::processor(),
        machine::load_average()
    );
    for suite in wanted {
        println!("## {}: {}\n", suite.name, suite.what);
        (suite.run)(
            &given,
            &Cpus {
                subject: vec![1],
                sender: suites::SENDER,
                sink: suites::SINK,
            },
        );
        println!();
    }
}

fn number(text: &str) -> usize {
    text.parse()
        .unwrap_or_else(|_| quit(&format!("{text} is no number")))
}

fn quit(why: &str) -> ! {
    eprintln!("{why}\n{USAGE}\nSuites:");
    for suite in SUITES {
        eprintln!("  {:<10} {}", suite.name, suite.what);
    }
    std::process::exit(2)
}
