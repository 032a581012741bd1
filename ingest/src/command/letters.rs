//! `ingest dead-letters`: look at them, and replay them.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use common::database::Database;

use super::Failure;
use crate::config::IngestConfig;
use crate::dead_letter::Reason;
use crate::replay;
use crate::store::letters::{self, Filter, Letter};

#[derive(Debug, Subcommand)]
pub(super) enum Letters {
    /// Print the newest letters, a line each, and how many there are of each topic and reason.
    List {
        #[command(flatten)]
        which: Which,
        /// Most letters to print.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Print one letter whole.
    Show {
        /// Its number, as `list` prints it.
        id: i64,
    },
    /// Store what has become good, as after a change of `accept` or of a schema. Such letters are deleted, in the
    /// transaction that stores their ticks; the others stay. Exit code 1 when some stay.
    Replay {
        /// Only letters of these numbers.
        ids: Vec<i64>,
        #[command(flatten)]
        which: Which,
        /// Say what would become of them, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Only letters of this reason.
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)))]
    reason: Option<String>,
    /// Only letters of this topic.
    #[arg(long)]
    topic: Option<String>,
}

impl Which {
    fn filter(self, ids: Vec<i64>) -> Filter {
        Filter {
            ids,
            reason: self.reason,
            topic: self.topic,
        }
    }
}

pub(super) async fn execute(
    database: &Database,
    config: &IngestConfig,
    command: Letters,
) -> Result<(), Failure> {
    match command {
        Letters::List { which, limit } => list(database, &which.filter(Vec::new()), limit).await,
        Letters::Show { id } => show(database, id).await,
        Letters::Replay {
            ids,
            which,
            dry_run,
        } => {
            let filter = which.filter(ids);
            all_exist(database, &filter.ids).await?;
            let done = replay::replay(database, config, &filter, dry_run).await?;
            let (left, would) = (
                done.left.values().sum::<u64>(),
                if dry_run { "would be " } else { "" },
            );
            for (reason, number) in &done.left {
                println!("{number} {would}left: {reason}");
            }
            println!(
                "{} letters {would}stored and deleted, {left} {would}left{}",
                done.stored,
                if dry_run { "; nothing was changed" } else { "" }
            );
            if left > 0 {
                return Err(anyhow::anyhow!("{left} letters are still no ticks").into());
            }
            Ok(())
        }
    }
}

/// Fails when a letter is not there.
async fn all_exist(database: &Database, ids: &[i64]) -> Result<(), Failure> {
    let filter = Filter {
        ids: ids.to_vec(),
        ..Filter::default()
    };
    if ids.is_empty() {
        return Ok(());
    }
    let found = letters::newest(&mut *database.acquire().await?, &filter, i64::MAX).await?;
    match ids
        .iter()
        .find(|id| found.iter().all(|letter| letter.id != **id))
    {
        Some(id) => Err(missing(*id)),
        None => Ok(()),
    }
}

fn missing(id: i64) -> Failure {
    anyhow::anyhow!("there is no letter {id}; `ingest dead-letters list` lists them").into()
}

async fn list(database: &Database, filter: &Filter, limit: u32) -> Result<(), Failure> {
    let mut db = database.acquire().await?;
    for letter in letters::newest(&mut db, filter, limit.into()).await? {
        println!(
            "{}  {} [{}] offset {}  {}  {}: {}",
            letter.id,
            letter.topic,
            letter.partition,
            letter.offset,
            time(letter.created_at),
            letter.reason,
            one_line(&letter.detail)
        );
    }
    let mut total = 0;
    for (topic, reason, number) in letters::counts(&mut db, filter).await? {
        println!("{number} of {topic}: {reason}");
        total += number;
    }
    println!("{total} letters");
    Ok(())
}

async fn show(database: &Database, id: i64) -> Result<(), Failure> {
    let filter = Filter {
        ids: vec![id],
        ..Filter::default()
    };
    let found = letters::newest(&mut *database.acquire().await?, &filter, 1).await?;
    let Some(letter) = found.first() else {
        return Err(missing(id));
    };
    let Letter {
        cluster_id,
        topic,
        partition,
        offset,
        reason,
        detail,
        ..
    } = letter;
    println!("letter       {id}");
    println!("message      cluster {cluster_id}, {topic} [{partition}] offset {offset}");
    println!(
        "record time  {}",
        letter.record_time.map_or("none".into(), time)
    );
    println!("stored at    {}", time(letter.created_at));
    println!("reason       {reason}");
    println!("detail       {}", one_line(detail));
    println!("key          {}", bytes(letter.key.as_deref()));
    println!("payload      {}", bytes(letter.payload.as_deref()));
    Ok(())
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A text whose control characters are escaped.
fn one_line(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, character| {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
        line
    })
}

/// Bytes as text where they are, else as `\x` and hexadecimal digits, as PostgreSQL prints them.
fn bytes(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".into();
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.iter().fold("\\x".into(), |text: String, byte| {
            format!("{text}{byte:02x}")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_or_hexadecimal() {
        assert_eq!(bytes(None), "null");
        assert_eq!(bytes(Some(b"")), "");
        assert_eq!(bytes(Some("{\"é\":1}".as_bytes())), "{\"é\":1}");
        assert_eq!(bytes(Some(b"\x00\xff")), "\\x00ff");
        assert_eq!(bytes(Some(b"a\x1b[2J")), "\\x611b5b324a");
        assert_eq!(one_line("\"é\"\n\u{1b}"), "\"é\"\\n\\u{1b}");
    }
}
