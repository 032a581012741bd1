//! The transaction against real PostgreSQL, the newest and the oldest version that is supported.

mod blocks;
mod corrections;
mod database;
mod fence;
mod laws;
mod poison;
mod roles;
mod views;
