-- {table}, and the date where the level has one, are constants of the program.
insert into {table} as c (
    symbol_id, open_time, open, high, low, close, volume, turnover, trades,
    open_event_time, open_sequence, close_event_time, close_sequence, revision, updated_at{date_column}
)
select
    t.symbol_id, t.open_time, t.open::numeric, t.high::numeric, t.low::numeric, t.close::numeric, t.volume::numeric,
    t.turnover::numeric, t.trades, t.open_event_time, t.open_sequence, t.close_event_time, t.close_sequence,
    1, clock_timestamp(){date_value}
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
