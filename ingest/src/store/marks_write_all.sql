-- Every period of every view that has a day of symbol $1.
insert into view_marks as m (view, symbol_id, period)
select distinct v.view, d.symbol_id, date_trunc(v.unit, d.local_date::timestamp)::date
from candles_1d d
cross join (values
    ('candles_1w', 'week'), ('candles_1mo', 'month'), ('candles_1q', 'quarter'), ('candles_1y', 'year')
) as v(view, unit)
where d.symbol_id = $1
order by 1, 2, 3
on conflict (view, symbol_id, period) do update set generation = m.generation + 1
