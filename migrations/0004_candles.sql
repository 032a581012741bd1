-- Why: candles of the three stored levels. 1m and 1h buckets are UTC; a 1d bucket is a day in the
-- symbol's zone, and local_date names it. A bucket emptied by cancels stays, with trades = 0 and its
-- revision; readers skip it. updated_at has no index and fillfactor leaves room, so that updates of
-- an open candle stay on their page (HOT).
-- Lock cost: none, new tables. Undo: drop the tables.
set local role market_data_owner;

create table candles_1m (
    symbol_id        integer not null,
    open_time        timestamptz not null,
    open             numeric,
    high             numeric,
    low              numeric,
    close            numeric,
    volume           numeric not null,      -- sum of size
    turnover         numeric not null,      -- sum of price x size
    trades           bigint not null,
    open_event_time  timestamptz,           -- (event time, sequence) of the first and the last tick
    open_sequence    bigint,
    close_event_time timestamptz,
    close_sequence   bigint,
    revision         bigint not null,       -- 1 at first, +1 a change
    updated_at       timestamptz not null,
    primary key (symbol_id, open_time)
) with (fillfactor = 70);

create table candles_1h (like candles_1m including all) with (fillfactor = 70);

create table candles_1d (like candles_1m including all) with (fillfactor = 70);
alter table candles_1d add column local_date date not null;
create unique index candles_1d_local_date on candles_1d (symbol_id, local_date);

grant select, insert, update, delete on candles_1m, candles_1h, candles_1d to market_data_ingest;
grant select on candles_1m, candles_1h, candles_1d to market_data_api;

reset role;
