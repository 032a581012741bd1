join unnest($1::integer[], $2::timestamptz[], $3::bigint[]) as wanted(symbol_id, first_time, first_sequence)
    using (symbol_id, first_time, first_sequence)
order by b.symbol_id, b.first_time, b.first_sequence
