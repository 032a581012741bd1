update symbols s
set high_time = t.high_time,
    high_sequence = t.high_sequence,
    price_scale = t.price_scale,
    size_scale = t.size_scale,
    version = s.version + 1,
    changed_at = clock_timestamp()
from unnest($1::integer[], $2::timestamptz[], $3::bigint[], $4::smallint[], $5::smallint[])
    as t(id, high_time, high_sequence, price_scale, size_scale)
where s.id = t.id
returning s.id, s.version, s.changed_at
