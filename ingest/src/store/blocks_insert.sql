-- One row a block. The values of all blocks come end to end, $23 to $34 in the order of the columns; $11
-- to $22 say where each block's begin. A slice of a null place is null. An insert instead of COPY: the
-- end of a COPY is a message of its own, which waits 40 ms for a delayed acknowledgement where the
-- driver leaves Nagle's algorithm on.
insert into tick_blocks (
    symbol_id, first_time, first_sequence, last_time, last_sequence, count, price_scale, size_scale, price_base, size_base,
    times, times_wide, sequences, sequences_wide, prices, prices_wide, prices_numeric,
    sizes, sizes_wide, sizes_numeric, revisions, cancels
)
select
    b.symbol_id, b.first_time, b.first_sequence, b.last_time, b.last_sequence, b.count,
    b.price_scale, b.size_scale, b.price_base, b.size_base,
    ($23::integer[])[b.times + 1 : b.times + b.count],
    ($24::bigint[])[b.times_wide + 1 : b.times_wide + b.count],
    ($25::integer[])[b.sequences + 1 : b.sequences + b.count],
    ($26::bigint[])[b.sequences_wide + 1 : b.sequences_wide + b.count],
    ($27::integer[])[b.prices + 1 : b.prices + b.count],
    ($28::bigint[])[b.prices_wide + 1 : b.prices_wide + b.count],
    (($29::text[])[b.prices_numeric + 1 : b.prices_numeric + b.count])::numeric[],
    ($30::integer[])[b.sizes + 1 : b.sizes + b.count],
    ($31::bigint[])[b.sizes_wide + 1 : b.sizes_wide + b.count],
    (($32::text[])[b.sizes_numeric + 1 : b.sizes_numeric + b.count])::numeric[],
    ($33::integer[])[b.revisions + 1 : b.revisions + b.count],
    ($34::boolean[])[b.cancels + 1 : b.cancels + b.count]
from unnest(
    $1::integer[], $2::timestamptz[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::integer[],
    $7::smallint[], $8::smallint[], $9::bigint[], $10::bigint[],
    $11::integer[], $12::integer[], $13::integer[], $14::integer[], $15::integer[], $16::integer[],
    $17::integer[], $18::integer[], $19::integer[], $20::integer[], $21::integer[], $22::integer[]
) as b(
    symbol_id, first_time, first_sequence, last_time, last_sequence, count, price_scale, size_scale, price_base, size_base,
    times, times_wide, sequences, sequences_wide, prices, prices_wide, prices_numeric,
    sizes, sizes_wide, sizes_numeric, revisions, cancels
)
