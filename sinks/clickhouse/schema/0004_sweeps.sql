-- What sweeps and plans leave in the log.

-- The numbers of a run come with its summary; a plan is what a person reviews.
ALTER TABLE {{.Database}}.sync_events {{.OnCluster}}
    ADD COLUMN IF NOT EXISTS plan String COMMENT 'identifies the changes of an observed sync, as they were before masking' AFTER format,
    ADD COLUMN IF NOT EXISTS stats Map(LowCardinality(String), Int64) COMMENT 'numbers of a run' AFTER plan;

-- The triggers of a run share its id as their delivery, and a webhook is looked
-- for by its own.
ALTER TABLE {{.Database}}.sync_events {{.OnCluster}}
    ADD INDEX IF NOT EXISTS ix_delivery `triggers.delivery` TYPE bloom_filter(0.01) GRANULARITY 1;

-- As before, with plan, stats, and what is said of the first trigger: its type,
-- delivery, and where its message stands.
CREATE OR REPLACE VIEW {{.Database}}.syncs {{.OnCluster}} AS
SELECT
    sync_id,
    key,
    splitByChar(':', key)[1] AS key_system,
    splitByChar(':', key)[2] AS key_kind,
    substring(key, length(key_system) + length(key_kind) + 3) AS key_id,
    toBool(planned AND last_outcome = 'in_sync') AS recovered,
    toLowCardinality(if(recovered, 'applied', last_outcome)) AS outcome,
    toLowCardinality(if(recovered, 'drift_repaired', last_reason)) AS reason,
    last_note AS note,
    toLowCardinality(first_cause) AS cause,
    toLowCardinality(if(last_outcome = '', first_origin, last_origin)) AS origin,
    toLowCardinality(last_mode) AS mode,
    first_received AS received,
    if(last_outcome = '', last_seen, last_at) AS at,
    if(outcome IN ('', 'deferred'), NULL, greatest(0, dateDiff('millisecond', received, last_at))) AS latency_ms,
    attempts,
    if(outcome = 'deferred', last_next, NULL) AS next,
    arraySort(all_triggers) AS trigger_ids,
    arraySort(all_related) AS related,
    arrayMap(c -> CAST((c.1, c.2, c.3, c.4, c.5,
        multiIf(c.6 = 'null', '', startsWith(c.6, '"'), JSONExtractString(c.6), c.6),
        multiIf(c.7 = 'null', '', startsWith(c.7, '"'), JSONExtractString(c.7), c.7)),
        'Tuple(object String, id String, ref String, field String, op String, before String, after String)'), arraySort(all_changes)) AS changes,
    change_count,
    arraySum(mapValues(message_calls)) AS callouts,
    arraySum(mapValues(message_call_ms)) AS callout_ms,
    last_waited AS waited_ms,
    arraySum(mapValues(message_worked)) AS worked_ms,
    toLowCardinality(last_class) AS error_class,
    last_error AS error,
    toLowCardinality(last_instance) AS instance,
    toLowCardinality(last_build) AS build,
    last_plan AS plan,
    last_stats AS stats,
    toLowCardinality(first_type) AS type,
    first_delivery AS delivery,
    toLowCardinality(first_topic) AS topic,
    first_partition AS partition,
    first_offset AS offset
