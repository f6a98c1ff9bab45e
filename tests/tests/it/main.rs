//! The end-to-end tests: one binary, real processes, real peers.

mod adoption;
mod arrangements;
mod browser;
mod calculator;
mod dashboards;
mod demo;
mod drain;
mod endpoints;
mod features;
mod golden;
mod grafana;
mod latency;
mod malformed;
mod no_collector;
mod node;
mod openapi;
mod otelcol;
mod outcomes;
mod python;
mod rolling;
mod scrape;
mod sdk;
mod secure;
mod signals;
mod zipkin_api;
