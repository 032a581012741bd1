//! A split of a batch loses nothing.

use super::*;
use crate::dead_letter::Reason;
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
    for (index, (partition, offset)) in [(0, 5), (1, 0), (0, 7), (0, 8)].into_iter().enumerate() {
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
