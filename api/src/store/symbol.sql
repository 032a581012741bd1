-- $1: names. A row for each that is a symbol, read with the database's clock, which is one for all, the first and last
-- tick, and the first and last day that is stored, emptied ones too.
with clock as materialized (select clock_timestamp() as now)
select
    s.id, s.symbol, s.timezone, s.price_scale, s.size_scale, s.version, s.changed_at,
    s.floor_time, s.minutes_from, s.hours_from,
    clock.now,
    first_day.open_event_time as first_tick,
    last_day.close_event_time as last_tick,
    (select min(d.local_date) from candles_1d d where d.symbol_id = s.id) as first_date,
    (select max(d.local_date) from candles_1d d where d.symbol_id = s.id) as last_date
from clock
join symbols s on s.symbol = any($1::text[])
left join lateral (
    select d.open_event_time from candles_1d d
    where d.symbol_id = s.id and d.trades > 0 order by d.local_date limit 1
) first_day on true
left join lateral (
    select d.close_event_time from candles_1d d
    where d.symbol_id = s.id and d.trades > 0 order by d.local_date desc limit 1
) last_day on true
