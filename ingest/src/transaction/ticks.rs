//! A batch's ticks go into the stored blocks. Their symbols are locked already, and blocks of one symbol never overlap.

use std::collections::{BTreeMap, BTreeSet};

use common::tick::{Tick, TickKey};
use sqlx::PgConnection;

use crate::merge::{Arrival, Effects, merge};
use crate::store::blocks;
use crate::store::symbols::Locked;

/// Stored blocks that one step of a merge holds in memory.
const BLOCKS_A_STEP: usize = 500;

/// Inserts the ticks above their symbols' high-water marks, which are new without looking, and raises
/// the marks. Returns the others: they must meet what is stored.
pub(super) async fn insert_fresh<'a>(
    tx: &mut PgConnection,
    arrivals: BTreeMap<i32, Vec<Arrival<'a>>>,
    locked: &mut BTreeMap<i32, Locked>,
    effects: &mut BTreeMap<i32, Effects>,
) -> sqlx::Result<Vec<(i32, Vec<Arrival<'a>>)>> {
    let mut runs: Vec<(i32, Vec<Tick>)> = Vec::new();
    let mut late = Vec::new();
    for (id, mut all) in arrivals {
        let Some(symbol) = locked.get_mut(&id) else {
            return Err(sqlx::Error::RowNotFound);
        };
        let known = all.partition_point(|arrival| Some(arrival.tick.key) <= symbol.high);
        let fresh = all.split_off(known);
        let (run, _) = merge(Vec::new(), &fresh, effects.entry(id).or_default());
        if let Some(last) = run.last() {
            symbol.high = Some(last.key);
            runs.push((id, run));
        }
        if !all.is_empty() {
            late.push((id, all));
        }
    }
    let runs: Vec<(i32, &[Tick])> = runs.iter().map(|(id, run)| (*id, run.as_slice())).collect();
    blocks::insert(tx, &runs).await?;
    Ok(late)
}

/// Merges ticks at or below the high-water mark into the blocks that they belong to, a bounded number
/// of blocks at a time. A step leaves the keys of the blocks of later steps as they are.
pub(super) async fn merge_late(
    tx: &mut PgConnection,
    late: &[(i32, Vec<Arrival<'_>>)],
    effects: &mut BTreeMap<i32, Effects>,
    changed: &mut BTreeSet<i32>,
) -> sqlx::Result<()> {
    if late.is_empty() {
        return Ok(());
    }
    let flat: Vec<(i32, Arrival<'_>)> = late
        .iter()
        .flat_map(|(id, arrivals)| arrivals.iter().map(|arrival| (*id, *arrival)))
        .collect();
    let keys: Vec<(i32, TickKey)> = flat
        .iter()
        .map(|(id, arrival)| (*id, arrival.tick.key))
        .collect();
    let owners = blocks::owners(tx, &keys).await?;
    // Arrivals are sorted, so those of one block are neighbours.
    let owned: Vec<((i32, Option<TickKey>), Arrival<'_>)> = flat
        .into_iter()
        .zip(owners)
        .map(|((id, arrival), owner)| ((id, owner), arrival))
        .collect();
    let groups: Vec<_> = owned.chunk_by(|a, b| a.0 == b.0).collect();
    for step in groups.chunks(BLOCKS_A_STEP) {
        let wanted: Vec<(i32, TickKey)> = step
            .iter()
            .filter_map(|group| Some((group[0].0.0, group[0].0.1?)))
            .collect();
        let mut stored = BTreeMap::new();
        for row in blocks::read(tx, &wanted).await? {
            stored.insert((row.symbol_id, row.key()), row.ticks()?);
        }
        let (mut replaced, mut runs) = (Vec::new(), Vec::new());
        for group in step {
            let (id, owner) = group[0].0;
            let arrivals: Vec<Arrival<'_>> = group.iter().map(|(_, arrival)| *arrival).collect();
            let before = owner
                .and_then(|owner| stored.remove(&(id, owner)))
                .unwrap_or_default();
            let (after, differs) = merge(before, &arrivals, effects.entry(id).or_default());
            if differs {
                replaced.extend(owner.map(|owner| (id, owner)));
                runs.push((id, after));
                changed.insert(id);
            }
        }
        blocks::delete(tx, &replaced).await?;
        let runs: Vec<(i32, &[Tick])> =
            runs.iter().map(|(id, run)| (*id, run.as_slice())).collect();
        blocks::insert(tx, &runs).await?;
    }
    Ok(())
}
