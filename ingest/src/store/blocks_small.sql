-- The small blocks of symbol $1, and whether the block that follows each one is small too. A bounded
-- number: what is left waits for the next turn.
select small.first_time, small.first_sequence, coalesce(following.count < 128, false) as joins_next
from (
    select b.first_time, b.first_sequence
    from tick_blocks b
    where b.symbol_id = $1 and b.count < 128
    order by b.first_time, b.first_sequence
    limit 500
) small
left join lateral (
    select b.count
    from tick_blocks b
    where b.symbol_id = $1 and (b.first_time, b.first_sequence) > (small.first_time, small.first_sequence)
    order by b.first_time, b.first_sequence
    limit 1
) following on true
order by small.first_time, small.first_sequence
