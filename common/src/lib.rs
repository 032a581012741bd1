//! What `ingest` and `api` share: ticks and candles, intervals and the calendar, configuration, the
//! database, telemetry. Of Kafka and of HTTP it knows what a trace says of a batch and of an answer.

pub mod admin;
pub mod amount;
pub mod calendar;
pub mod candle;
pub mod config;
pub mod database;
pub mod decimal;
pub mod interval;
pub mod lock;
pub mod process;
pub mod secrets;
pub mod telemetry;
pub mod tick;
