-- ledger: what must be done and what has been, side by side, one row a unit.

CREATE TYPE ledger.phase AS ENUM ('ingest', 'factors', 'snapshots', 'risk');

-- Revisions and price versions are drawn from one sequence, always under ledger.order_lock(), so they commit in order.
CREATE SEQUENCE ledger.change AS bigint;

CREATE TABLE ledger.units (
    portfolio_id       uuid NOT NULL,
    session            date NOT NULL,
    phase              ledger.phase NOT NULL,
    required_revision  bigint NOT NULL CHECK (required_revision > 0),
    completed_revision bigint NOT NULL DEFAULT 0 CHECK (completed_revision >= 0),
    quality            text CHECK (quality IN ('complete', 'partial')),
    coverage           double precision CHECK (coverage BETWEEN 0 AND 1),
    reasons            jsonb NOT NULL DEFAULT '[]',
    blocked_reason     text,
    completed_at       timestamptz,
    -- Since when it is missing, or was last: how old is the oldest hole, how long did healing take.
    required_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (portfolio_id, session, phase)
) WITH (fillfactor = 85);
-- The missing set: scheduler, health metric and proof of completeness. It costs nothing when nothing is missing.
CREATE INDEX units_missing ON ledger.units (portfolio_id, phase, session)
    WHERE completed_revision < required_revision AND blocked_reason IS NULL;
CREATE INDEX units_blocked ON ledger.units (portfolio_id, phase, session) WHERE blocked_reason IS NOT NULL;
CREATE INDEX units_partial ON ledger.units (portfolio_id, phase, session) WHERE quality = 'partial';

-- When to try, who is trying. Apart from the units, so that finding what is ready never reads what is not.
CREATE TABLE ledger.schedule (
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    lease_owner  text,
    lease_until  timestamptz,
    fence        bigint NOT NULL DEFAULT 0,
    emits        integer NOT NULL DEFAULT 0,
    runs         integer NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT now() + interval '30 seconds',
    wanted       bigint NOT NULL DEFAULT 0,
    last_error   text,
    -- The event that last asked for this portfolio, until somebody answers: what is outstanding is counted by it.
    asked        uuid,
    -- When blocked units are tried once more; null while none is blocked.
    probe_at     timestamptz,
    PRIMARY KEY (portfolio_id, phase),
    CONSTRAINT lease_is_whole CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX schedule_next ON ledger.schedule (phase, next_at);

-- The one lock of all transactions that change inputs, write prices or add units: their first statement.
CREATE FUNCTION ledger.order_lock() RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock(7305101, 1) $$;

-- Raise what is required. One row of the arguments is a rectangle side: (portfolio, from, to, phase).
-- Closed downstream: the dependent phases of the same sessions, and for snapshots every later session (and their risk).
-- SECURITY DEFINER, so a service that owns an input may raise what depends on it without owning the ledger.
CREATE FUNCTION ledger.require(
    p_portfolio uuid[], p_from date[], p_to date[], p_phase ledger.phase[], p_revision bigint
) RETURNS TABLE (portfolio_id uuid, session date, phase ledger.phase)
LANGUAGE sql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
    WITH asked AS (
        SELECT * FROM unnest(p_portfolio, p_from, p_to, p_phase) AS a (portfolio_id, first, last, phase)
    ), closed AS (
        -- Of ranges that end together the longest holds the others: all the open ones of a portfolio become one.
        SELECT a.portfolio_id, c.phase, min(a.first) AS first, c.last
        FROM asked a
        CROSS JOIN LATERAL (VALUES
            ('ingest'::ledger.phase,    a.last,              a.phase = 'ingest'),
            ('factors'::ledger.phase,   a.last,              a.phase IN ('ingest', 'factors')),
            ('snapshots'::ledger.phase, 'infinity'::date,    a.phase IN ('ingest', 'snapshots')),
            ('risk'::ledger.phase,      CASE WHEN a.phase IN ('ingest', 'snapshots') THEN 'infinity'::date ELSE a.last END, true)
        ) AS c (phase, last, applies)
        WHERE c.applies
        GROUP BY a.portfolio_id, c.phase, c.last
    ), raised AS (
        UPDATE ledger.units u
        SET required_revision = p_revision, blocked_reason = NULL,
            required_at = CASE WHEN u.completed_revision >= u.required_revision THEN now() ELSE u.required_at END
        -- Locked in key order, as completions lock theirs, so that a raise and a completion never deadlock.
        -- Ranges may overlap: a row found twice is updated once.
        FROM (SELECT u2.portfolio_id, u2.session, u2.phase
              FROM closed c
              JOIN ledger.units u2 ON u2.portfolio_id = c.portfolio_id AND u2.phase = c.phase
                                  AND u2.session BETWEEN c.first AND c.last
              WHERE u2.required_revision < p_revision
              ORDER BY u2.portfolio_id, u2.session, u2.phase
              FOR NO KEY UPDATE OF u2) k
        WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = k.phase
          AND u.required_revision < p_revision
        RETURNING u.portfolio_id, u.session, u.phase
    ), rescheduled AS (
        UPDATE ledger.schedule s
        SET next_at = now() + interval '30 seconds', emits = 0, runs = 0, last_error = NULL, asked = NULL
        FROM (SELECT s2.portfolio_id, s2.phase FROM ledger.schedule s2
              JOIN (SELECT DISTINCT r.portfolio_id, r.phase FROM raised r) d
                  ON d.portfolio_id = s2.portfolio_id AND d.phase = s2.phase
              ORDER BY s2.portfolio_id, s2.phase
              FOR NO KEY UPDATE OF s2) k
        WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
    )
    SELECT r.portfolio_id, r.session, r.phase FROM raised r
$$;
REVOKE EXECUTE ON FUNCTION ledger.require FROM PUBLIC;

-- What a strictly higher revision replaces or deletes stays readable: "what did we say then?".
-- The history table has the columns of its table, in order, and `replaced_at` last.
CREATE FUNCTION ledger.keep_history() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.revision > OLD.revision THEN
        EXECUTE format('INSERT INTO %I.%I SELECT ($1).*, clock_timestamp()', TG_TABLE_SCHEMA, TG_ARGV[0]) USING OLD;
    END IF;
    RETURN NULL;
END
$$;
