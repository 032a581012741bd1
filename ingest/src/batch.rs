//! A batch: what one transaction takes from Kafka.
//!
//! It holds records in order of arrival and, for each partition, the span of offsets it covers. A
//! batch can be split into two that cover the same offsets, which is how a poison message is found.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use common::tick::{Symbol, Tick};

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

/// A message that cannot become a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it came from.
    pub source: Source,
    /// The message's key.
    pub key: Option<Vec<u8>>,
    /// The message's value.
    pub payload: Option<Vec<u8>>,
    /// What is wrong.
    pub fault: Fault,
}

/// Why a message is a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The class of fault.
    pub reason: Reason,
    /// One sentence about this message.
    pub detail: String,
}

/// The closed set of reasons; `as_str` is what is stored and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A value of no bytes.
    Empty,
    /// Not a JSON object.
    NotJson,
    /// Not Avro in the Confluent wire format, or not a record of its schema.
    NotAvro,
    /// The registry knows no such schema id.
    UnknownSchema,
    /// A required field is absent or null.
    MissingField,
    /// A field of another type than the tick has.
    WrongType,
    /// The symbol is empty, too long, or has control characters.
    BadSymbol,
    /// The event time is no time.
    BadTime,
    /// The event time is before the accepted range, or too far after the record's timestamp.
    TimeOutOfRange,
    /// A price of zero or below.
    PriceNotPositive,
    /// A size below zero.
    SizeNegative,
    /// A price or size that is no finite number.
    NotFinite,
    /// A price or size with more than 28 digits or 18 decimals.
    TooManyDigits,
    /// The same tick and revision as one that is stored, with another price or size.
    Conflict,
    /// The database refuses the values.
    Refused,
}

impl Reason {
    /// Every reason, for metrics that exist before the first fault.
    pub const ALL: [Self; 15] = [
        Self::Empty,
        Self::NotJson,
        Self::NotAvro,
        Self::UnknownSchema,
        Self::MissingField,
        Self::WrongType,
        Self::BadSymbol,
        Self::BadTime,
        Self::TimeOutOfRange,
        Self::PriceNotPositive,
        Self::SizeNegative,
        Self::NotFinite,
        Self::TooManyDigits,
        Self::Conflict,
        Self::Refused,
    ];

    /// The code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotJson => "not-json",
            Self::NotAvro => "not-avro",
            Self::UnknownSchema => "unknown-schema",
            Self::MissingField => "missing-field",
            Self::WrongType => "wrong-type",
            Self::BadSymbol => "bad-symbol",
            Self::BadTime => "bad-time",
            Self::TimeOutOfRange => "time-out-of-range",
            Self::PriceNotPositive => "price-not-positive",
            Self::SizeNegative => "size-negative",
            Self::NotFinite => "not-finite",
            Self::TooManyDigits => "too-many-digits",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
        }
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
mod tests {
    use super::*;
    use common::tick::{EventTime, Price, Size, TickKey};

    fn tick(sequence: i64) -> Tick {
        Tick {
            key: TickKey {
                event_time: EventTime::from_micros(0),
                sequence,
            },
            price: Price::new("1".parse().unwrap()).unwrap(),
            size: Size::new("1".parse().unwrap()).unwrap(),
            revision: 0,
            cancelled: false,
        }
    }

    #[test]
    fn a_split_covers_the_same_offsets_and_keeps_every_message() {
        // GIVEN records of two partitions, a bad message between them and a position past the last
        let topic: Arc<str> = "ticks".into();
        let partitions = (0..2)
            .map(|partition| TopicPartition {
                topic: topic.clone(),
                partition,
            })
            .collect();
        let mut batch = Batch::new(partitions);
        let keys: [Option<&[u8]>; 4] = [Some(b"k"), Some(b"k"), None, Some(b"")];
        for (index, (partition, offset)) in [(0, 5), (1, 0), (0, 7), (0, 8)].into_iter().enumerate()
        {
            let source = Source {
                partition,
                offset,
                timestamp: Some(offset),
            };
            batch.push(
                "A",
                tick(offset),
                source,
                keys[index],
                format!("message {index}").as_bytes(),
            );
            batch.advance(
                partition,
                Some(if partition == 0 { 5 } else { 0 }),
                offset + 1,
                Some((offset, Some(offset))),
            );
        }
        let fault = Fault {
            reason: Reason::NotJson,
            detail: String::new(),
        };
        let source = Source {
            partition: 0,
            offset: 6,
            timestamp: None,
        };
        batch.push_letter(DeadLetter {
            source,
            key: None,
            payload: None,
            fault: fault.clone(),
        });
        batch.advance(0, Some(5), 12, None);

        // WHEN it is split
        let (first, second) = batch.split();

        // THEN the spans meet, and each message is on its side with its own bytes
        assert_eq!(
            first.spans[&0],
            Span {
                from: Some(5),
                next: 6,
                last: Some((5, Some(5)))
            }
        );
        assert_eq!(
            first.spans[&1],
            Span {
                from: Some(0),
                next: 1,
                last: Some((0, Some(0)))
            }
        );
        assert_eq!(
            second.spans[&0],
            Span {
                from: Some(6),
                next: 12,
                last: Some((8, Some(8)))
            }
        );
        assert!(!second.spans.contains_key(&1));
        assert_eq!((first.records.len(), first.letters.len()), (2, 0));
        assert_eq!((second.records.len(), second.letters.len()), (2, 1));
        let letters = second.into_letters(&fault).letters;
        assert_eq!(letters[2].payload.as_deref(), Some(b"message 3".as_slice()));
        assert_eq!(
            (letters[1].key.as_deref(), letters[2].key.as_deref()),
            (None, Some(b"".as_slice()))
        );
    }
}
