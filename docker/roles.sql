-- Why: migrations make the roles without passwords; here they get those that Secrets Manager hands out.
-- Undo: alter role … password null.
\getenv ingest INGEST_PASSWORD
\getenv api API_PASSWORD
alter role market_data_ingest password :'ingest';
alter role market_data_api password :'api';
