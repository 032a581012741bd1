-- The small blocks of symbol $1, each with the key of the block that follows it, and whether that one is
-- small too. A bounded number: what is left waits for the next turn.
select
    small.first_time, small.first_sequence,
    following.first_time as next_time, following.first_sequence as next_sequence,
    coalesce(following.count < 128, false) as joins_next
from (
    select b.first_time, b.first_sequence
    from tick_blocks b
    where b.symbol_id = $1 and b.count < 128
    order by b.first_time, b.first_sequence
    limit 500
) small
left join lateral (
    select b.first_time, b.first_sequence, b.count
    from tick_blocks b
    where b.symbol_id = $1 and (b.first_time, b.first_sequence) > (small.first_time, small.first_sequence)
    order by b.first_time, b.first_sequence
    limit 1
) following on true
order by small.first_time, small.first_sequence
