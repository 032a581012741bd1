-- For each tick key, in order: the key of the last block that begins at or before it, or nulls.
select owner.first_time, owner.first_sequence
from unnest($1::integer[], $2::timestamptz[], $3::bigint[]) with ordinality as tick(symbol_id, event_time, sequence, position)
left join lateral (
    select b.first_time, b.first_sequence
    from tick_blocks b
    where b.symbol_id = tick.symbol_id and (b.first_time, b.first_sequence) <= (tick.event_time, tick.sequence)
    order by b.first_time desc, b.first_sequence desc
    limit 1
) owner on true
order by tick.position
