//! Secrets stay inside: which field names hold one, and what in a text looks like one. `log` asks for every field
//! and message whatever its format, `trace` for every attribute that it exports, `http` for headers and query
//! keys: no format and no way out has a say in it.

mod names;
mod text;

use std::sync::{LazyLock, OnceLock};

pub(crate) use names::{Names, Wish};
pub(crate) use text::{cut, in_text, in_value, is_mark, may_have_mark, unfinished};

/// What stands in the place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// The names in force. They are the process's, as its `tracing` call sites are: a field that is secret for one
/// kit of a process is none the less so for another.
static IN_FORCE: OnceLock<Names> = OnceLock::new();

static DEFAULT: LazyLock<Names> = LazyLock::new(Names::default);

/// Puts `names` in force, before the first line is written. False when others already are: those stay.
pub(crate) fn install(names: &Names) -> bool {
    IN_FORCE.get_or_init(|| names.clone()) == names
}

/// Whether values of this name are never shown. Costs a look at each name in force: callers on a hot path keep
/// the answer.
pub(crate) fn is_secret(name: &str) -> bool {
    IN_FORCE.get().unwrap_or(&DEFAULT).hold(name)
}
