-- A unit is completed in spite of prices that are still waited for, once patience has run out: it says so until they are there.
ALTER TABLE ledger.units ADD COLUMN provisional boolean NOT NULL DEFAULT false;
CREATE INDEX units_provisional ON ledger.units (portfolio_id, phase, session) WHERE provisional;
GRANT UPDATE (provisional) ON ledger.units TO leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;

-- While a portfolio waits for prices, those that arrive are taken up together: until when the event about them is held back. It is
-- set by the first arrival and cleared when work of the phase is done, so later arrivals do not push it on.
ALTER TABLE ledger.schedule ADD COLUMN withheld_until timestamptz;

-- SECURITY DEFINER, as ledger.require: ingest raises what its prices go into, and says when it is looked at.
CREATE FUNCTION ledger.withhold(p_portfolio uuid[], p_until timestamptz[], p_phase ledger.phase[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
    WITH k AS (
        SELECT s.portfolio_id, s.phase, least(w.until, now() + interval '15 minutes') AS until
        FROM unnest(p_portfolio, p_until) AS w (portfolio_id, until)
        JOIN ledger.schedule s ON s.portfolio_id = w.portfolio_id AND s.phase = ANY (p_phase)
        ORDER BY s.portfolio_id, s.phase FOR NO KEY UPDATE OF s
    )
    UPDATE ledger.schedule s
    SET withheld_until = coalesce(s.withheld_until, k.until), next_at = coalesce(s.withheld_until, k.until)
    FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
$$;
REVOKE EXECUTE ON FUNCTION ledger.withhold FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.withhold TO leadline_ingest;

CREATE FUNCTION ledger.release_withheld(p_portfolio uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
    WITH k AS (
        SELECT s.portfolio_id, s.phase FROM ledger.schedule s
        WHERE s.portfolio_id = ANY (p_portfolio) AND s.withheld_until IS NOT NULL
        ORDER BY s.portfolio_id, s.phase FOR NO KEY UPDATE
    )
    UPDATE ledger.schedule s SET withheld_until = NULL, next_at = now()
    FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
$$;
REVOKE EXECUTE ON FUNCTION ledger.release_withheld FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.release_withheld TO leadline_ingest;

-- A session's bars are not there before the provider publishes them.
ALTER TABLE ingest.gaps DROP CONSTRAINT gaps_reason_check;
ALTER TABLE ingest.gaps ADD CONSTRAINT gaps_reason_check CHECK (
    reason IN ('rate_limited', 'provider_down', 'late', 'quarantined', 'not_found', 'ambiguous', 'delisted', 'not_yet_listed',
               'no_trade', 'foreign_currency', 'plan_limit'));
CREATE INDEX gaps_waiting ON ingest.gaps (symbol_id) WHERE NOT terminal;
