//! The promises, one module each. One binary, so that it links once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::format_collect,
    reason = "tests"
)]
#![expect(clippy::print_stdout, reason = "tables for whoever reads a test's output")]

mod architecture;
mod bills;
mod budgets;
mod check;
mod check_around;
mod cli;
mod config;
mod content;
mod demo;
mod docs;
mod endpoints;
mod extremes;
mod families;
mod folders;
mod following;
mod growing;
mod hostile;
mod large;
mod links;
mod live;
mod live_ways;
mod manual;
mod mistakes;
mod observe;
mod plan;
mod privacy;
mod reading;
mod reconcile;
mod seeds;
mod sending;
mod series;
mod serving;
mod show;
mod since;
mod sources;
mod state;
mod state_failures;
mod stripping;
mod support;
mod times;
mod totals;
mod trees;
mod wal;
mod watching;
mod wire;
