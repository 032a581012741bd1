//! A batch: what one transaction takes from Kafka.
//!
//! It holds records in order of arrival and, for each partition, the span of offsets it covers. A
//! batch can be split into two that cover the same offsets, which is how a poison message is found.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use common::telemetry::traces::Caller;
use common::tick::{Symbol, Tick};

use crate::dead_letter::{DeadLetter, Fault};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

/// The offsets of one partition that a batch covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The position before: what `ingest_offsets` must hold. `None`: nothing stored yet.
    pub from: Option<i64>,
    /// The position after.
    pub next: i64,
    /// Offset and Kafka timestamp (milliseconds) of the last record, when the batch has one.
    pub last: Option<(i64, Option<i64>)>,
}

/// Where a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Index into [`Batch::partitions`].
    pub partition: u16,
    /// Offset in it.
    pub offset: i64,
    /// Kafka timestamp in milliseconds, when the record has one.
    pub timestamp: Option<i64>,
}

/// A decoded record.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Index into [`Batch::symbols`].
    pub symbol: u32,
    /// The tick.
    pub tick: Tick,
    /// Where it came from.
    pub source: Source,
    payload: Lengths,
}

/// Where a record's key and value end in [`Batch::payloads`], from where the record before ends.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    /// [`NO_KEY`]: the key is null, which an empty one is not.
    key: u32,
    value: u32,
}

const NO_KEY: u32 = u32::MAX;

impl Lengths {
    fn new(key: Option<&[u8]>, value: &[u8]) -> Self {
        // Kafka keeps the lengths of both as signed 32-bit integers (KIP-98).
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(NO_KEY - 1);
        Self {
            key: key.map_or(NO_KEY, length),
            value: length(value),
        }
    }

    fn total(self) -> usize {
        let key = if self.key == NO_KEY { 0 } else { self.key };
        key as usize + self.value as usize
    }

    /// Key and value.
    fn cut(self, bytes: &[u8]) -> (Option<&[u8]>, &[u8]) {
        let (key, value) = bytes.split_at(self.total() - self.value as usize);
        ((self.key != NO_KEY).then_some(key), value)
    }
}

/// What one transaction takes from Kafka.
#[derive(Debug, Default)]
pub struct Batch {
    /// The partitions that [`Source::partition`] counts.
    pub partitions: Vec<TopicPartition>,
    /// What the batch covers, by index into `partitions`.
    pub spans: BTreeMap<u16, Span>,
    /// The symbols that [`Record::symbol`] counts.
    pub symbols: Vec<Symbol>,
    /// Decoded records in order of arrival.
    pub records: Vec<Record>,
    /// Messages that could not be decoded.
    pub letters: Vec<DeadLetter>,
    /// Null values, skipped.
    pub tombstones: u64,
    /// Some of the spans that its messages name.
    pub callers: Vec<Caller>,
    symbol_index: HashMap<Symbol, u32>,
    /// Key and value of every record, end to end: a later fault makes it a dead letter.
    payloads: Vec<u8>,
    /// Bytes of key and value of the letters that were pushed.
    letter_bytes: usize,
}

impl Batch {
    /// An empty batch over these partitions.
    #[must_use]
    pub fn new(partitions: Vec<TopicPartition>) -> Self {
        Self {
            partitions,
            ..Self::default()
        }
    }

    /// An empty batch over these partitions that has room for what this one holds: a batch that grows
    /// by doubling leaves the heap in pieces.
    #[must_use]
    pub fn successor(&self, partitions: Vec<TopicPartition>) -> Self {
        Self {
            records: Vec::with_capacity(self.records.len()),
            payloads: Vec::with_capacity(self.payloads.len()),
            ..Self::new(partitions)
        }
    }

