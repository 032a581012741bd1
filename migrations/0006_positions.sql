-- Why: what of Kafka has been stored, in the same transaction as the data it became. Kafka's own
-- group offsets are a display, never read back.
-- Lock cost: none, new tables. Undo: drop the tables.
set local role market_data_owner;

create table ingest_offsets (
    cluster_id     text not null,          -- a topic of another cluster is another topic
    topic          text not null,
    "partition"    integer not null,
    next_offset    bigint,                 -- null: assigned, nothing stored yet
    last_offset    bigint,                 -- the last record stored; control records may lie between it and next_offset
    last_timestamp timestamptz,            -- its Kafka timestamp: a recreated topic has another one there
    updated_at     timestamptz not null default clock_timestamp(),
    primary key (cluster_id, topic, "partition")
) with (fillfactor = 50);

-- A message that cannot become a tick, whole, with the reason.
create table dead_letters (
    id           bigint generated always as identity primary key,
    cluster_id   text not null,
    topic        text not null,
    "partition"  integer not null,
    "offset"     bigint not null,
    key          bytea,
    payload      bytea,
    reason       text not null,            -- a closed set of codes, see docs/dead-letters.md
    detail       text not null,
    record_time  timestamptz,              -- Kafka timestamp
    created_at   timestamptz not null default clock_timestamp()
);

-- A replay stores no letter twice. A topic that was recreated has other records at its old offsets,
-- of another time: their letters are kept beside the old ones.
create unique index dead_letters_record
    on dead_letters (cluster_id, topic, "partition", "offset", coalesce(record_time, '-infinity'));

grant select, insert, update, delete on ingest_offsets, dead_letters to market_data_ingest;

reset role;
