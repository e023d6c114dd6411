-- A dead letter has an id and a state. What somebody decides about it is one
-- more message with the same id, and so one more row.
ALTER TABLE {{.Database}}.dead_letters {{.OnCluster}}
    ADD COLUMN IF NOT EXISTS dead_id String COMMENT 'id of the letter; empty in rows of before: see the view dead' AFTER original_bytes,
    ADD COLUMN IF NOT EXISTS state LowCardinality(String) COMMENT 'empty: it was given up; replayed, discarded: it was decided about' AFTER dead_id,
    ADD COLUMN IF NOT EXISTS by String COMMENT 'who decided' AFTER state,
    ADD COLUMN IF NOT EXISTS why String AFTER by,
    ADD COLUMN IF NOT EXISTS decided Nullable(DateTime64(3, 'UTC')) COMMENT 'when that was' AFTER why;

-- One row per dead letter, as it was given up last, with its latest state. The
-- latest is what was said last, by the clocks of those who said it: messages with
-- one id are in one partition of the topic only as long as it is not enlarged.
--
-- The id of a row of before is computed as event.DeadLetter.Identity does.
CREATE OR REPLACE VIEW {{.Database}}.dead {{.OnCluster}} AS
SELECT
    id,
    toLowCardinality(if(last_state = '', 'open', last_state)) AS state,
    last_by AS by,
    last_why AS why,
    if(last_state = '', NULL, last_decided) AS decided,
    toBool(last_trigger != '') AS work,
    last_at AS at,
    last_first_failure AS first_failure,
    toLowCardinality(last_source_topic) AS source_topic,
    last_source_partition AS source_partition,
    last_source_offset AS source_offset,
    last_key AS key,
    toLowCardinality(last_reason) AS reason,
    toLowCardinality(last_class) AS error_class,
    last_error AS error,
    last_attempts AS attempts,
    last_sync_id AS sync_id,
    last_trigger AS trigger_id,
    toLowCardinality(last_cause) AS trigger_cause,
    toLowCardinality(last_origin) AS trigger_origin,
    toLowCardinality(last_type) AS trigger_type,
    last_delivery AS trigger_delivery,
    last_happened AS trigger_at,
    last_received AS trigger_received,
    last_headers AS headers,
    last_original AS original,
    last_bytes AS original_bytes,
    toLowCardinality(last_topic) AS letter_topic,
    last_partition AS letter_partition,
    last_offset AS letter_offset
FROM
(
    WITH
        concat(d.source_topic, '/', toString(d.source_partition), '/', toString(d.source_offset)) AS source,
        lower(hex(substring(SHA256(concat('4:dead', toString(length(source)), ':', source, toString(length(d.sync_id)), ':', d.sync_id)), 1, 16))) AS identity,
        tuple(greatest(d.at, ifNull(d.decided, d.at)), d._offset) AS said,
        tuple(d.state = '', said) AS told
    SELECT
        if(d.dead_id != '', d.dead_id, identity) AS id,
        argMax(toString(d.state), said) AS last_state,
        argMax(d.by, said) AS last_by,
        argMax(d.why, said) AS last_why,
        argMax(tuple(d.decided), said).1 AS last_decided,
        argMax(d.trigger_id, told) AS last_trigger,
        argMax(d.at, told) AS last_at,
        argMax(d.first_failure, told) AS last_first_failure,
        argMax(toString(d.source_topic), told) AS last_source_topic,
        argMax(d.source_partition, told) AS last_source_partition,
        argMax(d.source_offset, told) AS last_source_offset,
        argMax(d.key, told) AS last_key,
        argMax(toString(d.reason), told) AS last_reason,
        argMax(toString(d.error_class), told) AS last_class,
        argMax(d.error, told) AS last_error,
        argMax(d.attempts, told) AS last_attempts,
        argMax(d.sync_id, told) AS last_sync_id,
        argMax(toString(d.trigger_cause), told) AS last_cause,
        argMax(toString(d.trigger_origin), told) AS last_origin,
        argMax(toString(d.trigger_type), told) AS last_type,
        argMax(d.trigger_delivery, told) AS last_delivery,
        argMax(tuple(d.trigger_at), told).1 AS last_happened,
        argMax(tuple(d.trigger_received), told).1 AS last_received,
        argMax(d.headers, told) AS last_headers,
        argMax(d.original, told) AS last_original,
        argMax(d.original_bytes, told) AS last_bytes,
        argMax(toString(d._topic), told) AS last_topic,
        argMax(d._partition, told) AS last_partition,
        argMax(d._offset, told) AS last_offset
    FROM {{.Database}}.dead_letters AS d
    GROUP BY id
);
