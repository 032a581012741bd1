-- Why: three roles, so that each program can do only what it is for.
--   market_data_owner   owns every object; nobody logs in as it
--   market_data_ingest  writes rows, no DDL
--   market_data_api     reads, in read-only transactions
-- Roles belong to the whole cluster: another database may have made them already, or be making them
-- at this moment, so an existing role is left as its operator set it. Passwords are the operator's.
-- Lock cost: none on data. Undo: drop owned by and drop role, in each database that uses them.
do $$
declare
    made boolean;
begin
    begin
        create role market_data_owner nologin;
    exception when duplicate_object or unique_violation then
        null;
    end;

    begin
        create role market_data_ingest login;
    exception when duplicate_object or unique_violation then
        null;
    end;

    begin
        create role market_data_api login connection limit 100;
        made := true;
    exception when duplicate_object or unique_violation then
        made := false;
    end;
    if made then
        alter role market_data_api set default_transaction_read_only = on;
        alter role market_data_api set statement_timeout = '30s';
    end if;

    -- A migrator that is not a superuser must be a member of the owner to act as it.
    if not pg_has_role(current_user, 'market_data_owner', 'usage') then
        execute format('grant market_data_owner to %I', current_user);
    end if;

    -- `refresh materialized view concurrently` fills a temporary table as the owner.
    execute format('grant connect, temporary on database %I to market_data_owner', current_database());
    execute format('grant connect on database %I to market_data_ingest, market_data_api', current_database());
end
$$;

alter schema market_data owner to market_data_owner;
revoke all on schema market_data from public;
grant usage on schema market_data to market_data_ingest, market_data_api;
