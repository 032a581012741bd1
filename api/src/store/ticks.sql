-- $1: symbol id; $2, $3 and $4, $5: the first and the last block; $6, $7: the first key (event time, sequence);
-- $8, $9: the key to stop before.
select t.event_time, t.sequence, t.price::text, t.size::text, t.revision
from tick_blocks b
cross join lateral block_ticks(b) t
where b.symbol_id = $1
    and (b.first_time, b.first_sequence) >= ($2, $3) and (b.first_time, b.first_sequence) <= ($4, $5)
    and not t.cancelled
    and (t.event_time, t.sequence) >= ($6, $7) and (t.event_time, t.sequence) < ($8, $9)
order by t.event_time {order}, t.sequence {order}
