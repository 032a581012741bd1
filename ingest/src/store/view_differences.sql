-- What is in braces are constants of the program and the schema's own definition. A row counts when
-- readers may use it: the view was refreshed after its period's end, a day of slack for any zone
-- included, and the period bears no mark.
with defined as ({definition}),
usable as (
    select r.refreshed_at from view_refreshes r where r.view = '{view}'
),
stored as (
    select v.* from {view} v, usable
    where (v.period + interval '{length}' + interval '1 day') at time zone 'UTC' <= usable.refreshed_at
      and not exists (select from view_marks m where m.view = '{view}' and m.symbol_id = v.symbol_id and m.period = v.period)
),
expected as (
    select d.* from defined d, usable
    where (d.period + interval '{length}' + interval '1 day') at time zone 'UTC' <= usable.refreshed_at
      and not exists (select from view_marks m where m.view = '{view}' and m.symbol_id = d.symbol_id and m.period = d.period)
)
select
    (select count(*) from expected) as rows,
    (select count(*) from (select * from expected except select * from stored) m) as missing,
    (select count(*) from (select * from stored except select * from expected) s) as stale
