-- $1: name. One row, read with the database's clock, the first and last tick, and the first and last day that is
-- stored, emptied ones too.
select
    s.id, s.timezone, s.price_scale, s.size_scale, s.version, s.changed_at,
    clock_timestamp() as now,
    first_day.open_event_time as first_tick,
    last_day.close_event_time as last_tick,
    (select min(d.local_date) from candles_1d d where d.symbol_id = s.id) as first_date,
    (select max(d.local_date) from candles_1d d where d.symbol_id = s.id) as last_date
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
