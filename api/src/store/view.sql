-- $1: symbol id; $2, $3: local dates, from and to; $4: rows at most.
-- Rows of the view for periods that are current in it, rows of candles_1d for all others. The view
-- is current for a period that had ended, in every zone of the world, before its last refresh began,
-- and that bears no mark.
with refresh as materialized (
    select coalesce(
        (select date_trunc('{unit}', refreshed_at at time zone 'UTC' - interval '1 day')::date
         from view_refreshes where view = '{view}'),
        '-infinity'
    ) as behind_from
)
(
    select v.period as day, {columns}
    from {view} v
    where v.symbol_id = $1 and v.period >= $2 and v.period < least($3, (select behind_from from refresh))
        and not exists (
            select from view_marks m where m.view = '{view}' and m.symbol_id = $1 and m.period = v.period
        )
    order by v.period {order} limit $4
)
union all
(
    select d.local_date, {columns}
    from view_marks m
    join candles_1d d on d.symbol_id = $1
        and d.local_date >= greatest(m.period, $2)
        and d.local_date < least((m.period + interval '{length}')::date, $3)
    where m.view = '{view}' and m.symbol_id = $1
        and m.period >= date_trunc('{unit}', $2::timestamp)::date
        and m.period < least($3, (select behind_from from refresh))
    order by d.local_date {order} limit $4
)
union all
(
    select d.local_date, {columns}
    from candles_1d d
    where d.symbol_id = $1 and d.local_date >= greatest($2, (select behind_from from refresh)) and d.local_date < $3
    order by d.local_date {order} limit $4
)
order by day {order} limit $4
