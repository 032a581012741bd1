-- The statements of the version before migration 0007, as its `ingest` (market_data_ingest) and its
-- `api` (market_data_api) send them. A fixture: it does not follow the programs. Each begins with
-- `-- name (role)`.

-- positions_make (market_data_ingest)
insert into ingest_offsets (cluster_id, topic, "partition") select $1, * from unnest($2::text[], $3::integer[]) as wanted(topic, "partition") where not exists (select from ingest_offsets o where o.cluster_id = $1 and o.topic = wanted.topic and o."partition" = wanted."partition") order by 2, 3 on conflict do nothing

-- positions_read (market_data_ingest)
select o.topic, o."partition", o.next_offset, o.last_offset, o.last_timestamp
from ingest_offsets o
join unnest($2::text[], $3::integer[]) as wanted(topic, "partition") using (topic, "partition")
where o.cluster_id = $1

-- positions_lock (market_data_ingest)
select o.topic, o."partition", o.next_offset
from ingest_offsets o
join unnest($2::text[], $3::integer[]) as wanted(topic, "partition") using (topic, "partition")
where o.cluster_id = $1
order by o.topic, o."partition"
for no key update of o

-- positions_move (market_data_ingest)
-- A position may move over control records alone: the last record then stays the one before.
update ingest_offsets o
set next_offset = moved.next_offset,
    last_offset = coalesce(moved.last_offset, o.last_offset),
    last_timestamp = case when moved.last_offset is null then o.last_timestamp else moved.last_timestamp end,
    updated_at = clock_timestamp()
from unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::timestamptz[])
    as moved(topic, "partition", next_offset, last_offset, last_timestamp)
where o.cluster_id = $1 and o.topic = moved.topic and o."partition" = moved."partition"

-- symbols_make (market_data_ingest)
insert into symbols (symbol) select name from unnest($1::text[]) as name where not exists (select from symbols s where s.symbol = name) order by name on conflict (symbol) do nothing

-- symbols_ids (market_data_ingest)
select symbol, id from symbols where symbol = any($1)

-- symbols_lock (market_data_ingest)
select id, symbol, timezone, high_time, high_sequence, price_scale, size_scale from symbols where id = any($1) order by id for no key update

-- symbols_raise (market_data_ingest)
update symbols s
set high_time = t.high_time,
    high_sequence = t.high_sequence,
    price_scale = t.price_scale,
    size_scale = t.size_scale,
    version = s.version + 1,
    changed_at = clock_timestamp()
from unnest($1::integer[], $2::timestamptz[], $3::bigint[], $4::smallint[], $5::smallint[])
    as t(id, high_time, high_sequence, price_scale, size_scale)
where s.id = t.id

-- blocks_insert (market_data_ingest)
-- One row a block. The values of all blocks come end to end, $23 to $34 in the order of the columns; $11
-- to $22 say where each block's begin. A slice of a null place is null. An insert instead of COPY: the
-- end of a COPY is a message of its own, which waits 40 ms for a delayed acknowledgement where the
-- driver leaves Nagle's algorithm on.
insert into tick_blocks (
    symbol_id, first_time, first_sequence, last_time, last_sequence, count, price_scale, size_scale, price_base, size_base,
    times, times_wide, sequences, sequences_wide, prices, prices_wide, prices_numeric,
    sizes, sizes_wide, sizes_numeric, revisions, cancels
)
select
    b.symbol_id, b.first_time, b.first_sequence, b.last_time, b.last_sequence, b.count,
    b.price_scale, b.size_scale, b.price_base, b.size_base,
    ($23::integer[])[b.times + 1 : b.times + b.count],
    ($24::bigint[])[b.times_wide + 1 : b.times_wide + b.count],
    ($25::integer[])[b.sequences + 1 : b.sequences + b.count],
    ($26::bigint[])[b.sequences_wide + 1 : b.sequences_wide + b.count],
    ($27::integer[])[b.prices + 1 : b.prices + b.count],
    ($28::bigint[])[b.prices_wide + 1 : b.prices_wide + b.count],
    (($29::text[])[b.prices_numeric + 1 : b.prices_numeric + b.count])::numeric[],
    ($30::integer[])[b.sizes + 1 : b.sizes + b.count],
    ($31::bigint[])[b.sizes_wide + 1 : b.sizes_wide + b.count],
    (($32::text[])[b.sizes_numeric + 1 : b.sizes_numeric + b.count])::numeric[],
    ($33::integer[])[b.revisions + 1 : b.revisions + b.count],
    ($34::boolean[])[b.cancels + 1 : b.cancels + b.count]
