-- Why: weeks, months, quarters and years are precomputed from candles_1d. `period` is the first
-- local date of the period. A view row is current when the view was refreshed after the period's end
-- and the period bears no mark; readers take every other period from candles_1d, in the same
-- statement, so a read is exact whether or not a refresh has run.
-- Lock cost: none, new objects. Undo: drop the function, the views and the two tables.
set local role market_data_owner;

-- Periods that changed at or after their end. Written in the transaction that changes the candle;
-- a mark made again raises its generation, so a refresh under way does not delete it.
create table view_marks (
    view       text not null check (view in ('candles_1w', 'candles_1mo', 'candles_1q', 'candles_1y')),
    symbol_id  integer not null,
    period     date not null,
    generation bigint not null default 0,
    primary key (view, symbol_id, period)
);

create table view_refreshes (
    view         text primary key,
    refreshed_at timestamptz not null    -- read before the snapshot of the last refresh
);

do $$
declare
    v record;
begin
    for v in
        select * from (values
            ('candles_1w', 'week'), ('candles_1mo', 'month'), ('candles_1q', 'quarter'), ('candles_1y', 'year')
        ) as t(name, unit)
    loop
        execute format($view$
            create materialized view %I as
            select
                symbol_id,
                date_trunc(%L, local_date::timestamp)::date as period,
                (array_agg(open order by open_time) filter (where trades > 0))[1] as open,
                max(high) as high,
                min(low) as low,
                (array_agg(close order by open_time desc) filter (where trades > 0))[1] as close,
                sum(volume) as volume,
                sum(turnover) as turnover,
                sum(trades)::bigint as trades,
                (array_agg(open_event_time order by open_time) filter (where trades > 0))[1] as open_event_time,
                (array_agg(open_sequence order by open_time) filter (where trades > 0))[1] as open_sequence,
                (array_agg(close_event_time order by open_time desc) filter (where trades > 0))[1] as close_event_time,
                (array_agg(close_sequence order by open_time desc) filter (where trades > 0))[1] as close_sequence,
                sum(revision)::bigint as revision,
                max(updated_at) as updated_at
            from candles_1d
            group by 1, 2
        $view$, v.name, v.unit);
        -- Unique over plain columns: what a concurrent refresh needs, and the key readers use.
        execute format('create unique index %I on %I (symbol_id, period)', v.name || '_key', v.name);
        execute format('grant select on %I to market_data_ingest, market_data_api', v.name);
    end loop;
end
$$;

-- Refreshes one view and clears the marks it covers. False when another session is refreshing it.
-- Only an owner may refresh, hence security definer. Each statement takes a new snapshot (READ
-- COMMITTED), so a mark that was read is of a change that the refresh sees.
create function refresh_candle_view(which text) returns boolean
language plpgsql security definer set search_path = market_data, pg_temp
as $$
declare
    started timestamptz;
    marks   view_marks[];
begin
    if which not in ('candles_1w', 'candles_1mo', 'candles_1q', 'candles_1y') then
        raise exception 'unknown candle view %', which using errcode = 'invalid_parameter_value';
    end if;
    if not pg_try_advisory_xact_lock(hashtext('market_data.' || which)) then
        return false;
    end if;

    started := clock_timestamp();
    marks := array(select m from view_marks m where m.view = which);
    execute format('refresh materialized view concurrently %I', which);

    delete from view_marks m
    using (
        select held.view, held.symbol_id, held.period
        from view_marks held
        join unnest(marks) seen on seen.symbol_id = held.symbol_id and seen.period = held.period and seen.generation = held.generation
        where held.view = which
        order by held.symbol_id, held.period
        for update of held skip locked
    ) done
    where m.view = done.view and m.symbol_id = done.symbol_id and m.period = done.period;

    insert into view_refreshes (view, refreshed_at) values (which, started)
    on conflict (view) do update set refreshed_at = excluded.refreshed_at;
    return true;
end
$$;

revoke execute on function refresh_candle_view(text) from public;
grant execute on function refresh_candle_view(text) to market_data_ingest;
grant select, insert, update on view_marks to market_data_ingest;
grant select on view_refreshes to market_data_ingest;
grant select on view_marks, view_refreshes to market_data_api;

reset role;
