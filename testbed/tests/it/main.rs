//! The real services start, work and stop.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod postgres;
mod publishing;
