select
    b.symbol_id, b.first_time, b.first_sequence, b.price_scale, b.size_scale, b.price_base, b.size_base,
    b.times, b.times_wide, b.sequences, b.sequences_wide,
    b.prices, b.prices_wide, b.prices_numeric::text[] as prices_numeric,
    b.sizes, b.sizes_wide, b.sizes_numeric::text[] as sizes_numeric,
    b.revisions, b.cancels
from unnest($1::integer[], $2::timestamptz[], $3::bigint[]) as wanted(symbol_id, first_time, first_sequence)
join tick_blocks b using (symbol_id, first_time, first_sequence)
order by b.symbol_id, b.first_time, b.first_sequence
