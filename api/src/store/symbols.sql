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
