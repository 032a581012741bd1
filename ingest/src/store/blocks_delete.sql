delete from tick_blocks b
using unnest($1::integer[], $2::timestamptz[], $3::bigint[]) as gone(symbol_id, first_time, first_sequence)
where b.symbol_id = gone.symbol_id and b.first_time = gone.first_time and b.first_sequence = gone.first_sequence
