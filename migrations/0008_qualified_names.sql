-- Why: `ticks_between` found its tables by the caller's search_path, and so failed for everyone who
-- had not set one. A search_path of its own would keep it from being inlined; its names are qualified
-- instead. Nothing else is different. The other functions have their own or use no tables.
-- Lock cost: none on data; calls under way go on with the old body. Undo: the body of migration 0003.
set local role market_data_owner;

create or replace function ticks_between(symbol text, from_time timestamptz, to_time timestamptz)
returns table (event_time timestamptz, sequence bigint, price numeric, size numeric, revision integer)
language sql stable parallel safe
as $$
    select t.event_time, t.sequence, t.price, t.size, t.revision
    from market_data.symbols s
    cross join lateral (
        select coalesce(max(b.first_time), '-infinity') as first_time
        from market_data.tick_blocks b
        where b.symbol_id = s.id and b.first_time < from_time
    ) reach
    join market_data.tick_blocks b
        on b.symbol_id = s.id and b.first_time >= reach.first_time and b.first_time < to_time
    cross join lateral market_data.block_ticks(b) t
    where s.symbol = ticks_between.symbol and t.event_time >= from_time and t.event_time < to_time and not t.cancelled
    order by t.event_time, t.sequence
$$;

reset role;
