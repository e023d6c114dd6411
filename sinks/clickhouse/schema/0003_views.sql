-- The views. Each is right whatever the engine has merged so far and however
-- often a message was produced or loaded: an aggregate is either of the kind
-- that a repeated row cannot change (argMax, min, max, uniq) or is taken over
-- distinct messages.

-- One row per sync. The event that decides is, of its done events, one that
-- applied something before one that did not, a final one before a deferred one,
-- then that of the last attempt. A sync that planned changes and then found
-- nothing left to do has applied them: it was cut off between the two.
CREATE OR REPLACE VIEW {{.Database}}.syncs {{.OnCluster}} AS
SELECT
    sync_id,
    key,
    splitByChar(':', key)[1] AS key_system,
    splitByChar(':', key)[2] AS key_kind,
    substring(key, length(key_system) + length(key_kind) + 3) AS key_id,
    toBool(planned AND last.outcome = 'in_sync') AS recovered,
    toLowCardinality(if(recovered, 'applied', last.outcome)) AS outcome,
    toLowCardinality(if(recovered, 'drift_repaired', last.reason)) AS reason,
    last.note AS note,
    toLowCardinality(cause_first) AS cause,
    toLowCardinality(if(last.outcome = '', origin_first, last.origin)) AS origin,
    toLowCardinality(mode_last) AS mode,
    received_first AS received,
    at_last AS at,
    if(outcome IN ('', 'deferred'), NULL, greatest(0, dateDiff('millisecond', received_first, last.at))) AS latency_ms,
    attempts_seen AS attempts,
    if(outcome = 'deferred', last.next, NULL) AS next,
    triggers_seen AS trigger_ids,
    related_seen AS related,
    arrayMap(c -> CAST((c.1, c.2, c.3, c.4, c.5,
        multiIf(c.6 = 'null', '', startsWith(c.6, '"'), JSONExtractString(c.6), c.6),
        multiIf(c.7 = 'null', '', startsWith(c.7, '"'), JSONExtractString(c.7), c.7)),
        'Tuple(object String, id String, ref String, field String, op String, before String, after String)'), changes_seen) AS changes,
    length(changes_seen) AS change_count,
    arraySum(c -> c.3, calls) AS callouts,
    arraySum(c -> c.4, calls) AS callout_ms,
    last.waited_ms AS waited_ms,
    arraySum(c -> c.5, calls) AS worked_ms,
    toLowCardinality(last.error_class) AS error_class,
    last.error AS error,
    toLowCardinality(instance_last) AS instance,
    toLowCardinality(build_last) AS build
FROM
(
    SELECT
        sync_id,
        key,
        countIf(phase = 'planned') > 0 AS planned,
        argMaxIf(CAST((toString(outcome), toString(reason), note, toString(origin), e.at, e.next, waited_ms, toString(error_class), error),
            'Tuple(outcome String, reason String, note String, origin String, at DateTime64(3, \'UTC\'), next Nullable(DateTime64(3, \'UTC\')), waited_ms Int64, error_class String, error String)'),
            (outcome = 'applied', outcome != 'deferred', attempt, _version), phase = 'done') AS last,
        argMin(toString(e.cause), _version) AS cause_first,
        argMin(toString(e.origin), _version) AS origin_first,
        argMax(toString(e.mode), _version) AS mode_last,
        argMax(toString(e.instance), _version) AS instance_last,
        argMax(toString(e.build), _version) AS build_last,
        min(e.received) AS received_first,
        max(e.at) AS at_last,
        uniqExact(attempt) AS attempts_seen,
        arraySort(groupUniqArrayArray(e.triggers.id)) AS triggers_seen,
        arraySort(groupUniqArrayArray(e.related)) AS related_seen,
        arraySort(groupUniqArrayArray(arrayZip(
            CAST(changes.object, 'Array(String)'), changes.id, changes.ref,
            CAST(changes.field, 'Array(String)'), CAST(changes.op, 'Array(String)'), changes.before, changes.after))) AS changes_seen,
        groupUniqArray((_partition, _offset, length(callouts.ms), arraySum(callouts.ms), worked_ms)) AS calls
    FROM {{.Database}}.sync_events AS e
    GROUP BY sync_id, key
);

-- Exactly one row per trigger (Invariant 4): how it ended, by the same rules
-- over all syncs that answer for it. The outcome of a trigger in flight is ''.
CREATE OR REPLACE VIEW {{.Database}}.trigger_outcomes {{.OnCluster}} AS
SELECT
    trigger_id,
    if(recovered OR last.outcome = '', plan.sync_id, last.sync_id) AS sync_id,
    if(recovered OR last.outcome = '', plan.key, last.key) AS key,
    toBool(plan.sync_id != '' AND last.outcome = 'in_sync') AS recovered,
    toLowCardinality(if(recovered, 'applied', last.outcome)) AS outcome,
    toLowCardinality(if(recovered, 'drift_repaired', last.reason)) AS reason,
    if(last.outcome = '', plan.note, last.note) AS note,
    if(last.outcome = '', plan.at, last.at) AS at,
    toLowCardinality(source.cause) AS cause,
    toLowCardinality(source.origin) AS origin,
    toLowCardinality(source.type) AS type,
    source.delivery AS delivery,
    toLowCardinality(source.topic) AS topic,
    source.partition AS partition,
    source.offset AS offset,
    source.at AS happened,
    received_first AS received,
    if(outcome IN ('', 'deferred'), NULL, greatest(0, dateDiff('millisecond', received_first, last.at))) AS latency_ms
FROM
(
    SELECT
        t_id AS trigger_id,
        argMaxIf(CAST((sync_id, key, toString(outcome), toString(reason), note, e.at),
            'Tuple(sync_id String, key String, outcome String, reason String, note String, at DateTime64(3, \'UTC\'))'),
            (outcome = 'applied', outcome != 'deferred', attempt, _version), phase = 'done') AS last,
        argMaxIf(CAST((sync_id, key, note, e.at),
            'Tuple(sync_id String, key String, note String, at DateTime64(3, \'UTC\'))'), _version, phase = 'planned') AS plan,
        argMin(CAST((toString(t_cause), toString(t_origin), toString(t_type), t_delivery, toString(t_topic), t_partition, t_offset, t_at),
            'Tuple(cause String, origin String, type String, delivery String, topic String, partition Int32, offset Int64, at DateTime64(3, \'UTC\'))'),
            _version) AS source,
        min(t_received) AS received_first
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
