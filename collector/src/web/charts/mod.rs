//! Charts: pure functions from numbers to SVG, each `role="img"` with a title. Called by the pages, which
//! print the same numbers in a table.

pub(super) mod bars;
pub(super) mod distribution;
pub(super) mod graph;
pub(super) mod heatmap;
pub(super) mod layers;
pub(super) mod line;
pub(super) mod overview;
mod routes;
pub(super) mod spark;
pub(super) mod waterfall;
