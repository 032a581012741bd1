select o.topic, o."partition", o.next_offset, o.last_offset, o.last_timestamp
from ingest_offsets o
join unnest($2::text[], $3::integer[]) as wanted(topic, "partition") using (topic, "partition")
where o.cluster_id = $1
