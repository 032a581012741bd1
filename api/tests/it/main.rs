//! The routes against a real `PostgreSQL`: one file a guarantee.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod caching;
mod calendar_vectors;
mod compression;
mod contract;
mod cors;
mod errors;
mod exports;
mod fill;
mod fixture;
mod folding;
mod formats;
mod fuzz;
mod hostile_values;
mod indicators;
mod latest;
mod limits;
mod many;
mod paging;
mod retention;
mod symbols;
mod ticks;
mod time_series;
mod views;