FROM
(
    SELECT
        sync_id,
        key,
        countIf(phase = 'planned') > 0 AS planned,
        argMaxIf(toString(e.outcome), _version, phase = 'done') AS last_outcome,
        argMaxIf(toString(e.reason), _version, phase = 'done') AS last_reason,
        argMaxIf(e.note, _version, phase = 'done') AS last_note,
        argMaxIf(toString(e.origin), _version, phase = 'done') AS last_origin,
        argMaxIf(e.at, _version, phase = 'done') AS last_at,
        argMaxIf(tuple(e.next), _version, phase = 'done').1 AS last_next,
        argMaxIf(e.waited_ms, _version, phase = 'done') AS last_waited,
        argMaxIf(toString(e.error_class), _version, phase = 'done') AS last_class,
        argMaxIf(e.error, _version, phase = 'done') AS last_error,
        argMaxIf(e.plan, _version, phase = 'done') AS last_plan,
        argMaxIf(e.stats, _version, phase = 'done') AS last_stats,
        argMin(toString(e.cause), _offset) AS first_cause,
        argMin(toString(e.origin), _offset) AS first_origin,
        argMin(toString(e.triggers.type[1]), _offset) AS first_type,
        argMin(e.triggers.delivery[1], _offset) AS first_delivery,
        argMin(toString(e.triggers.topic[1]), _offset) AS first_topic,
        argMin(e.triggers.partition[1], _offset) AS first_partition,
        argMin(e.triggers.offset[1], _offset) AS first_offset,
        argMax(toString(e.mode), _offset) AS last_mode,
        argMax(toString(e.instance), _offset) AS last_instance,
        argMax(toString(e.build), _offset) AS last_build,
        min(e.received) AS first_received,
        max(e.at) AS last_seen,
        uniqExact(attempt) AS attempts,
        groupUniqArrayArray(e.triggers.id) AS all_triggers,
        groupUniqArrayArray(e.related) AS all_related,
        groupUniqArrayArray(arrayZip(
            CAST(e.changes.object, 'Array(String)'), e.changes.id, e.changes.ref,
            CAST(e.changes.field, 'Array(String)'), CAST(e.changes.op, 'Array(String)'), e.changes.before, e.changes.after)) AS all_changes,
        uniqExactArray(arrayMap((o, i, r, f, p, b, a) -> sipHash64(o, i, r, f, p, b, a),
            e.changes.object, e.changes.id, e.changes.ref, e.changes.field, e.changes.op, e.changes.before, e.changes.after)) AS change_count,
        maxMap(map(_offset, length(e.callouts.ms))) AS message_calls,
        maxMap(map(_offset, arraySum(e.callouts.ms))) AS message_call_ms,
        maxMap(map(_offset, e.worked_ms)) AS message_worked
    FROM {{.Database}}.sync_events AS e
    GROUP BY sync_id, key
);

-- As before, with the time of the next attempt.
CREATE OR REPLACE VIEW {{.Database}}.trigger_outcomes {{.OnCluster}} AS
SELECT
    trigger_id,
    if(recovered OR last_outcome = '', plan_sync, last_sync) AS sync_id,
    if(recovered OR last_outcome = '', plan_key, last_key) AS key,
    toBool(planned AND last_outcome = 'in_sync') AS recovered,
    toLowCardinality(if(recovered, 'applied', last_outcome)) AS outcome,
    toLowCardinality(if(recovered, 'drift_repaired', last_reason)) AS reason,
    if(last_outcome = '', plan_note, last_note) AS note,
    if(last_outcome = '', plan_at, last_at) AS at,
    toLowCardinality(first_cause) AS cause,
    toLowCardinality(first_origin) AS origin,
    toLowCardinality(first_type) AS type,
    first_delivery AS delivery,
    toLowCardinality(first_topic) AS topic,
    first_partition AS partition,
    first_offset AS offset,
    first_at AS happened,
    first_received AS received,
    if(outcome IN ('', 'deferred'), NULL, greatest(0, dateDiff('millisecond', received, last_at))) AS latency_ms,
    if(outcome = 'deferred', last_next, NULL) AS next
