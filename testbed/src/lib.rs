//! Local stack, tick publisher and simulator, and the services that system tests run against.
//!
//! Everything here starts real parts (PostgreSQL, `Kafka`, a schema registry, nginx, the project's own binaries; AWS alone
//! is emulated) as child processes on free loopback ports, and ends them again: no process outlives the one that started
//! it, however that one ends.
//! Nothing is shared with `common`, `ingest` or `api`, so that a test can hold their answers against this crate's.

pub mod avro;
pub mod bars;
pub mod bench;
pub mod cache;
pub mod certificates;
pub mod chaos;
pub mod decimal;
pub mod eventually;
pub mod fuzz;
pub mod http;
pub mod kafka;
pub mod mock_kafka;
pub mod moto;
pub mod nginx;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod publish;
pub mod publisher;
pub mod registry;
pub mod services;
pub mod signals;
pub mod simulate;
pub mod stack;
pub mod stored;
pub mod table;
pub mod tick;
pub mod ticks_csv;
pub mod unprivileged;
pub mod workspace;

mod java;

pub use eventually::{eventually, eventually_while};
pub use kafka::Kafka;
pub use mock_kafka::MockKafka;
pub use moto::Moto;
pub use postgres::Postgres;
pub use process::Process;
pub use publisher::{Encoding, Publisher};
pub use registry::Registry;
pub use tick::Tick;
