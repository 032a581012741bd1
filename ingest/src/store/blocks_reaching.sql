-- The block of symbol $1 that begins before $2 and ends at or after it.
where b.symbol_id = $1 and b.last_time >= $2
  and b.first_time = (select max(last.first_time) from tick_blocks last where last.symbol_id = $1 and last.first_time < $2)
order by b.first_sequence desc
limit 1
