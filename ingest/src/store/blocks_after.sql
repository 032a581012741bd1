-- The next $4 blocks of symbol $1 after the key ($2, $3).
where b.symbol_id = $1 and (b.first_time, b.first_sequence) > ($2, $3)
order by b.first_time, b.first_sequence
limit $4
