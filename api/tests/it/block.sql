insert into tick_blocks (
    symbol_id, first_time, first_sequence, last_time, last_sequence, count,
    price_scale, size_scale, price_base, size_base, times_wide, sequences_wide, prices_wide, sizes_wide
) values ($1, $2, $3, $4, $5, $6, 2, 2, 0, 0, $7, $8, $9, $10)
