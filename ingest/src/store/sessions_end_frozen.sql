-- Workers only: an operator's session has another application_name. Workers with other logins can be ended by a member
-- of pg_signal_backend alone.
select count(*) filter (where pg_terminate_backend(pid))
from pg_stat_activity
where datname = current_database()
  and (usename = current_user or pg_has_role('pg_signal_backend', 'member'))
  and application_name = current_setting('application_name')
  and pid <> pg_backend_pid()
  and state in ('active', 'idle in transaction', 'idle in transaction (aborted)')
  and wait_event_type = 'Client'
  and state_change < clock_timestamp() - ($1 || ' ms')::interval
