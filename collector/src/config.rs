//! Flags and variables as a `Config`: every fault at once.
