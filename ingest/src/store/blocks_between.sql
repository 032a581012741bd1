-- The blocks of symbol $1 that may hold ticks with $2 <= event time < $3. The last block that begins
-- before $2 may reach into the range; none before it can.
select
    b.symbol_id, b.first_time, b.first_sequence, b.price_scale, b.size_scale, b.price_base, b.size_base,
    b.times, b.times_wide, b.sequences, b.sequences_wide,
    b.prices, b.prices_wide, b.prices_numeric::text[] as prices_numeric,
    b.sizes, b.sizes_wide, b.sizes_numeric::text[] as sizes_numeric,
    b.revisions, b.cancels
from tick_blocks b
where b.symbol_id = $1
  and b.first_time < $3
  and b.first_time >= coalesce(
      (select max(reach.first_time) from tick_blocks reach where reach.symbol_id = $1 and reach.first_time < $2),
      '-infinity'
  )
order by b.first_time, b.first_sequence
