//! The command line as typed: texts only, so that `config` can check all of them before it complains. Flags
//! are made of the table of settings.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::exporter_keys::EXPORTER;
use super::settings::{CONFIG, Key, SETTINGS, Takes};
use super::source::{Setting, Source};

const ABOUT: &str =
    "Takes OpenTelemetry spans, sends them on, and shows the latency between services.";

const LONG_ABOUT: &str = "\
Takes OpenTelemetry spans, sends them on, and shows the latency between services.

Each flag has a variable: BELLWETHER_ and the flag's name in capitals (--otlp-grpc: BELLWETHER_OTLP_GRPC). Flags beat \
variables beat the file that --config names; a variable that may hold several values separates them by commas. ADDR is \
HOST:PORT, :PORT or PORT; port 0 takes any free one.";

const FILE: &str = "FILE";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Run,
    Check(String),
    Print,
    Probe,
}

/// The flags that were typed.
#[derive(Debug)]
pub(super) struct Flags(ArgMatches);

/// Reads the command line, whose first word is the program.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Asked, Flags), clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(args)?;
    let asked = match matches.subcommand() {
        Some(("check", check)) => {
            if let Some(key) = keys().find(|key| matches.contains_id(key.flag)) {
                let text = format!("check looks at its file alone; leave out --{}", key.flag);
                return Err(command.error(ErrorKind::ArgumentConflict, text));
            }
            let file = check.get_one::<String>(FILE);
            Asked::Check(file.cloned().unwrap_or_default())
        }
        Some(("config", _)) => Asked::Print,
        Some(("probe", _)) => Asked::Probe,
        _ => Asked::Run,
    };
    Ok((asked, Flags(matches)))
}

impl Flags {
    /// The flag's values, in the order they were typed.
    pub(super) fn all(&self, key: &'static Key) -> impl Iterator<Item = Setting> {
        let values = self.0.get_many::<String>(key.flag).into_iter().flatten();
        values.map(|value| Setting {
            source: Source::Flag(key.flag),
            value: value.clone(),
        })
    }
}

fn command() -> Command {
    let mut command = Command::new("bellwether")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .max_term_width(100)
        .subcommand(Command::new("run").about("Run the collector; so does no command at all"))
        .subcommand(
            Command::new("check")
                .about("Tell every fault of a configuration file, each with its line; 1 if there is one")
                .arg(Arg::new(FILE).required(true).help("The file"))
                .after_long_help(help_of_the_file()),
        )
        .subcommand(
            Command::new("config")
                .about("Print the configuration in force as a file, with where each value came from"),
        )
        .subcommand(Command::new("probe").about(
            "Exit with 0 if the collector at --web is ready, for exec probes in images without a shell",
        ));
    for key in keys() {
        command = command.arg(flag(key));
    }
    command
}

fn keys() -> impl Iterator<Item = &'static Key> {
    std::iter::once(&CONFIG).chain(SETTINGS)
}

/// What the file may hold beyond what flags can tell.
fn help_of_the_file() -> String {
    let names: Vec<_> = SETTINGS.iter().map(|key| key.key).collect();
    let mut text = format!(
        "Keys of the file: {}. Each of `exporters` is a URL or a mapping of\n",
        names.join(", ")
    );
    for key in EXPORTER {
        let (value, default) = (key.value, key.default);
        text.push_str(&format!(
            "\n  {}: {value} [default: {default}]\n      {}\n",
            key.key, key.help
        ));
    }
    text
}

fn flag(key: &'static Key) -> Arg {
    let default = match key.default {
        "none" => String::new(),
        default => format!(" [default: {default}]"),
    };
    Arg::new(key.flag)
        .long(key.flag)
        .value_name(key.value)
        .help(format!("{}{default}", key.help))
        .global(true)
        .action(match key.takes {
            Takes::One => ArgAction::Set,
            Takes::Several | Takes::Exporters => ArgAction::Append,
        })
}
