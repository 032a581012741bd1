//! The real services start, work and stop, and the whole path does what it promises.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod control_records;
mod exactness;
mod oracle;
mod pipeline;
mod postgres;
mod publishing;
mod seed;
mod stream;
mod worker;
