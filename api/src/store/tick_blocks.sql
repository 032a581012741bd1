-- $1: symbol id; $2, $3: the first key (event time, sequence); $4, $5: the key to stop before; $6: blocks at most.
-- Blocks never overlap, so the one that begins last at or before the first key is the first that may hold it.
with reach as materialized (
    select b.first_time, b.first_sequence
    from tick_blocks b
    where b.symbol_id = $1 and (b.first_time, b.first_sequence) <= ($2, $3)
    order by b.first_time desc, b.first_sequence desc
    limit 1
)
select b.first_time, b.first_sequence, b.last_time, b.last_sequence, b.count
from tick_blocks b
where b.symbol_id = $1
    and (b.first_time, b.first_sequence) >= (
        coalesce((select r.first_time from reach r), '-infinity'), coalesce((select r.first_sequence from reach r), 0)
    )
    and (b.first_time, b.first_sequence) < ($4, $5)
    and (b.last_time, b.last_sequence) >= ($2, $3)
order by b.first_time {order}, b.first_sequence {order}
limit $6
