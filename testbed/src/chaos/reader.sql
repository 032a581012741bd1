-- The candles of symbol $1 on the local date $2 as they are stored, beside what its ticks make of them. Hours that reach
-- out of the day, as those of a zone of half hours do, are left out. Written apart from the product.
with day as (
    select
        s.id, s.symbol,
        $2::date::timestamp at time zone s.timezone as from_time,
        ($2::date + 1)::timestamp at time zone s.timezone as to_time
    from market_data.symbols s
    where s.symbol = $1
),
tick as materialized (
    select t.*
    from day
    cross join lateral market_data.ticks_between(day.symbol, day.from_time, day.to_time) t
),
placed as (
    select '1m' as level, date_trunc('minute', event_time) as open_time, tick.* from tick
    union all
    select '1h', date_trunc('hour', event_time, 'UTC'), tick.*
    from tick, day
    where date_trunc('hour', event_time, 'UTC') >= from_time and date_trunc('hour', event_time, 'UTC') + interval '1 hour' <= to_time
    union all
    select '1d', day.from_time, tick.* from tick, day
),
expected as (
    select
        level, open_time,
        concat_ws(
            ' ',
            trim_scale((array_agg(price order by event_time, sequence))[1]),
            trim_scale(max(price)),
            trim_scale(min(price)),
            trim_scale((array_agg(price order by event_time desc, sequence desc))[1]),
            trim_scale(sum(size)),
            trim_scale(sum(price * size)),
            count(*)
        ) as line
    from placed
    group by level, open_time
),
candle as (
    select '1m' as level, c.open_time, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trades, c.revision
    from market_data.candles_1m c, day
    where c.symbol_id = day.id and c.open_time >= day.from_time and c.open_time < day.to_time
    union all
    select '1h', c.open_time, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trades, c.revision
    from market_data.candles_1h c, day
    where c.symbol_id = day.id and c.open_time >= day.from_time and c.open_time + interval '1 hour' <= day.to_time
    union all
    select '1d', c.open_time, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trades, c.revision
    from market_data.candles_1d c, day
    where c.symbol_id = day.id and c.local_date = $2
),
stored as (
    select
        level, open_time, revision,
        concat_ws(
            ' ', trim_scale(open), trim_scale(high), trim_scale(low), trim_scale(close), trim_scale(volume),
            trim_scale(turnover), trades
        ) as line
    from candle
    where trades > 0
)
select
    level, (extract(epoch from open_time) * 1000000)::bigint as open_time, stored.revision,
    stored.line as stored, expected.line as expected
from stored
full join expected using (level, open_time)
