//! When all is quiet: everything that is stored and answered, held against what was published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::feed::{COMPACTED, SYMBOLS};
use super::producer::Sent;
use super::topics;
use super::world::{PATIENCE, World};
use crate::stored::{self, INTERVALS, TABLES, VIEWS};
use crate::{eventually, http, process, workspace};

/// Lines of a difference that are told.
const TOLD: usize = 6;

/// What was compared, and what differs.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// What, and how many rows of it.
    pub(super) compared: Vec<(String, usize)>,
    pub(super) differences: Vec<String>,
    /// Records that a reader of committed ones gets.
    pub(super) records: u64,
}

impl Verdict {
    /// Compares the oracle's lines that begin so with those that were found.
    fn compare(&mut self, oracle: &BTreeSet<String>, prefix: &str, found: &BTreeSet<String>) {
        let expected: BTreeSet<&String> = oracle
            .iter()
            .filter(|line| line.starts_with(prefix))
            .collect();
        let found: BTreeSet<&String> = found.iter().collect();
        self.compared
            .push((prefix.trim_end().to_owned(), expected.len()));
        for (what, lines) in [
            ("missing", expected.difference(&found).collect::<Vec<_>>()),
            ("too many", found.difference(&expected).collect()),
        ] {
            if lines.is_empty() {
                continue;
            }
            let some: Vec<String> = lines
                .iter()
                .take(TOLD)
                .map(|line| format!("    {line}"))
                .collect();
            self.differences.push(format!(
                "{what}: {} lines, such as\n{}",
                lines.len(),
                some.join("\n")
            ));
        }
    }
}

/// Compares everything. Nothing is published any more, and all of it is stored.
///
/// # Errors
///
/// When something cannot be read.
pub(super) async fn judge(world: &mut World, sent: &Sent) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let ends = world.ends().await?;
    let positions = world.positions().await?;
    verdict.compared.push(("positions".into(), ends.len()));
    if positions != ends {
        verdict.differences.push(format!(
            "the partitions end at {ends:?}, the positions are {positions:?}"
        ));
    }

    let file = world.folder().join("messages.jsonl");
    let (brokers, target) = (world.bootstrap(), file.clone());
    let counts =
        tokio::task::spawn_blocking(move || topics::dump(&brokers, &ends, &target)).await??;
    verdict.records = counts.values().sum();
    kept_by_kafka(&counts, sent, &mut verdict);

    let oracle = oracle(&file).await?;
    let symbols: BTreeSet<String> = oracle
        .iter()
        .filter_map(|line| Some(line.strip_prefix("tick ")?.split_once(' ')?.0.to_owned()))
        .collect();
    verdict.compare(&oracle, "tick ", &stored::ticks(&world.owner).await?);
    verdict.compare(&oracle, "letter ", &letters(world).await?);
    for (level, table) in TABLES {
        let found = stored::candles(&world.owner, level, table).await?;
        verdict.compare(&oracle, &format!("candle {level} "), &found);
    }
    // What the API answers must be exact however far the views are behind.
    answers(world, &oracle, &symbols, &mut verdict).await?;
    for (level, view) in VIEWS {
        refresh(world, view).await?;
        let found = stored::candles(&world.owner, level, view).await?;
        verdict.compare(&oracle, &format!("candle {level} "), &found);
    }
    let marks: i64 = sqlx::query_scalar("select count(*) from market_data.view_marks")
        .fetch_one(&world.owner)
        .await?;
    if marks > 0 {
        verdict.differences.push(format!(
            "{marks} marks are left after the refresh of all views"
        ));
    }
    match world.ingest(&["verify"], "market_data_ingest").await {
        Ok(text) => {
            let line = text.lines().last().unwrap_or_default().to_owned();
            verdict
                .compared
                .push((format!("`ingest verify`: {line}"), 0));
        }
        Err(error) => verdict.differences.push(format!("{error:#}")),
    }
    Ok(verdict)
}

/// What the brokers have confirmed is there: else it is Kafka that lost it, and nothing can be said of the workers.
fn kept_by_kafka(counts: &BTreeMap<String, u64>, sent: &Sent, verdict: &mut Verdict) {
    for (topic, confirmed) in &sent.confirmed {
        let found = counts.get(*topic).copied().unwrap_or(0);
        // Compaction takes repetitions away.
        if *topic != COMPACTED && !(*confirmed..=confirmed + sent.unsure).contains(&found) {
            verdict.differences.push(format!(
                "{topic}: {confirmed} messages were confirmed, and {} perhaps; a reader gets {found}",
                sent.unsure
            ));
        }
    }
}

async fn oracle(file: &Path) -> Result<BTreeSet<String>> {
    let python = workspace::work().join("venv/bin/python");
    ensure!(
        python.is_file(),
        "{} is missing: `testbed/test.sh oracle` makes it",
        python.display()
    );
    let mut command = Command::new(python);
    command
        .arg(workspace::root().join("testbed/oracle/chaos.py"))
        .arg(file)
        .args(
            SYMBOLS
                .iter()
                .map(|(symbol, zone)| format!("{symbol}={zone}")),
        );
    let text = process::run("the oracle", command).await?;
    Ok(text.lines().map(ToOwned::to_owned).collect())
}

async fn letters(world: &World) -> Result<BTreeSet<String>> {
    let lines: Vec<String> = sqlx::query_scalar(
        r#"select concat_ws(' ', 'letter', topic, "partition", "offset", reason)
               || ' ' || replace(encode(payload, 'base64'), E'\n', '')
           from market_data.dead_letters"#,
    )
    .fetch_all(&world.owner)
    .await?;
    let count = lines.len();
    let lines: BTreeSet<String> = lines.into_iter().collect();
    ensure!(lines.len() == count, "a dead letter is stored twice");
    Ok(lines)
}

async fn answers(
    world: &mut World,
    oracle: &BTreeSet<String>,
    symbols: &BTreeSet<String>,
    verdict: &mut Verdict,
) -> Result<()> {
    world.api.answers().await?;
    let (client, base) = (http::local()?, world.api.base().to_owned());
    let get = async |path: &str| {
        let response = client.get(format!("{base}{path}")).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok::<Value, anyhow::Error>(serde_json::from_str(&text)?)
    };
    for interval in INTERVALS {
        let mut lines = BTreeSet::new();
        for symbol in symbols {
            lines.extend(stored::answers(symbol, interval, &get).await?);
        }
        verdict.compare(oracle, &format!("answer {interval} "), &lines);
    }
    Ok(())
}

/// Brings a view up to date; a worker may be at it.
async fn refresh(world: &World, view: &str) -> Result<()> {
    let done = eventually("a view is refreshed", PATIENCE, async || {
        let done: bool = sqlx::query_scalar("select market_data.refresh_candle_view($1)")
            .bind(view)
            .fetch_one(&world.owner)
            .await?;
        done.then_some(())
            .ok_or_else(|| anyhow!("a worker refreshes it"))
    });
    done.await.context(view.to_owned())
}
