//! Ticks that arrive meet the ticks that are stored: which one of each identity stays.
//!
//! Pure. The result does not depend on the order of arrival or on batching, conflicts apart: two
//! messages with one identity and revision but other content, of which the first to arrive stays.

use std::collections::BTreeMap;

use common::tick::{EventTime, Rank, Tick};

use crate::dead_letter::{Fault, Reason};

/// A tick that arrives, with its index in the batch: the order of arrival.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Index of the record in its batch.
    pub index: usize,
    /// The tick.
    pub tick: &'a Tick,
}

/// What a merge did, for the candles and the counters.
#[derive(Debug, Default)]
pub struct Effects {
    /// New ticks that count.
    pub added: Vec<Tick>,
    /// Event times of stored ticks that were corrected or cancelled: their buckets are recomputed.
    pub touched: Vec<EventTime>,
    /// Records that conflict with the tick that stays, by index in the batch.
    pub conflicts: BTreeMap<usize, Fault>,
    /// Messages equal to one that is stored.
    pub duplicates: u64,
    /// Messages of a lower revision than the one stored.
    pub stale: u64,
    /// Messages that replaced a stored tick.
    pub corrections: u64,
    /// Messages that were the first of their tick.
    pub first: u64,
    /// Cancels that were the first of their tick.
    pub cancels_first: u64,
    /// Most decimals of a price and of a size that this merge stored.
    pub scales: (u8, u8),
}

/// Merges `arrivals` into `stored`, both sorted by key, arrivals of one key in order of arrival.
/// Returns all ticks, and whether they differ from `stored`.
pub fn merge(
    stored: Vec<Tick>,
    arrivals: &[Arrival<'_>],
    effects: &mut Effects,
) -> (Vec<Tick>, bool) {
    let mut merged = Vec::with_capacity(stored.len() + arrivals.len());
    let mut changed = false;
    let mut stored = stored.into_iter().peekable();
    for group in arrivals.chunk_by(|a, b| a.tick.key == b.tick.key) {
        let key = group[0].tick.key;
        while let Some(tick) = stored.next_if(|tick| tick.key < key) {
            merged.push(tick);
        }
        let before = stored.next_if(|tick| tick.key == key);
        let mut held = before;
        for arrival in group {
            match held.map(|held| held.rank(arrival.tick)) {
                None => {
                    if arrival.tick.cancelled {
                        effects.cancels_first += 1;
                    } else {
                        effects.first += 1;
                    }
                    held = Some(*arrival.tick);
                }
                Some(Rank::Newer) => {
                    effects.corrections += 1;
                    held = Some(*arrival.tick);
                }
                Some(Rank::Duplicate) => effects.duplicates += 1,
                Some(Rank::Stale) => effects.stale += 1,
                Some(Rank::Conflict) => {
                    effects
                        .conflicts
                        .insert(arrival.index, conflict(arrival.tick));
                }
            }
        }
        let Some(after) = held else { continue };
        if before != held {
            changed = true;
            effects.scales = (
                effects.scales.0.max(after.price.decimal().scale()),
                effects.scales.1.max(after.size.decimal().scale()),
            );
            match before {
                None if !after.cancelled => effects.added.push(after),
                Some(before) if !(before.cancelled && after.cancelled) => {
                    effects.touched.push(key.event_time);
                }
                _ => {}
            }
        }
        merged.push(after);
    }
    merged.extend(stored);
    (merged, changed)
}

fn conflict(tick: &Tick) -> Fault {
    let detail = format!(
        "event time {}, sequence {}, revision {} has come before with another price or size; that one stays",
        tick.key.event_time, tick.key.sequence, tick.revision
    );
    Fault {
        reason: Reason::Conflict,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::tick::{Price, Size, TickKey};
    use proptest::prelude::*;

    fn tick(sequence: i64, price: u32, revision: i32, cancelled: bool) -> Tick {
        Tick {
            key: TickKey {
                event_time: EventTime::from_micros(0),
                sequence,
            },
            price: Price::new(price.to_string().parse().unwrap()).unwrap(),
            size: Size::new("1".parse().unwrap()).unwrap(),
            revision,
            cancelled,
        }
    }

    fn arrivals(ticks: &[Tick]) -> Vec<Arrival<'_>> {
        let mut all: Vec<Arrival<'_>> = ticks
            .iter()
            .enumerate()
            .map(|(index, tick)| Arrival { index, tick })
            .collect();
        all.sort_by_key(|arrival| (arrival.tick.key, arrival.index));
        all
    }

    #[test]
    fn a_cancel_beats_its_tick_in_either_order_and_a_correction_beats_both() {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let messages = [
                tick(1, 10, 0, false),
                tick(1, 10, 0, true),
                tick(1, 12, 1, false),
            ];
            let mut effects = Effects::default();
            let mut stored = Vec::new();
            for pick in order {
                stored = merge(stored, &arrivals(&[messages[pick]]), &mut effects).0;
            }
            assert_eq!(stored, [messages[2]], "{order:?}");
            assert!(effects.conflicts.is_empty());
        }
    }

    #[test]
    fn a_second_message_with_other_content_is_a_conflict_and_the_first_stays() {
        let mut effects = Effects::default();
        let (stored, changed) = merge(
            Vec::new(),
            &arrivals(&[tick(1, 10, 0, false), tick(1, 11, 0, false)]),
            &mut effects,
        );
        assert_eq!(
            (stored.as_slice(), changed),
            ([tick(1, 10, 0, false)].as_slice(), true)
        );
        assert_eq!(effects.conflicts.keys().copied().collect::<Vec<_>>(), [1]);

        let (stored, changed) = merge(stored, &arrivals(&[tick(1, 11, 0, false)]), &mut effects);
        assert_eq!((stored.len(), changed), (1, false));
    }

    proptest! {
        #[test]
        fn order_batching_and_replay_do_not_matter(
            raw in proptest::collection::vec((0_i64..8, 0_i32..3, any::<bool>()), 1..40),
            cuts in proptest::collection::vec(1_usize..10, 0..6),
            seed in any::<u64>(),
        ) {
            // Content follows from identity, revision and flag: no conflicts.
            let messages: Vec<Tick> = raw.iter().map(|(sequence, revision, cancelled)| tick(*sequence, 100 + u32::try_from(*revision).unwrap(), *revision, *cancelled)).collect();
            let mut effects = Effects::default();
            let (whole, _) = merge(Vec::new(), &arrivals(&messages), &mut effects);

            let mut shuffled = messages.clone();
            let mut state = seed;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
            }
            let mut parts = Vec::new();
            let mut rest = shuffled.as_slice();
            for cut in cuts {
                let part = rest.split_at(cut.min(rest.len()));
                rest = part.1;
                parts = merge(parts, &arrivals(part.0), &mut effects).0;
            }
            parts = merge(parts, &arrivals(rest), &mut effects).0;
            prop_assert_eq!(&parts, &whole);

            let mut replay = Effects::default();
            let (again, changed) = merge(parts, &arrivals(&messages), &mut replay);
            prop_assert!(!changed && again == whole && replay.added.is_empty() && replay.touched.is_empty());
        }
    }
}