    /// The Kafka timestamps of its messages, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn timestamps(&self) -> impl Iterator<Item = i64> {
        let records = self.records.iter().map(|record| record.source);
        let letters = self.letters.iter().map(|letter| letter.source);
        records.chain(letters).filter_map(|source| source.timestamp)
    }

    /// Its first dead letter in a few words.
    #[must_use]
    pub fn example(&self) -> Option<String> {
        self.letters.first().map(|letter| self.describe(letter))
    }

    /// One of its dead letters in a few words: where it stands and what is wrong.
    #[must_use]
    pub fn describe(&self, letter: &DeadLetter) -> String {
        let TopicPartition { topic, partition } =
            &self.partitions[usize::from(letter.source.partition)];
        let (offset, reason) = (letter.source.offset, letter.fault.reason.as_str());
        let detail = &letter.fault.detail;
        format!("{topic} [{partition}] offset {offset} ({reason}: {detail})")
    }

    /// Whether it would change nothing, not even a position.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Messages taken from Kafka, good or bad.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
            + self.letters.len()
            + usize::try_from(self.tombstones).unwrap_or(usize::MAX)
    }

    /// Bytes of key and value of the messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.payloads.len() + self.letter_bytes
    }

    /// Adds a message that could not be decoded.
    pub fn push_letter(&mut self, letter: DeadLetter) {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        self.letter_bytes += length(&letter.key) + length(&letter.payload);
        self.letters.push(letter);
    }

    /// Adds a record.
    pub fn push(
        &mut self,
        symbol: &str,
        tick: Tick,
        source: Source,
        key: Option<&[u8]>,
        payload: &[u8],
    ) {
        let symbol = match self.symbol_index.get(symbol) {
            Some(&index) => index,
            None => self.add_symbol(symbol),
        };
        self.payloads.extend_from_slice(key.unwrap_or_default());
        self.payloads.extend_from_slice(payload);
        self.records.push(Record {
            symbol,
            tick,
            source,
            payload: Lengths::new(key, payload),
        });
    }

    fn add_symbol(&mut self, name: &str) -> u32 {
        // The decoder has checked the name.
        let Ok(symbol) = Symbol::new(name) else {
            unreachable!("an unchecked symbol reached a batch")
        };
        let index = u32::try_from(self.symbols.len()).unwrap_or(u32::MAX);
        self.symbols.push(symbol.clone());
        self.symbol_index.insert(symbol, index);
        index
    }

    /// Says that the partition's position moves from `from` to `next`; `last` is the record before it.
    pub fn advance(
        &mut self,
        partition: u16,
        from: Option<i64>,
        next: i64,
        last: Option<(i64, Option<i64>)>,
    ) {
        let span = self
            .spans
            .entry(partition)
            .or_insert(Span { from, next, last });
        span.next = next;
        span.last = last.or(span.last);
    }

    /// The records at `indices` (ascending), as dead letters for `fault`.
    #[must_use]
    pub fn letters_of(&self, faults: &BTreeMap<usize, Fault>) -> Vec<DeadLetter> {
        let mut letters = Vec::with_capacity(faults.len());
        if faults.is_empty() {
            return letters;
        }
        let mut at = 0;
        for (index, record) in self.records.iter().enumerate() {
            let end = at + record.payload.total();
            if let Some(fault) = faults.get(&index) {
                let (key, value) = record.payload.cut(&self.payloads[at..end]);
                letters.push(DeadLetter {
                    source: record.source,
                    key: key.map(<[u8]>::to_vec),
                    payload: Some(value.to_vec()),
                    fault: fault.clone(),
                });
            }
            at = end;
        }
        letters
    }

    /// Two batches that together cover what this one does, each with half of the records.
    #[must_use]
    pub fn split(self) -> (Self, Self) {
        let middle = self.records.len() / 2;
        let mut boundary: HashMap<u16, (i64, Option<i64>)> = HashMap::new();
        for record in &self.records[..middle] {
            boundary.insert(
                record.source.partition,
                (record.source.offset, record.source.timestamp),
            );
        }
        let (mut first, mut second) = (
            Self::new(self.partitions.clone()),
            Self::new(self.partitions.clone()),
        );
        for (&partition, span) in &self.spans {
            let from = match boundary.get(&partition) {
                Some(&(offset, timestamp)) => {
                    first.advance(partition, span.from, offset + 1, Some((offset, timestamp)));
                    Some(offset + 1)
                }
                None => span.from,
            };
            if from != Some(span.next) {
                second.advance(partition, from, span.next, span.last);
            }
        }
        let in_first = |source: &Source| {
            boundary
                .get(&source.partition)
                .is_some_and(|(offset, _)| source.offset <= *offset)
        };
        let mut at = 0;
        for record in &self.records {
            let end = at + record.payload.total();
            let (key, value) = record.payload.cut(&self.payloads[at..end]);
            let half = if in_first(&record.source) {
                &mut first
            } else {
                &mut second
            };
            let name = self.symbols[record.symbol as usize].as_str();
            half.push(name, record.tick, record.source, key, value);
            at = end;
        }
        for letter in self.letters {
            let half = if in_first(&letter.source) {
                &mut first
            } else {
                &mut second
            };
            half.push_letter(letter);
        }
        second.tombstones = self.tombstones;
        (first, second)
    }

    /// The batch with its records turned into dead letters for `fault`.
    #[must_use]
    pub fn into_letters(mut self, fault: &Fault) -> Self {
        let faults = (0..self.records.len())
            .map(|index| (index, fault.clone()))
            .collect();
        let letters = self.letters_of(&faults);
        self.letters.extend(letters);
        self.records.clear();
        self.payloads.clear();
        self
    }
}

#[cfg(test)]
mod tests;
