-- What the first migration needs beside a superuser's rights: a login that may create roles and owns the
-- database hands the schema to the owner role, which must be allowed to have one there.
do $$
begin
    if (select rolsuper from pg_roles where rolname = current_user) then
        return;
    end if;
    begin
        create role market_data_owner nologin;
    exception when duplicate_object or unique_violation then
        null;
    end;
    if not pg_has_role(current_user, 'market_data_owner', 'usage') then
        execute format('grant market_data_owner to %I', current_user);
    end if;
    if not has_database_privilege('market_data_owner', current_database(), 'create') then
        execute format('grant create on database %I to market_data_owner', current_database());
    end if;
end
$$
