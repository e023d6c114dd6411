-- Differences that a sweep mended and no event announced, by the day on which the
-- sweep handed the record on.
--
-- As before, but counted when they are mended: a difference that is only observed,
-- by a plan or in the mode observe, is found again every time and would be counted
-- as often.
--
-- found: syncs that answer for a trigger of the sweep which says that the billing
-- system has changed (billing_changed), that it lists an event (event) or that
-- nothing is remembered of the record (never_seen), and that ended applied. lost:
-- those of them for whose key no trigger of another cause was received from an
-- hour before the sweep's until ten minutes after it. A record that only Limio has
-- changed, or whose last sync did not converge, or that was looked at because all
-- are, says nothing about events. repairs: all syncs of the day, whatever their
-- cause, that ended applied.
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
            type IN ('billing_changed', 'event', 'never_seen') AND (outcome = 'applied' OR (outcome = 'in_sync' AND countIf(phase = 'planned') > 0)) AS differs,
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
            WHERE has(triggers.cause, 'sweep') AND hasAny(triggers.type, ['billing_changed', 'event', 'never_seen']) AND outcome IN ('applied', 'in_sync')
        )
    ) AS a ON s.key = a.key AND s.until >= a.heard
    GROUP BY day, sweep
) AS swept
LEFT JOIN
(
    SELECT toDate(received) AS day, toInt64(countIf(outcome = 'applied')) AS repairs
    FROM {{.Database}}.syncs
    GROUP BY day
) AS daily USING (day);
