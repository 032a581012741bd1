-- How every read of blocks begins.
select
    b.symbol_id, b.first_time, b.first_sequence, b.price_scale, b.size_scale, b.price_base, b.size_base,
    b.times, b.times_wide, b.sequences, b.sequences_wide,
    b.prices, b.prices_wide, b.prices_numeric::text[] as prices_numeric,
    b.sizes, b.sizes_wide, b.sizes_numeric::text[] as sizes_numeric,
    b.revisions, b.cancels
from tick_blocks b
