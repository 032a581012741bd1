-- Why: `updated_since` asks which candles changed, and no index may lie on a candle's updated_at (it
-- would end HOT updates). So each UTC hour with a minute that changed after that minute's end is noted
-- here, one row a symbol and hour, written last in the transaction that changes the candles and under
-- the symbol's lock. An hour that was noted within the last ten seconds is not noted again: updated_at
-- is at most ten seconds earlier than that of any candle it speaks of. Minutes that change while they
-- are open are not noted; a busy live feed writes nothing.
-- A reader that asks for what changed since T looks back further, by those ten seconds and the longest
-- transaction (two minutes): a change is stamped before its commit, and a minute may end between the two. A worker of
-- an earlier version notes nothing: what it changes late during a rollout is not listed.
-- Lock cost: none, new table. Undo: drop table changed_hours.
set local role market_data_owner;

create table changed_hours (
    symbol_id  integer not null,
    hour       timestamptz not null,   -- the hour's first instant
    updated_at timestamptz not null,   -- clock_timestamp() under the symbol's lock
    primary key (symbol_id, hour)
) with (fillfactor = 70);

create index changed_hours_updated_at on changed_hours (symbol_id, updated_at);

grant select, insert, update, delete on changed_hours to market_data_ingest;
grant select on changed_hours to market_data_api;

reset role;
