//! The server of `Kit::serve` and `run`: accept, signals, drain, flush.
