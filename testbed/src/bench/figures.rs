//! What was measured, for people to read. Nothing is computed here but ratios and units.

use std::time::Duration;

use super::{Bench, Rate, copy, live, read};

/// What was measured.
pub(super) struct Figures {
    pub(super) copies: copy::Copies,
    /// The worker, from Kafka to the commit.
    pub(super) drained: Rate,
    /// The most memory that the worker had until then, in KiB.
    pub(super) peak_kib: i64,
    /// Bytes of the stored ticks, index included, as the worker leaves them.
    pub(super) before_merge: i64,
    /// The same once small blocks are merged and the table is vacuumed.
    pub(super) merged: i64,
    pub(super) live: live::Live,
    pub(super) reads: read::Reads,
}

impl Figures {
    /// Prints all of it, a line each.
    pub(super) fn print(&self, options: &Bench) {
        println!();
        self.print_drain(options);
        self.print_live();
        self.print_reads();
    }

    fn print_drain(&self, options: &Bench) {
        let (copies, drained) = (&self.copies, self.drained.a_second());
        println!("worker, Kafka to committed candles   {drained:>9.0} ticks/s");
        for (what, rate) in [
            ("bare COPY, each chunk sorted by key", copies.by_chunk),
            ("bare COPY, all rows sorted by key", copies.sorted),
        ] {
            let rate = rate.a_second();
            println!(
                "{what:<36} {rate:>9.0} rows/s   ratio {:.2}",
                drained / rate
            );
        }
        let peak = f64_of(self.peak_kib) * 1024.0 / 1e6;
        println!("worker's peak memory                 {peak:>9.1} MB");
        for (what, bytes) in [
            ("stored, index included, as drained", self.before_merge),
            ("stored, merged and vacuumed", self.merged),
            ("a row a tick", copies.bytes),
        ] {
            let each = f64_of(bytes) / f64::from(options.ticks);
            println!("{what:<36} {each:>9.1} bytes/tick");
        }
    }

    fn print_live(&self) {
        let live = &self.live;
        println!(
            "live, from send to commit            {:>9.1} ms (median), {:.1} ms (99 of 100), at {:.0} ticks/s",
            milliseconds(live.wait(50)),
            milliseconds(live.wait(99)),
            live.rate
        );
        println!(
            "live, a batch                        {:>9.1} ms, {:.0} ticks, {:.0} bytes of WAL a tick",
            milliseconds(live.batch),
            live.ticks_a_batch,
            live.wal_bytes_a_tick
        );
    }

    fn print_reads(&self) {
        let reads = &self.reads;
        println!(
            "500 candles by a prepared SELECT     {:>9.0} a second",
            reads.select
        );
        for (what, rate) in [
            ("500 candles by the api", Some(reads.api)),
            ("the same, unchanged (304)", Some(reads.unchanged)),
            ("the same from nginx's cache", reads.cached),
        ] {
            match rate {
                Some(rate) => println!(
                    "{what:<36} {rate:>9.0} a second  ratio {:.2}",
                    rate / reads.select
                ),
                None => println!("{what:<36} not measured: nginx is not installed"),
            }
        }
        println!(
            "an answer with 500 candles           {:>9} bytes",
            reads.bytes
        );
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[allow(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn f64_of(number: i64) -> f64 {
    number as f64
}
