-- The oldest $3 blocks of symbol $1 that end before $2.
with gone as (
    delete from tick_blocks b
    using (
        select o.first_time, o.first_sequence
        from tick_blocks o
        where o.symbol_id = $1 and o.first_time < $2 and o.last_time < $2
        order by o.first_time, o.first_sequence
        limit $3
    ) old
    where b.symbol_id = $1 and b.first_time = old.first_time and b.first_sequence = old.first_sequence
    returning b.count
)
select coalesce(sum(count), 0)::bigint, count(*) from gone
