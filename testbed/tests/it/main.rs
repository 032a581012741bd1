//! The real services start, work and stop, and the whole path does what it promises.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod api;
mod avro;
mod backfill;
mod clients;
mod commands;
mod configuration;
mod contract;
mod control_records;
mod crash;
mod dead_letters;
mod exactness;
mod exports;
mod grids;
mod guarantees;
mod history;
mod leaks;
mod migrations;
mod monitoring;
mod nginx;
mod oracle;
mod outage;
mod paging_live;
mod pipeline;
mod poison_share;
mod positions;
mod postgres;
mod program;
mod publishing;
mod rebalance;
mod replay;
mod rotation;
mod secrets;
mod secured;
mod seed;
mod stand_in;
mod start_and_stop;
mod stream;
mod tls;
mod updated_since;
mod worker;
mod zones;
