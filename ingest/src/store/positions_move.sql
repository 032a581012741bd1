-- A position may move over control records alone: the last record then stays the one before.
update ingest_offsets o
set next_offset = moved.next_offset,
    last_offset = coalesce(moved.last_offset, o.last_offset),
    last_timestamp = case when moved.last_offset is null then o.last_timestamp else moved.last_timestamp end,
    updated_at = clock_timestamp()
from unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[], $6::timestamptz[])
    as moved(topic, "partition", next_offset, last_offset, last_timestamp)
where o.cluster_id = $1 and o.topic = moved.topic and o."partition" = moved."partition"
