//! Ticks below the floor of their symbol: what they belong to was deleted, see `retain`.
//!
//! Pure. Such a tick is never part of a candle, new or corrected.

use std::collections::BTreeMap;

use crate::dead_letter::{Fault, Reason};
use crate::merge::Arrival;
use crate::store::symbols::Locked;

/// Takes the ticks below their symbols' floors out of `arrivals`, which are sorted by key; returns them
/// by their index in the batch.
pub fn refuse(
    arrivals: &mut BTreeMap<i32, Vec<Arrival<'_>>>,
    locked: &BTreeMap<i32, Locked>,
) -> BTreeMap<usize, Fault> {
    let mut refused = BTreeMap::new();
    for (id, arrivals) in arrivals {
        let Some((name, floor)) = locked
            .get(id)
            .and_then(|symbol| Some((&symbol.name, symbol.floor?)))
        else {
            continue;
        };
        let below = arrivals.partition_point(|arrival| arrival.tick.key.event_time < floor);
        for arrival in arrivals.drain(..below) {
            let time = arrival.tick.key.event_time;
            let detail = format!(
                "event_time {time} is before {floor}, from where on ticks of {name} are kept"
            );
            let reason = Reason::BelowFloor;
            refused.insert(arrival.index, Fault { reason, detail });
        }
    }
    refused
}
