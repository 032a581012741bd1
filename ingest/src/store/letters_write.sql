insert into dead_letters (cluster_id, topic, "partition", "offset", key, payload, reason, detail, record_time)
select $1, *
from unnest($2::text[], $3::integer[], $4::bigint[], $5::bytea[], $6::bytea[], $7::text[], $8::text[], $9::timestamptz[])
on conflict do nothing
