insert into candles_1m
select
    $1, date_trunc('minute', event_time, 'UTC'),
    (array_agg(price order by event_time, sequence))[1], max(price), min(price),
    (array_agg(price order by event_time desc, sequence desc))[1],
    sum(size), sum(price * size), count(*),
    min(event_time), (array_agg(sequence order by event_time, sequence))[1],
    max(event_time), (array_agg(sequence order by event_time desc, sequence desc))[1],
    1, clock_timestamp()
from ticks where symbol = $2 and $3 <> '' group by 2;

insert into candles_1h
select
    $1, date_trunc('hour', event_time, 'UTC'),
    (array_agg(price order by event_time, sequence))[1], max(price), min(price),
    (array_agg(price order by event_time desc, sequence desc))[1],
    sum(size), sum(price * size), count(*),
    min(event_time), (array_agg(sequence order by event_time, sequence))[1],
    max(event_time), (array_agg(sequence order by event_time desc, sequence desc))[1],
    1, clock_timestamp()
from ticks where symbol = $2 and $3 <> '' group by 2;

insert into candles_1d
select
    $1, (event_time at time zone $3)::date::timestamp at time zone $3,
    (array_agg(price order by event_time, sequence))[1], max(price), min(price),
    (array_agg(price order by event_time desc, sequence desc))[1],
    sum(size), sum(price * size), count(*),
    min(event_time), (array_agg(sequence order by event_time, sequence))[1],
    max(event_time), (array_agg(sequence order by event_time desc, sequence desc))[1],
    1, clock_timestamp(), (event_time at time zone $3)::date
from ticks where symbol = $2 group by (event_time at time zone $3)::date
