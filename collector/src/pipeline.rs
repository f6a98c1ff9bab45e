//! Starts every stage in order and drains them in order; the only file that names them all.
