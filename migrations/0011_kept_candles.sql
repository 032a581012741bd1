-- Why: a candle that is made of deleted minutes or hours in part is no candle. `ingest candles retain` says
-- here from when on it leaves them, before it deletes any, and readers begin with the first bucket that
-- begins then or later; for ticks `floor_time` says so.
-- What the version before deleted is not written down: its symbols are taken to begin with the first row
-- that is left, or with the hour of the floor, above which nothing was deleted.
-- An earlier `ingest candles retain` does not say what it deletes: run none before it is replaced.
-- Lock cost: access exclusive on symbols, no rewrite, while the first minute and hour of each symbol with
-- a floor are looked up. It waits for the batches that are being stored.
-- Undo: alter table symbols drop column minutes_from, drop column hours_from.
set local role market_data_owner;

alter table symbols
    add column minutes_from timestamptz,   -- candles_1m before it were deleted; null: none
    add column hours_from timestamptz;     -- candles_1h likewise

update symbols s
set minutes_from = least(
        date_trunc('hour', s.floor_time, 'UTC'),
        (select min(c.open_time) from candles_1m c where c.symbol_id = s.id)
    ),
    hours_from = least(
        date_trunc('hour', s.floor_time, 'UTC'),
        (select min(c.open_time) from candles_1h c where c.symbol_id = s.id)
    ),
    version = s.version + 1,
    changed_at = clock_timestamp()
where s.floor_time is not null;

reset role;
