-- The newest $4 letters of the numbers $1 (any, when empty), reason $2 and topic $3 (any, when null); the newest last.
select *
from (
    select id, cluster_id, topic, "partition", "offset", key, payload, reason, detail, record_time, created_at
    from dead_letters
    where (cardinality($1::bigint[]) = 0 or id = any($1))
      and reason = coalesce($2, reason)
      and topic = coalesce($3, topic)
    order by id desc
    limit $4
) newest
order by id
