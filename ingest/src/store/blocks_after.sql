-- The next $4 blocks of symbol $1 after the key ($2, $3).
select
    b.symbol_id, b.first_time, b.first_sequence, b.price_scale, b.size_scale, b.price_base, b.size_base,
    b.times, b.times_wide, b.sequences, b.sequences_wide,
    b.prices, b.prices_wide, b.prices_numeric::text[] as prices_numeric,
    b.sizes, b.sizes_wide, b.sizes_numeric::text[] as sizes_numeric,
    b.revisions, b.cancels
from tick_blocks b
where b.symbol_id = $1 and (b.first_time, b.first_sequence) > ($2, $3)
order by b.first_time, b.first_sequence
limit $4
