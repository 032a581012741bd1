-- Why: the dictionary of symbols; all other tables carry the integer id. A symbol's row is also the
-- lock that makes one writer a symbol at a time, and holds the high-water mark of its ticks.
-- No foreign key points here: each would take a row lock of its own for every block and candle
-- written, and symbols are never deleted.
-- Lock cost: none, new table. Undo: drop table symbols.
set local role market_data_owner;

create table symbols (
    id            integer generated always as identity primary key,
    symbol        text collate "C" not null unique check (octet_length(symbol) between 1 and 64),
    timezone      text not null default 'UTC',   -- IANA name; a daily candle is a day in it
    price_scale   smallint not null default 0,   -- most decimals seen in a price
    size_scale    smallint not null default 0,   -- most decimals seen in a size
    high_time     timestamptz,                   -- event time and sequence of the greatest tick stored
    high_sequence bigint,
    version       bigint not null default 0,     -- raised by every writer of the symbol's ticks
    changed_at    timestamptz                    -- when it was raised last, by the clock under the lock
) with (fillfactor = 50);

grant select, insert, update on symbols to market_data_ingest;
grant select on symbols to market_data_api;

reset role;
