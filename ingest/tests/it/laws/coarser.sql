-- Counts the candles of {coarser} that are not the fold of those of {finer}, and the other way round.
-- What is in braces are constants of the test.
with folded as (
    select
        f.symbol_id,
        {bucket} as bucket,
        (array_agg(f.open order by f.open_event_time, f.open_sequence))[1],
        max(f.high),
        min(f.low),
        (array_agg(f.close order by f.close_event_time desc, f.close_sequence desc))[1],
        sum(f.volume),
        sum(f.turnover),
        sum(f.trades)::bigint,
        min(f.open_event_time),
        max(f.close_event_time)
    from {finer} f
    join symbols s on s.id = f.symbol_id
    where f.trades > 0 and s.timezone = any($1)
    group by 1, 2
),
stored as (
    select
        c.symbol_id, {label}, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trades,
        c.open_event_time, c.close_event_time
    from {coarser} c
    join symbols s on s.id = c.symbol_id
    where c.trades > 0 and s.timezone = any($1)
)
select
    (select count(*) from stored),
    (select count(*) from (
        (table folded except all table stored) union all (table stored except all table folded)
    ) as difference)
