-- The next $5 letters after number $1, of the numbers $2 (any, when empty), reason $3 and topic $4 (any, when null).
select id, cluster_id, topic, "partition", "offset", key, payload, reason, detail, record_time, created_at
from dead_letters
where id > $1
  and (cardinality($2::bigint[]) = 0 or id = any($2))
  and reason = coalesce($3, reason)
  and topic = coalesce($4, topic)
order by id
limit $5
