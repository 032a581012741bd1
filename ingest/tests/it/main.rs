//! The transaction against real PostgreSQL, the newest and the oldest version that is supported.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blocks;
mod changed_hours;
mod concurrency;
mod corrections;
mod database;
mod fence;
mod fuzz;
mod laws;
mod poison;
mod recent;
mod repair;
mod replay;
mod retention;
mod roles;
mod upgrade;
mod views;
mod zones;
