//! Dead letters once more: by the same decoding and the same transaction as a message from Kafka.
//!
//! A letter that becomes a tick is deleted in the transaction that stores the tick, so a replay that is
//! cut off or run twice changes nothing more. One that stays bad gets the reason that it has now.

use std::collections::BTreeMap;

use common::database::{Database, explain};

use crate::batch::{Batch, Source, TopicPartition};
use crate::config::{Format, IngestConfig};
use crate::dead_letter::{Fault, Reason};
use crate::decode::registry::{Lookup, Registry, Unreachable};
use crate::decode::{self, Decoded, RecordInfo, Rules, avro, json};
use crate::failure::{Class, class};
use crate::store::letters::{self, Filter, Letter};
use crate::store::symbols::Ids;
use crate::transaction::{Outcome, store_records};

/// Letters in one transaction.
const A_STEP: i64 = 500;

/// What a replay did, or would do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Letters that became ticks, or say what a tick says already, and are gone.
    pub stored: u64,
    /// Letters that stay, by the reason that they have now.
    pub left: BTreeMap<&'static str, u64>,
}

/// Why a replay ended early. What was stored before stays stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The format of a letter's topic is not configured.
    #[error(
        "the format of topic {0:?} is not configured: set kafka.topic and kafka.format, or kafka.topics"
    )]
    UnknownTopic(String),
    /// A topic is Avro and no registry is configured, or no client for it can be made.
    #[error("schema registry: {0}")]
    NoRegistry(String),
    /// The registry does not answer.
    #[error(transparent)]
    Registry(#[from] Unreachable),
    /// The database failed.
    #[error("database: {}", explain(.0))]
    Database(#[from] sqlx::Error),
}

/// Replays the letters that `filter` names. `dry_run` does the same and takes it back.
///
/// # Errors
/// When a topic's format is not configured, or the registry or the database fails.
pub async fn replay(
    database: &Database,
    config: &IngestConfig,
    filter: &Filter,
    dry_run: bool,
) -> Result<Replayed, ReplayError> {
    let mut replay = Replay {
        database,
        formats: config.kafka.formats(),
        rules: Rules::new(config.accept, config.kafka.sequence),
        registry: match config.kafka.schema_registry_url.as_str() {
            "" => None,
            url => Some(
                Registry::new(url)
                    .map_err(|error| ReplayError::NoRegistry(error.without_url().to_string()))?,
            ),
        },
        dry_run,
        replayed: Replayed::default(),
    };
    let mut after = 0;
    loop {
        let step = letters::after(&mut *database.acquire().await?, filter, after, A_STEP).await?;
        let Some(last) = step.last() else {
            return Ok(replay.replayed);
        };
        after = last.id;
        replay.letters(step).await?;
    }
}

struct Replay<'a> {
    database: &'a Database,
    formats: BTreeMap<String, Format>,
    rules: Rules,
    registry: Option<Registry>,
    dry_run: bool,
    replayed: Replayed,
}

impl Replay<'_> {
    /// Replays letters; halves them when the database refuses their values, until the one at fault is alone.
    async fn letters(&mut self, letters: Vec<Letter>) -> Result<(), ReplayError> {
        let mut pending = vec![letters];
        while let Some(mut letters) = pending.pop() {
            match self.transaction(&letters, None).await {
                Err(ReplayError::Database(error)) if class(&error) == Class::Data => {
                    if letters.len() > 1 {
                        let second = letters.split_off(letters.len() / 2);
                        pending.extend([second, letters]);
                    } else {
                        let refused = Fault {
                            reason: Reason::Refused,
                            detail: explain(&error),
                        };
                        self.transaction(&letters, Some(&refused)).await?;
                    }
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Stores what of these letters has become good. `refused`: none has, for this fault.
    async fn transaction(
        &mut self,
        letters: &[Letter],
        refused: Option<&Fault>,
    ) -> Result<(), ReplayError> {
        let mut batch = Batch::default();
        let (mut records, mut faults) = (Vec::new(), Vec::new());
        for letter in letters {
            let decoded = match refused {
                Some(fault) => Err(fault.clone()),
                None => self.decode(letter).await?,
            };
            match decoded {
                Ok(decoded) => {
                    push(&mut batch, letter, &decoded);
                    records.push(letter.id);
                }
                Err(fault) => faults.push((letter.id, fault)),
            }
        }
        let mut tx = self.database.begin().await?;
        // New symbols are taken back with the rest.
        let id_of = Ids::default().of(&mut tx, &batch.symbols).await?;
        let conflicts = store_records(&mut tx, &id_of, &batch, &mut Outcome::default()).await?;
        let mut good = Vec::new();
        for (index, id) in records.into_iter().enumerate() {
            match conflicts.get(&index) {
                Some(fault) => faults.push((id, fault.clone())),
                None => good.push(id),
            }
        }
        letters::delete(&mut tx, &good).await?;
        letters::amend(&mut tx, &faults).await?;
        if self.dry_run {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        self.replayed.stored += good.len() as u64;
        for (_, fault) in faults {
            *self.replayed.left.entry(fault.reason.as_str()).or_default() += 1;
        }
        Ok(())
    }

    async fn decode<'a>(
        &mut self,
        letter: &'a Letter,
    ) -> Result<Result<Decoded<'a>, Fault>, ReplayError> {
        let format = *self
            .formats
            .get(&letter.topic)
            .ok_or_else(|| ReplayError::UnknownTopic(letter.topic.clone()))?;
        let Some(payload) = letter
            .payload
            .as_deref()
            .filter(|payload| !payload.is_empty())
        else {
            return Ok(Err(decode::fault(Reason::Empty, &"a value of no bytes")));
        };
        let record = RecordInfo {
            offset: letter.offset,
            timestamp: letter.record_time.map(|time| time.timestamp_millis()),
        };
        if format == Format::Json {
            return Ok(json::decode(payload, record, &self.rules));
        }
        let (id, body) = match avro::split(payload) {
            Ok(parts) => parts,
            Err(fault) => return Ok(Err(fault)),
        };
        let registry = self.registry.as_mut().ok_or_else(|| {
            ReplayError::NoRegistry("kafka.schema_registry_url is not set".into())
        })?;
        let lookup = match registry.remembered(id) {
            Some(lookup) => lookup,
            None => registry.ask(id).await?,
        };
        Ok(match lookup {
            Lookup::Known(schema) => avro::decode(&schema, body, record, &self.rules),
            Lookup::Unknown(detail) => Err(decode::fault(Reason::UnknownSchema, &detail)),
        })
    }
}

fn push(batch: &mut Batch, letter: &Letter, decoded: &Decoded<'_>) {
    // Where it came from matters to positions and new letters alone, and there are none here.
    if batch.partitions.is_empty() {
        batch.partitions.push(TopicPartition {
            topic: letter.topic.as_str().into(),
            partition: letter.partition,
        });
    }
    let source = Source {
        partition: 0,
        offset: letter.offset,
        timestamp: None,
    };
    let payload = letter.payload.as_deref().unwrap_or_default();
    batch.push(
        &decoded.symbol,
        decoded.tick,
        source,
        letter.key.as_deref(),
        payload,
    );
}
