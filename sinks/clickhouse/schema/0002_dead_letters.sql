-- One row per message of the dead-letter topic. The bytes of the original are
-- in Kafka; here are the first 4 KB, to look at.
CREATE TABLE IF NOT EXISTS {{.Database}}.dead_letters {{.OnCluster}}
(
    at                 DateTime64(3, 'UTC') COMMENT 'the last failure',
    first_failure      DateTime64(3, 'UTC'),
    source_topic       LowCardinality(String) COMMENT 'the message that could not be dealt with',
    source_partition   Int32,
    source_offset      Int64,
    key                String,
    reason             LowCardinality(String),
    error_class        LowCardinality(String),
    error              String,
    attempts           UInt32,
    sync_id            String COMMENT 'of given-up work',
    trigger_id         String COMMENT 'of given-up work, as are the next six',
    trigger_cause      LowCardinality(String),
    trigger_origin     LowCardinality(String),
    trigger_type       LowCardinality(String),
    trigger_delivery   String,
    trigger_at         Nullable(DateTime64(3, 'UTC')),
    trigger_received   Nullable(DateTime64(3, 'UTC')),
    headers            Map(String, String) COMMENT 'of a bad message',
    original           String COMMENT 'the first 4096 bytes of a bad message',
    original_bytes     UInt64 COMMENT 'how long it is',
    _topic             LowCardinality(String) COMMENT 'where the dead letter itself stands',
    _partition         Int32,
    _offset            Int64,
    INDEX ix_key       key            TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_sync      sync_id        TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_source    source_offset  TYPE minmax GRANULARITY 1
)
ENGINE = {{.Replacing ""}}
PARTITION BY toYYYYMM(at)
PRIMARY KEY (toStartOfHour(at))
ORDER BY (toStartOfHour(at), _topic, _partition, _offset)
SETTINGS {{.DedupWindow}}, ttl_only_drop_parts = 1;
