-- Why: old ticks may be deleted. A symbol then has a floor, on a day's boundary of its zone: a tick
-- below it becomes a dead letter, never part of a candle, for what it would be added to is gone. The
-- candles stay. The floor lies in the row that every writer locks, so no batch can miss it.
-- A worker of an earlier version does not know of floors: delete nothing before all are replaced.
-- Lock cost: access exclusive on symbols for a moment, no rewrite. It waits for the batches that are
-- being stored. Undo: alter table symbols drop column floor_time.
set local role market_data_owner;

alter table symbols add column floor_time timestamptz;   -- ticks before it were deleted; null: none

reset role;
