//! `Kit`: builder, start, and what a service takes from it.
