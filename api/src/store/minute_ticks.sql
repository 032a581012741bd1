-- $1: symbol id; $2, $3: event times, from and to. Cancelled ticks too: their buckets were emptied.
with reach as materialized (
    select coalesce(max(b.first_time), '-infinity') as first_time
    from tick_blocks b
    where b.symbol_id = $1 and b.first_time < $2
)
select t.event_time, t.sequence, t.price::text, t.size::text, t.cancelled
from tick_blocks b
cross join lateral block_ticks(b) t
where b.symbol_id = $1 and b.first_time >= (select first_time from reach) and b.first_time < $3
    and t.event_time >= $2 and t.event_time < $3
order by t.event_time {order}, t.sequence {order}
