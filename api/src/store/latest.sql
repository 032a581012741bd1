-- $1: names. A row for each that is a symbol, in their order: the minute that has not ended, its last tick, the day of
-- that tick and the close of the day before. What a symbol does not have is null.
with clock as materialized (select clock_timestamp() as now)
select
    minute.*,
    s.id, s.symbol, s.timezone, s.price_scale, s.size_scale, s.version, s.changed_at,
    s.floor_time, s.minutes_from, s.hours_from,
    clock.now,
    null::timestamptz as first_tick, today.close_event_time as last_tick,
    today.local_date, today.close_sequence as last_sequence, today.trades as day_trades,
    trim_scale(today.open)::text as day_open, trim_scale(today.high)::text as day_high,
    trim_scale(today.low)::text as day_low, trim_scale(today.close)::text as day_close,
    trim_scale(today.volume)::text as day_volume,
    trim_scale(last.size)::text as last_size,
    trim_scale(before.close)::text as previous_close,
    trim_scale(today.close - before.close)::text as change
from clock
cross join unnest($1::text[]) with ordinality as asked (symbol, place)
join symbols s on s.symbol = asked.symbol
left join lateral (
    select * from candles_1d d
    where d.symbol_id = s.id and d.trades > 0 order by d.local_date desc limit 1
) today on true
left join lateral (
    select d.close from candles_1d d
    where d.symbol_id = s.id and d.trades > 0 and d.local_date < today.local_date order by d.local_date desc limit 1
) before on true
left join lateral (
    select t.size
    from ticks_between(s.symbol, today.close_event_time, today.close_event_time + interval '1 microsecond') t
    where t.sequence = today.close_sequence
) last on true
left join lateral (
    select m.open_time, {columns} from candles_1m m
    where m.symbol_id = s.id and m.open_time = date_trunc('minute', clock.now, 'UTC') and m.trades > 0
) minute on true
order by asked.place
