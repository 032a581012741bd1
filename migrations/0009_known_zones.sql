-- Why: a symbol in a zone that the programs do not know can be neither stored nor read. A zone is
-- refused here unless this server lists it as one of the IANA database, spelled as there: the
-- programs' own database has the same names. Rows that exist are left as they are, and UTC, which
-- every new symbol has, is not looked up.
-- Lock cost: share row exclusive on symbols. It waits for the batches that are being stored, and those
-- that follow wait for it; a batch takes well under a second. Undo: drop the trigger and the function.
set local role market_data_owner;

create function check_zone() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- The server's folder has the zones under more names than IANA gives them.
    if new.timezone ~ '^(posix|right)/|^(posixrules|localtime|Factory)$'
        or not exists (select from pg_timezone_names z where z.name = new.timezone)
    then
        raise exception 'symbol % cannot have the zone %: it is no IANA zone that this server knows', new.symbol, new.timezone
            using errcode = 'invalid_parameter_value', hint = 'select name from pg_timezone_names lists the zones.';
    end if;
    return new;
end
$$;

revoke execute on function check_zone() from public;

create trigger check_zone before insert or update of timezone on symbols
for each row when (new.timezone <> 'UTC') execute function check_zone();

reset role;
