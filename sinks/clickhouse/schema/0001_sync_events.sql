-- One row per event message of the events topic, as it was produced.
--
-- Nothing here depends on merges. The engine removes a row only when the very
-- same message was loaded twice, because topic, partition and offset are in the
-- sorting key. An event that was produced twice, since its trigger was delivered
-- again, stays two rows with one id: both were said, and the offsets of a topic
-- can be counted without gaps. The views choose between them by _version: one
-- that applied something before one that did not, a final one before a deferred
-- one, then the later attempt, then failed before the no-ops, then the later
-- offset. It is made so that the highest of a whole sync decides the sync.
--
-- The sorting key begins with the hour in which the first trigger of the sync
-- was received, and partitions are its months: unlike the time of the event it
-- is the same however often a sync is done again, so all rows of a sync lie
-- together. Keys, syncs and triggers are found by bloom filters.
--
-- A part of an insert is one file: with a file or more for each of seventy
-- columns the same insert costs the server five times as much.
CREATE TABLE IF NOT EXISTS {{.Database}}.sync_events {{.OnCluster}}
(
    id                 String COMMENT 'id of the event, a pure function of sync, phase and attempt',
    sync_id            String,
    phase              LowCardinality(String) COMMENT 'planned, done',
    at                 DateTime64(3, 'UTC') COMMENT 'when the event was produced',
    received           DateTime64(3, 'UTC') COMMENT 'when the first trigger of the sync was received',
    outcome            LowCardinality(String) COMMENT 'empty while planned',
    reason             LowCardinality(String),
    note               String,
    key                String COMMENT 'system:kind:id',
    key_system         LowCardinality(String),
    key_kind           LowCardinality(String),
    key_id             String,
    related            Array(String) COMMENT 'Limio ids and other keys it concerns',
    cause              LowCardinality(String),
    origin             LowCardinality(String),
    mode               LowCardinality(String) COMMENT 'write, observe',
    attempt            UInt32,
    next               Nullable(DateTime64(3, 'UTC')) COMMENT 'next attempt of a deferred sync',
    triggers           Nested
    (
        id             String,
        cause          LowCardinality(String),
        origin         LowCardinality(String),
        type           LowCardinality(String),
        delivery       String,
        topic          LowCardinality(String),
        partition      Int32,
        offset         Int64,
        at             DateTime64(3, 'UTC'),
        received       DateTime64(3, 'UTC')
    ),
    changes            Nested
    (
        object         LowCardinality(String),
        id             String,
        ref            String,
        field          LowCardinality(String),
        op             LowCardinality(String),
        before         String,
        after          String
    ) COMMENT 'before and after are JSON scalars',
    callouts           Nested
    (
        at             DateTime64(3, 'UTC'),
        service        LowCardinality(String),
        method         LowCardinality(String),
        route          LowCardinality(String),
        status         UInt16,
        ms             Int64,
        error          String
    ) COMMENT 'status 0: no answer',
    error_class        LowCardinality(String),
    error              String,
    waited_ms          Int64,
    worked_ms          Int64,
    instance           LowCardinality(String),
    build              LowCardinality(String),
    format             UInt16 COMMENT 'version of the event format',
    _topic             LowCardinality(String) COMMENT 'where the event message itself stands',
    _partition         Int32,
    _offset            Int64,
    _version           UInt64 COMMENT 'of a sync, and of several rows with one id, the highest decides',
    INDEX ix_key       key            TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_sync      sync_id        TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_trigger   `triggers.id`  TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_related   related        TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_outcome   outcome        TYPE set(16) GRANULARITY 4,
    INDEX ix_at        at             TYPE minmax GRANULARITY 1,
    INDEX ix_offset    _offset        TYPE minmax GRANULARITY 1
)
ENGINE = {{.Replacing "_version"}}
PARTITION BY toYYYYMM(received)
PRIMARY KEY (toStartOfHour(received), key, sync_id)
ORDER BY (toStartOfHour(received), key, sync_id, id, _topic, _partition, _offset)
SETTINGS {{.DedupWindow}}, ttl_only_drop_parts = 1, min_bytes_for_wide_part = 134217728;