FROM
(
    SELECT
        t_id AS trigger_id,
        countIf(phase = 'planned') > 0 AS planned,
        argMaxIf(e.sync_id, _version, phase = 'done') AS last_sync,
        argMaxIf(e.key, _version, phase = 'done') AS last_key,
        argMaxIf(toString(e.outcome), _version, phase = 'done') AS last_outcome,
        argMaxIf(toString(e.reason), _version, phase = 'done') AS last_reason,
        argMaxIf(e.note, _version, phase = 'done') AS last_note,
        argMaxIf(e.at, _version, phase = 'done') AS last_at,
        argMaxIf(tuple(e.next), _version, phase = 'done').1 AS last_next,
        argMaxIf(e.sync_id, _version, phase = 'planned') AS plan_sync,
        argMaxIf(e.key, _version, phase = 'planned') AS plan_key,
        argMaxIf(e.note, _version, phase = 'planned') AS plan_note,
        argMaxIf(e.at, _version, phase = 'planned') AS plan_at,
        argMin(toString(t_cause), _offset) AS first_cause,
        argMin(toString(t_origin), _offset) AS first_origin,
        argMin(toString(t_type), _offset) AS first_type,
        argMin(t_delivery, _offset) AS first_delivery,
        argMin(toString(t_topic), _offset) AS first_topic,
        argMin(t_partition, _offset) AS first_partition,
        argMin(t_offset, _offset) AS first_offset,
        argMin(t_at, _offset) AS first_at,
        min(t_received) AS first_received
    FROM {{.Database}}.sync_events AS e
    ARRAY JOIN
        triggers.id AS t_id, triggers.cause AS t_cause, triggers.origin AS t_origin, triggers.type AS t_type,
        triggers.delivery AS t_delivery, triggers.topic AS t_topic, triggers.partition AS t_partition,
        triggers.offset AS t_offset, triggers.at AS t_at, triggers.received AS t_received
    GROUP BY t_id
);

-- One row per run of a sweep: what its summary says, and what became of the
-- records it handed on. Outcomes are those of trigger_outcomes, computed for the
-- triggers of sweeps alone.
CREATE OR REPLACE VIEW {{.Database}}.sweep_runs {{.OnCluster}} AS
SELECT
    run,
    splitByChar('/', run)[1] AS sweep,
    min(trigger_received) AS started,
    maxIf(toNullable(last_at), is_summary AND last_outcome != '') AS ended,
    toLowCardinality(maxIf(trigger_outcome, is_summary)) AS outcome,
    toLowCardinality(maxIf(last_reason, is_summary)) AS reason,
    maxIf(last_note, is_summary) AS note,
    maxMapIf(last_stats, is_summary) AS stats,
    stats['listed'] AS listed,
    stats['equal'] AS equal,
    greatest(stats['handed_on'], toInt64(countIf(NOT is_summary))) AS handed_on,
    toInt64(countIf(NOT is_summary AND trigger_outcome = 'applied')) AS applied,
    toInt64(countIf(NOT is_summary AND trigger_outcome = 'in_sync')) AS in_sync,
    toInt64(countIf(NOT is_summary AND trigger_outcome = 'suppressed')) AS suppressed,
    toInt64(countIf(NOT is_summary AND trigger_outcome = 'skipped')) AS skipped,
    toInt64(countIf(NOT is_summary AND trigger_outcome = 'observed')) AS observed,
    toInt64(countIf(NOT is_summary AND trigger_outcome = 'deferred')) AS deferred,
    toInt64(countIf(NOT is_summary AND trigger_outcome IN ('failed', 'rejected'))) AS failed,
    handed_on - applied - in_sync - suppressed - skipped - observed - deferred - failed AS open
FROM
(
    SELECT
        t_delivery AS run,
        t_id AS trigger_id,
        max(t_type = 'summary') AS is_summary,
        min(t_received) AS trigger_received,
        argMaxIf(toString(e.outcome), _version, phase = 'done') AS last_outcome,
        if(last_outcome = 'in_sync' AND countIf(phase = 'planned') > 0, 'applied', last_outcome) AS trigger_outcome,
        argMaxIf(e.at, _version, phase = 'done') AS last_at,
        argMaxIf(toString(e.reason), _version, phase = 'done' AND t_type = 'summary') AS last_reason,
        argMaxIf(e.note, _version, phase = 'done' AND t_type = 'summary') AS last_note,
        argMaxIf(e.stats, _version, phase = 'done' AND t_type = 'summary') AS last_stats
    FROM {{.Database}}.sync_events AS e
    ARRAY JOIN triggers.id AS t_id, triggers.cause AS t_cause, triggers.type AS t_type, triggers.delivery AS t_delivery, triggers.received AS t_received
    WHERE has(triggers.cause, 'sweep') AND t_cause = 'sweep'
    GROUP BY t_delivery, t_id
)
GROUP BY run;

