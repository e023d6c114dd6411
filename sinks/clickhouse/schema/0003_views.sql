-- The views. Each is right whatever the engine has merged so far and however
-- often a message was produced or loaded: an aggregate is either of the kind
-- that a repeated row cannot change (argMax, min, max, uniq) or is taken over
-- distinct messages.

-- One row per sync. The event that decides is, of its done events, one that
-- applied something before one that did not, a final one before a deferred one,
-- then that of the last attempt: the one with the highest _version. A sync that
-- planned changes and then found nothing left to do has applied them: it was cut
-- off between the two.
--
-- Each column is an aggregate of its own, so that a question costs only the
-- columns that it asks for.
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
    toLowCardinality(last_build) AS build
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
        argMin(toString(e.cause), _offset) AS first_cause,
        argMin(toString(e.origin), _offset) AS first_origin,
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

-- Exactly one row per trigger (Invariant 4): how it ended, by the same rules
-- over all syncs that answer for it. The outcome of a trigger in flight is ''.
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
    if(outcome IN ('', 'deferred'), NULL, greatest(0, dateDiff('millisecond', received, last_at))) AS latency_ms
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

-- One row per changed field of a sync. Of an applied sync these were written;
-- of an observed or suppressed one they differ and were left.
CREATE OR REPLACE VIEW {{.Database}}.sync_changes {{.OnCluster}} AS
SELECT
    sync_id, key, outcome, reason, recovered, cause, origin, received, at,
    c.object AS object, c.id AS object_id, c.ref AS ref, c.field AS field, c.op AS op, c.before AS before, c.after AS after
FROM {{.Database}}.syncs
ARRAY JOIN changes AS c;

-- Syncs by the day of their first trigger.
CREATE OR REPLACE VIEW {{.Database}}.sync_daily {{.OnCluster}} AS
SELECT
    toDate(received) AS day,
    key_system,
    cause,
    outcome,
    reason,
    count() AS syncs,
    countIf(recovered) AS recovered_syncs,
    sum(length(trigger_ids)) AS triggers,
    sum(change_count) AS changes,
    sum(callouts) AS calls,
    quantileExact(0.5)(latency_ms) AS latency_p50_ms,
    quantileExact(0.95)(latency_ms) AS latency_p95_ms,
    quantileExact(0.99)(latency_ms) AS latency_p99_ms
FROM {{.Database}}.syncs
GROUP BY day, key_system, cause, outcome, reason;

-- Which fields of Limio differed from the billing system, by day.
CREATE OR REPLACE VIEW {{.Database}}.drift_by_field {{.OnCluster}} AS
SELECT
    toDate(received) AS day,
    object,
    field,
    op,
    outcome,
    cause,
    count() AS changes,
    uniqExact(key) AS keys,
    max(at) AS last_at
FROM {{.Database}}.sync_changes
GROUP BY day, object, field, op, outcome, cause;

-- Calls to the vendors, by hour. Every call that was made counts, those of
-- repeated work too.
CREATE OR REPLACE VIEW {{.Database}}.api_usage {{.OnCluster}} AS
SELECT
    toStartOfHour(c_at) AS hour,
    c_service AS service,
    c_method AS method,
    c_route AS route,
    count() AS calls,
    countIf(c_status = 0 OR c_status >= 400) AS errors,
    countIf(c_status = 429) AS rate_limited,
    countIf(c_status = 0) AS unanswered,
    sum(c_ms) AS total_ms,
    quantileExact(0.5)(c_ms) AS p50_ms,
    quantileExact(0.95)(c_ms) AS p95_ms,
    max(c_ms) AS max_ms
FROM
(
    SELECT callouts.at, callouts.service, callouts.method, callouts.route, callouts.status, callouts.ms
    FROM {{.Database}}.sync_events
    WHERE notEmpty(callouts.ms)
    LIMIT 1 BY _topic, _partition, _offset
)
ARRAY JOIN
    callouts.at AS c_at, callouts.service AS c_service, callouts.method AS c_method, callouts.route AS c_route,
    callouts.status AS c_status, callouts.ms AS c_ms
GROUP BY hour, service, method, route;