from unnest(
    $1::integer[], $2::timestamptz[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::integer[],
    $7::smallint[], $8::smallint[], $9::bigint[], $10::bigint[],
    $11::integer[], $12::integer[], $13::integer[], $14::integer[], $15::integer[], $16::integer[],
    $17::integer[], $18::integer[], $19::integer[], $20::integer[], $21::integer[], $22::integer[]
) as b(
    symbol_id, first_time, first_sequence, last_time, last_sequence, count, price_scale, size_scale, price_base, size_base,
    times, times_wide, sequences, sequences_wide, prices, prices_wide, prices_numeric,
    sizes, sizes_wide, sizes_numeric, revisions, cancels
)

-- blocks_owners (market_data_ingest)
-- For each tick key, in order: the key of the last block that begins at or before it, or nulls.
select owner.first_time, owner.first_sequence
from unnest($1::integer[], $2::timestamptz[], $3::bigint[]) with ordinality as tick(symbol_id, event_time, sequence, position)
left join lateral (
    select b.first_time, b.first_sequence
    from tick_blocks b
    where b.symbol_id = tick.symbol_id and (b.first_time, b.first_sequence) <= (tick.event_time, tick.sequence)
    order by b.first_time desc, b.first_sequence desc
    limit 1
) owner on true
order by tick.position

-- blocks_delete (market_data_ingest)
delete from tick_blocks b
using unnest($1::integer[], $2::timestamptz[], $3::bigint[]) as gone(symbol_id, first_time, first_sequence)
where b.symbol_id = gone.symbol_id and b.first_time = gone.first_time and b.first_sequence = gone.first_sequence

-- blocks_read (market_data_ingest)
-- How every read of blocks begins.
select
    b.symbol_id, b.first_time, b.first_sequence, b.price_scale, b.size_scale, b.price_base, b.size_base,
    b.times, b.times_wide, b.sequences, b.sequences_wide,
    b.prices, b.prices_wide, b.prices_numeric::text[] as prices_numeric,
    b.sizes, b.sizes_wide, b.sizes_numeric::text[] as sizes_numeric,
    b.revisions, b.cancels
from tick_blocks b
join unnest($1::integer[], $2::timestamptz[], $3::bigint[]) as wanted(symbol_id, first_time, first_sequence)
    using (symbol_id, first_time, first_sequence)
order by b.symbol_id, b.first_time, b.first_sequence

-- blocks_after (market_data_ingest)
-- How every read of blocks begins.
select
    b.symbol_id, b.first_time, b.first_sequence, b.price_scale, b.size_scale, b.price_base, b.size_base,
    b.times, b.times_wide, b.sequences, b.sequences_wide,
    b.prices, b.prices_wide, b.prices_numeric::text[] as prices_numeric,
    b.sizes, b.sizes_wide, b.sizes_numeric::text[] as sizes_numeric,
    b.revisions, b.cancels
from tick_blocks b
-- The next $4 blocks of symbol $1 after the key ($2, $3).
where b.symbol_id = $1 and (b.first_time, b.first_sequence) > ($2, $3)
order by b.first_time, b.first_sequence
limit $4

-- blocks_between (market_data_ingest)
-- How every read of blocks begins.
select
    b.symbol_id, b.first_time, b.first_sequence, b.price_scale, b.size_scale, b.price_base, b.size_base,
    b.times, b.times_wide, b.sequences, b.sequences_wide,
    b.prices, b.prices_wide, b.prices_numeric::text[] as prices_numeric,
    b.sizes, b.sizes_wide, b.sizes_numeric::text[] as sizes_numeric,
    b.revisions, b.cancels
from tick_blocks b
-- The blocks of symbol $1 that may hold ticks with $2 <= event time < $3. The last block that begins
-- before $2 may reach into the range; none before it can.
where b.symbol_id = $1
  and b.first_time < $3
  and b.first_time >= coalesce(
      (select max(reach.first_time) from tick_blocks reach where reach.symbol_id = $1 and reach.first_time < $2),
      '-infinity'
  )
order by b.first_time, b.first_sequence

-- blocks_small (market_data_ingest)
-- The small blocks of symbol $1, each with the key of the block that follows it, and whether that one is
-- small too. A bounded number: what is left waits for the next turn.
select
    small.first_time, small.first_sequence,
    following.first_time as next_time, following.first_sequence as next_sequence,
    coalesce(following.count < 128, false) as joins_next
from (
    select b.first_time, b.first_sequence
    from tick_blocks b
    where b.symbol_id = $1 and b.count < 128
    order by b.first_time, b.first_sequence
    limit 500
) small
left join lateral (
    select b.first_time, b.first_sequence, b.count
    from tick_blocks b
    where b.symbol_id = $1 and (b.first_time, b.first_sequence) > (small.first_time, small.first_sequence)
    order by b.first_time, b.first_sequence
    limit 1
) following on true
order by small.first_time, small.first_sequence

-- minutes_write (market_data_ingest)
-- candles_1m, and the date where the level has one, are constants of the program.
insert into candles_1m as c (
    symbol_id, open_time, open, high, low, close, volume, turnover, trades,
    open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
)
select
    t.symbol_id, t.open_time, t.open::numeric, t.high::numeric, t.low::numeric, t.close::numeric, t.volume::numeric,
    t.turnover::numeric, t.trades, t.open_event_time, t.open_sequence, t.close_event_time, t.close_sequence,
    1, clock_timestamp()
from unnest(
    $1::integer[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[],
    $10::timestamptz[], $11::bigint[], $12::timestamptz[], $13::bigint[], $14::date[]
) as t(
    symbol_id, open_time, open, high, low, close, volume, turnover, trades,
    open_event_time, open_sequence, close_event_time, close_sequence, local_date
)
on conflict (symbol_id, open_time) do update set
    open = excluded.open,
    high = excluded.high,
    low = excluded.low,
    close = excluded.close,
    volume = excluded.volume,
    turnover = excluded.turnover,
    trades = excluded.trades,
    open_event_time = excluded.open_event_time,
    open_sequence = excluded.open_sequence,
    close_event_time = excluded.close_event_time,
    close_sequence = excluded.close_sequence,
    revision = c.revision + 1,
    updated_at = excluded.updated_at

-- minutes_read (market_data_ingest)
select c.symbol_id, c.open_time, c.open::text, c.high::text, c.low::text, c.close::text, c.volume::text, c.turnover::text, c.trades, c.open_event_time, c.open_sequence, c.close_event_time, c.close_sequence from unnest($1::integer[], $2::timestamptz[]) as wanted(symbol_id, open_time) join candles_1m c using (symbol_id, open_time)

-- minutes_between (market_data_ingest)
select c.symbol_id, c.open_time, c.open::text, c.high::text, c.low::text, c.close::text, c.volume::text, c.turnover::text, c.trades, c.open_event_time, c.open_sequence, c.close_event_time, c.close_sequence from candles_1m c where c.symbol_id = $1 and c.open_time >= $2 and c.open_time < $3

-- hours_write (market_data_ingest)
-- candles_1h, and the date where the level has one, are constants of the program.
insert into candles_1h as c (
    symbol_id, open_time, open, high, low, close, volume, turnover, trades,
    open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
)
select
    t.symbol_id, t.open_time, t.open::numeric, t.high::numeric, t.low::numeric, t.close::numeric, t.volume::numeric,
    t.turnover::numeric, t.trades, t.open_event_time, t.open_sequence, t.close_event_time, t.close_sequence,
    1, clock_timestamp()
from unnest(
    $1::integer[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[],
    $10::timestamptz[], $11::bigint[], $12::timestamptz[], $13::bigint[], $14::date[]
) as t(
    symbol_id, open_time, open, high, low, close, volume, turnover, trades,
    open_event_time, open_sequence, close_event_time, close_sequence, local_date
)
on conflict (symbol_id, open_time) do update set
    open = excluded.open,
    high = excluded.high,
    low = excluded.low,
    close = excluded.close,
    volume = excluded.volume,
    turnover = excluded.turnover,
    trades = excluded.trades,
    open_event_time = excluded.open_event_time,
    open_sequence = excluded.open_sequence,
    close_event_time = excluded.close_event_time,
    close_sequence = excluded.close_sequence,
    revision = c.revision + 1,
    updated_at = excluded.updated_at

-- hours_read (market_data_ingest)
select c.symbol_id, c.open_time, c.open::text, c.high::text, c.low::text, c.close::text, c.volume::text, c.turnover::text, c.trades, c.open_event_time, c.open_sequence, c.close_event_time, c.close_sequence from unnest($1::integer[], $2::timestamptz[]) as wanted(symbol_id, open_time) join candles_1h c using (symbol_id, open_time)

-- hours_between (market_data_ingest)
select c.symbol_id, c.open_time, c.open::text, c.high::text, c.low::text, c.close::text, c.volume::text, c.turnover::text, c.trades, c.open_event_time, c.open_sequence, c.close_event_time, c.close_sequence from candles_1h c where c.symbol_id = $1 and c.open_time >= $2 and c.open_time < $3

-- days_write (market_data_ingest)
-- candles_1d, and the date where the level has one, are constants of the program.
insert into candles_1d as c (
    symbol_id, open_time, open, high, low, close, volume, turnover, trades,
    open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at, local_date
)
select
    t.symbol_id, t.open_time, t.open::numeric, t.high::numeric, t.low::numeric, t.close::numeric, t.volume::numeric,
    t.turnover::numeric, t.trades, t.open_event_time, t.open_sequence, t.close_event_time, t.close_sequence,
    1, clock_timestamp(), t.local_date
from unnest(
    $1::integer[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[],
    $10::timestamptz[], $11::bigint[], $12::timestamptz[], $13::bigint[], $14::date[]
) as t(
    symbol_id, open_time, open, high, low, close, volume, turnover, trades,
    open_event_time, open_sequence, close_event_time, close_sequence, local_date
)
on conflict (symbol_id, open_time) do update set
    open = excluded.open,
    high = excluded.high,
    low = excluded.low,
    close = excluded.close,
    volume = excluded.volume,
    turnover = excluded.turnover,
    trades = excluded.trades,
    open_event_time = excluded.open_event_time,
    open_sequence = excluded.open_sequence,
    close_event_time = excluded.close_event_time,
    close_sequence = excluded.close_sequence,
    revision = c.revision + 1,
    updated_at = excluded.updated_at

-- days_read (market_data_ingest)
select c.symbol_id, c.open_time, c.open::text, c.high::text, c.low::text, c.close::text, c.volume::text, c.turnover::text, c.trades, c.open_event_time, c.open_sequence, c.close_event_time, c.close_sequence from unnest($1::integer[], $2::timestamptz[]) as wanted(symbol_id, open_time) join candles_1d c using (symbol_id, open_time)

-- days_between (market_data_ingest)
select c.symbol_id, c.open_time, c.open::text, c.high::text, c.low::text, c.close::text, c.volume::text, c.turnover::text, c.trades, c.open_event_time, c.open_sequence, c.close_event_time, c.close_sequence from candles_1d c where c.symbol_id = $1 and c.open_time >= $2 and c.open_time < $3

-- marks_write (market_data_ingest)
insert into view_marks as m (view, symbol_id, period) select * from unnest($1::text[], $2::integer[], $3::date[]) on conflict (view, symbol_id, period) do update set generation = m.generation + 1

-- letters_write (market_data_ingest)
insert into dead_letters (cluster_id, topic, "partition", "offset", key, payload, reason, detail, record_time)
select $1, *
from unnest($2::text[], $3::integer[], $4::bigint[], $5::bytea[], $6::bytea[], $7::text[], $8::text[], $9::timestamptz[])
on conflict do nothing

-- sessions_end_frozen (market_data_ingest)
-- Workers only: an operator's session has another application_name. Workers with other logins can be ended by a member
-- of pg_signal_backend alone.
select count(*) filter (where pg_terminate_backend(pid))
from pg_stat_activity
where datname = current_database()
  and (usename = current_user or pg_has_role('pg_signal_backend', 'member'))
  and application_name = current_setting('application_name')
  and pid <> pg_backend_pid()
  and state in ('active', 'idle in transaction', 'idle in transaction (aborted)')
  and wait_event_type = 'Client'
  and state_change < clock_timestamp() - ($1 || ' ms')::interval

-- refresh_due (market_data_ingest)
select exists (select from view_marks where view = $1) or not exists (select from view_refreshes where view = $1 and refreshed_at > clock_timestamp() - interval '1 hour')

-- refresh (market_data_ingest)
select refresh_candle_view($1)

-- views_show (market_data_ingest)
select view, (select count(*) from (select from view_marks m where m.view = v.view limit 100000) as marks), (select extract(epoch from refreshed_at)::float8 from view_refreshes r where r.view = v.view) from unnest($1::text[]) as v (view)

-- small_symbols (market_data_ingest)
select s.id, s.symbol from (select symbol_id, count(*) as small from tick_blocks where count < 128 group by symbol_id) b join symbols s on s.id = b.symbol_id where b.small >= $1 order by b.small desc limit $2

-- symbol_free (market_data_ingest)
select id from symbols where id = $1 for no key update skip locked

-- symbol (market_data_api)
-- $1: name. One row, read with the database's clock and the first and last tick.
select
    s.id, s.timezone, s.price_scale, s.size_scale, s.version, s.changed_at,
    clock_timestamp() as now,
    first_day.open_event_time as first_tick,
    last_day.close_event_time as last_tick
from symbols s
left join lateral (
    select d.open_event_time from candles_1d d
    where d.symbol_id = s.id and d.trades > 0 order by d.local_date limit 1
) first_day on true
left join lateral (
    select d.close_event_time from candles_1d d
    where d.symbol_id = s.id and d.trades > 0 order by d.local_date desc limit 1
) last_day on true
where s.symbol = $1

-- symbols (market_data_api)
-- $1: names after this one; $2: part of the name, in any case; $3: rows at most.
select
    s.symbol, s.timezone, s.price_scale, s.size_scale,
    first_day.open_event_time as first_tick,
    last_day.close_event_time as last_tick
from symbols s
left join lateral (
    select d.open_event_time from candles_1d d
    where d.symbol_id = s.id and d.trades > 0 order by d.local_date limit 1
) first_day on true
left join lateral (
    select d.close_event_time from candles_1d d
    where d.symbol_id = s.id and d.trades > 0 order by d.local_date desc limit 1
) last_day on true
where s.symbol > $1 and strpos(lower(s.symbol), lower($2 collate "C")) > 0
order by s.symbol
limit $3

-- candles_1w_asc (market_data_api)
-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('week', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = 'candles_1w'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1w v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = 'candles_1w' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period asc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '7 days')::date, $3)
    where m.view = 'candles_1w' and m.symbol_id = $1
        and m.period >= date_trunc('week', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date asc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date asc limit $4
)
order by day asc limit $4

-- candles_1w_desc (market_data_api)
-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('week', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = 'candles_1w'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1w v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = 'candles_1w' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period desc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '7 days')::date, $3)
    where m.view = 'candles_1w' and m.symbol_id = $1
        and m.period >= date_trunc('week', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date desc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date desc limit $4
)
order by day desc limit $4

-- candles_1mo_asc (market_data_api)
-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('month', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = 'candles_1mo'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1mo v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = 'candles_1mo' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period asc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '1 month')::date, $3)
    where m.view = 'candles_1mo' and m.symbol_id = $1
        and m.period >= date_trunc('month', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date asc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date asc limit $4
)
order by day asc limit $4

-- candles_1mo_desc (market_data_api)
-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('month', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = 'candles_1mo'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1mo v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = 'candles_1mo' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period desc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '1 month')::date, $3)
    where m.view = 'candles_1mo' and m.symbol_id = $1
        and m.period >= date_trunc('month', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date desc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date desc limit $4
)
order by day desc limit $4

