-- The blocks of symbol $1 that may hold ticks with $2 <= event time < $3. The last block that begins
-- before $2 may reach into the range; none before it can.
where b.symbol_id = $1
  and b.first_time < $3
  and b.first_time >= coalesce(
      (select max(reach.first_time) from tick_blocks reach where reach.symbol_id = $1 and reach.first_time < $2),
      '-infinity'
  )
order by b.first_time, b.first_sequence
