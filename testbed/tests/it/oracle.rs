//! What is stored and what is answered, held against a program that knows only the published messages.

use std::collections::BTreeSet;
use std::path::Path;

use testbed::stored::{self, INTERVALS, TABLES, VIEWS};

use crate::pipeline::Pipeline;
use crate::stream::{self, Message};

/// What `oracle/candles.py` says of a file of messages.
pub(crate) struct Oracle {
    lines: BTreeSet<String>,
    symbols: BTreeSet<String>,
}

/// Checks all that is stored and answered, and lets `ingest verify` check it too.
pub(crate) async fn check(pipeline: &Pipeline, messages: &[Message]) {
    let file = stream::write(messages, pipeline.folder());
    Oracle::of(pipeline, &file, &[]).await.check(pipeline).await;
    pipeline.verify().await;
}

/// Checks ticks, conflicts and tables.
pub(crate) async fn check_tables(pipeline: &Pipeline, messages: &[Message]) {
    let file = stream::write(messages, pipeline.folder());
    let oracle = Oracle::of(pipeline, &file, &[]).await;
    oracle.check_tables(pipeline).await;
}

impl Oracle {
    /// Asks the oracle about a file of messages; `zones` are `SYMBOL=ZONE`, all others UTC.
    pub(crate) async fn of(pipeline: &Pipeline, messages: &Path, zones: &[&str]) -> Self {
        let mut arguments = vec![messages.into()];
        arguments.extend(zones.iter().map(Into::into));
        let text = pipeline.oracle("candles.py", &arguments).await;
        let lines: BTreeSet<String> = text.lines().map(ToOwned::to_owned).collect();
        let symbol =
            |line: &String| Some(line.strip_prefix("tick ")?.split_once(' ')?.0.to_owned());
        let symbols = lines.iter().filter_map(symbol).collect();
        Self { lines, symbols }
    }

    /// How many of its lines begin so.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.lines
            .iter()
            .filter(|line| line.starts_with(prefix))
            .count()
    }

    /// Everything: ticks, conflicts, tables, and what the API answers at every level.
    pub(crate) async fn check(&self, pipeline: &Pipeline) {
        self.check_tables(pipeline).await;
        self.check_answers(pipeline).await;
    }

    /// The view `ticks`, the dead letters, and the tables of candles.
    pub(crate) async fn check_tables(&self, pipeline: &Pipeline) {
        self.compare("tick ", &stored::ticks(pipeline.pool()).await.unwrap());
        self.compare("conflict ", &conflicts(pipeline).await);
        for (level, table) in TABLES {
            self.compare(
                &format!("candle {level} "),
                &stored::candles(pipeline.pool(), level, table)
                    .await
                    .unwrap(),
            );
        }
    }

    /// The views' own rows; they are complete only after a refresh.
    pub(crate) async fn check_views(&self, pipeline: &Pipeline) {
        for (level, view) in VIEWS {
            self.compare(
                &format!("candle {level} "),
                &stored::candles(pipeline.pool(), level, view).await.unwrap(),
            );
        }
    }

    /// What the API answers at every level.
    pub(crate) async fn check_answers(&self, pipeline: &Pipeline) {
        for interval in INTERVALS {
            let mut lines = BTreeSet::new();
            for symbol in &self.symbols {
                let get = async |path: &str| Ok(pipeline.get_json(path).await);
                lines.extend(stored::answers(symbol, interval, get).await.unwrap());
            }
            self.compare(&format!("answer {interval} "), &lines);
        }
    }

    /// The oracle's lines that begin so, against lines that were found.
    fn compare(&self, prefix: &str, found: &BTreeSet<String>) {
        let expected: BTreeSet<&String> = self
            .lines
            .iter()
            .filter(|line| line.starts_with(prefix))
            .collect();
        let found: BTreeSet<&String> = found.iter().collect();
        let some = |lines: &mut dyn Iterator<Item = &&String>| -> Vec<String> {
            lines.take(8).map(|line| format!("  {line}")).collect()
        };
        let missing = some(&mut expected.difference(&found));
        let extra = some(&mut found.difference(&expected));
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{prefix}: {} lines are expected, {} found; of those missing:\n{}\nof those that should not be there:\n{}",
            expected.len(),
            found.len(),
            missing.join("\n"),
            extra.join("\n")
        );
    }
}

async fn conflicts(pipeline: &Pipeline) -> BTreeSet<String> {
    let payloads: Vec<String> = sqlx::query_scalar(
        "select 'conflict ' || convert_from(payload, 'UTF8') from market_data.dead_letters",
    )
    .fetch_all(pipeline.pool())
    .await
    .unwrap();
    payloads.into_iter().collect()
}