-- candles_1q_asc (market_data_api)
-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('quarter', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = 'candles_1q'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1q v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = 'candles_1q' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period asc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '3 months')::date, $3)
    where m.view = 'candles_1q' and m.symbol_id = $1
        and m.period >= date_trunc('quarter', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date asc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date asc limit $4
)
order by day asc limit $4

-- candles_1q_desc (market_data_api)
-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('quarter', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = 'candles_1q'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1q v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = 'candles_1q' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period desc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '3 months')::date, $3)
    where m.view = 'candles_1q' and m.symbol_id = $1
        and m.period >= date_trunc('quarter', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date desc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date desc limit $4
)
order by day desc limit $4

-- candles_1y_asc (market_data_api)
-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('year', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = 'candles_1y'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1y v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = 'candles_1y' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period asc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '1 year')::date, $3)
    where m.view = 'candles_1y' and m.symbol_id = $1
        and m.period >= date_trunc('year', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date asc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date asc limit $4
)
order by day asc limit $4

-- candles_1y_desc (market_data_api)
-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('year', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = 'candles_1y'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1y v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = 'candles_1y' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period desc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '1 year')::date, $3)
    where m.view = 'candles_1y' and m.symbol_id = $1
        and m.period >= date_trunc('year', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date desc limit $4
)
union all
(
    select d.local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date desc limit $4
)
order by day desc limit $4

-- candles_1d (market_data_api)
select local_date, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at from candles_1d where symbol_id = $1 and local_date >= $2 and local_date < $3 order by local_date asc limit $4

-- candles_1h (market_data_api)
select open_time, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at from candles_1h where symbol_id = $1 and open_time >= $2 and open_time < $3 order by open_time asc limit $4

-- candles_1m (market_data_api)
select open_time, open::text, high::text, low::text, close::text, volume::text, turnover::text, trades, open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at from candles_1m where symbol_id = $1 and open_time >= $2 and open_time < $3 order by open_time asc limit $4

-- minutes_forward (market_data_api)
select open_time, trades, revision, updated_at from candles_1m where symbol_id = $1 and open_time >= $2 and open_time < $3 order by open_time limit $4

-- minutes_backward (market_data_api)
select open_time, trades, revision, updated_at from candles_1m where symbol_id = $1 and open_time >= $2 and open_time < $3 order by open_time desc limit $4

-- ticks (market_data_api)
select event_time, sequence, price::text, size::text from ticks_between($1, $2, $3)

-- ping (market_data_api)
select from symbols limit 1
