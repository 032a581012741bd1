//! What a run was: its faults, what was published, read and compared, and what is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use super::faults::Fault;
use super::producer::Sent;
use super::reader::Readings;
use super::verdict::Verdict;

/// A fault that has struck.
pub(super) struct Struck {
    pub(super) fault: Fault,
    /// What shows that it happened.
    pub(super) proof: String,
    /// Until all that was published was stored.
    pub(super) recovered: Duration,
}

/// What a run was.
#[derive(Default)]
pub(super) struct Course {
    pub(super) struck: Vec<Struck>,
    pub(super) left_out: Vec<(Fault, String)>,
    pub(super) gaps: i64,
    pub(super) sent: Sent,
    pub(super) readings: Readings,
    pub(super) verdict: Verdict,
    pub(super) deadlocks: usize,
}

impl Course {
    /// What is not as it must be.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut all = self.verdict.differences.clone();
        all.extend(
            self.readings
                .contradictions
                .iter()
                .map(|text| format!("a reader saw: {text}")),
        );
        if self.deadlocks > 0 {
            all.push(format!("the database ended {} deadlocks", self.deadlocks));
        }
        if self.readings.agreed == 0 || self.readings.looked_for == 0 {
            all.push("the reader compared nothing".into());
        }
        if self.gaps == 0 {
            all.push("compaction left no gaps".into());
        }
        all
    }

    /// Prints what the run was; `again` is how to have it once more.
    pub(super) fn summarise(&self, seed: u64, all: bool, again: &str) {
        println!("\n== chaos, seed {seed}\nfaults:");
        let mut counted: BTreeMap<Fault, (u32, Duration, &str)> = BTreeMap::new();
        for Struck {
            fault,
            proof,
            recovered,
        } in &self.struck
        {
            let entry = counted.entry(*fault).or_insert((0, Duration::ZERO, ""));
            *entry = (entry.0 + 1, entry.1.max(*recovered), proof);
        }
        for (fault, (count, longest, proof)) in &counted {
            let longest = longest.as_secs_f64();
            println!(
                "  {count:3} x {:<28} over after {longest:4.1} s at most; seen by: {proof}",
                fault.name()
            );
        }
        for fault in Fault::ALL {
            if let Some((_, reason)) = self
                .left_out
                .iter()
                .find(|(left_out, _)| *left_out == fault)
            {
                println!("  LEFT OUT  {:<24} {reason}", fault.name());
            } else if all && !counted.contains_key(&fault) {
                println!("  NOT DRAWN {:<24} the time was up", fault.name());
            }
        }
        let Sent {
            kinds,
            committed,
            aborted,
            unsure,
            ..
        } = &self.sent;
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        println!("published: {}", kinds.join(", "));
        println!(
            "  {committed} transactions committed, {aborted} aborted, {unsure} messages in unconfirmed ones; {} offsets gone by compaction before the first read",
            self.gaps
        );
        let Readings {
            snapshots,
            candles,
            answers,
            agreed,
            looked_for,
            away,
            ..
        } = &self.readings;
        println!(
            "read meanwhile: {snapshots} snapshots with {candles} candles, {answers} answers of the API with {agreed} candles of a snapshot's revision, {looked_for} complete candles looked for again; {away} times the database was away"
        );
        println!("compared at the end, {} records:", self.verdict.records);
        for (what, rows) in &self.verdict.compared {
            println!("  {rows:8}  {what}");
        }
        println!("deadlocks: {}\nagain: {}", self.deadlocks, again);
    }
}