-- Differences that a sweep found and no event announced, by the day on which the
-- sweep handed the record on.
--
-- found: syncs that answer for a trigger of the sweep which says that the billing
-- system has changed (billing_changed), that it lists an event (event) or that
-- nothing is remembered of the record (never_seen), and that ended applied or
-- observed: there was a difference. lost: those of them for whose key no trigger
-- of another cause was received from an hour before the sweep's until ten minutes
-- after it. A record that only Limio has changed, or whose last sync did not
-- converge, or that was looked at because all are, says nothing about events.
-- repairs: all syncs of the day, whatever their cause, that ended applied or
-- observed.
CREATE OR REPLACE VIEW {{.Database}}.lost_events {{.OnCluster}} AS
SELECT
    day,
    sweep,
    found,
    lost,
    lost_never_seen,
    repairs,
    if(repairs = 0, 0, round(100 * lost / repairs, 2)) AS percent
FROM
(
    SELECT
        toDate(s.handed_on) AS day,
        s.sweep AS sweep,
        toInt64(uniqExactIf(s.sync_id, s.differs)) AS found,
        toInt64(uniqExactIf(s.sync_id, s.differs AND a.heard < s.handed_on - toIntervalHour(1))) AS lost,
        toInt64(uniqExactIf(s.sync_id, s.differs AND a.heard < s.handed_on - toIntervalHour(1) AND s.type = 'never_seen')) AS lost_never_seen
    FROM
    (
        SELECT
            splitByChar('/', t_delivery)[1] AS sweep,
            t_id AS trigger_id,
            any(toString(t_type)) AS type,
            argMax(e.key, _version) AS key,
            argMax(e.sync_id, _version) AS sync_id,
            argMaxIf(toString(e.outcome), _version, phase = 'done') AS outcome,
            type IN ('billing_changed', 'event', 'never_seen') AND (outcome IN ('applied', 'observed') OR (outcome = 'in_sync' AND countIf(phase = 'planned') > 0)) AS differs,
            min(t_received) AS handed_on,
            handed_on + toIntervalMinute(10) AS until
        FROM {{.Database}}.sync_events AS e
        ARRAY JOIN triggers.id AS t_id, triggers.cause AS t_cause, triggers.type AS t_type, triggers.delivery AS t_delivery, triggers.received AS t_received
        WHERE has(triggers.cause, 'sweep') AND t_cause = 'sweep'
        GROUP BY t_delivery, t_id
    ) AS s
    ASOF LEFT JOIN
    (
        SELECT key, t_received AS heard
        FROM {{.Database}}.sync_events
        ARRAY JOIN triggers.cause AS t_cause, triggers.received AS t_received
        WHERE t_cause != 'sweep' AND key IN
        (
            SELECT key FROM {{.Database}}.sync_events
            WHERE has(triggers.cause, 'sweep') AND hasAny(triggers.type, ['billing_changed', 'event', 'never_seen']) AND outcome IN ('applied', 'observed', 'in_sync')
        )
    ) AS a ON s.key = a.key AND s.until >= a.heard
    GROUP BY day, sweep
) AS swept
LEFT JOIN
(
    SELECT toDate(received) AS day, toInt64(countIf(outcome IN ('applied', 'observed'))) AS repairs
    FROM {{.Database}}.syncs
    GROUP BY day
) AS daily USING (day);
