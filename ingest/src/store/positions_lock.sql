select o.topic, o."partition", o.next_offset
from ingest_offsets o
join unnest($2::text[], $3::integer[]) as wanted(topic, "partition") using (topic, "partition")
where o.cluster_id = $1
order by o.topic, o."partition"
for no key update of o
