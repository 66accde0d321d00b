-- Of which revision the figures of a row were thinned out: none by default. The row stays, with what later sessions and ranges are made
-- of, and its revision, so the ledger lacks nothing. One of a higher revision is whole again, whoever writes it.
ALTER TABLE risk.results ADD COLUMN thinned_revision bigint;

-- The columns of a history are those of its table, in order, and `replaced_at` last.
ALTER TABLE risk.results_history ADD COLUMN thinned_revision bigint, ADD COLUMN moved timestamptz;
UPDATE risk.results_history SET moved = replaced_at;
ALTER TABLE risk.results_history DROP COLUMN replaced_at;
ALTER TABLE risk.results_history RENAME COLUMN moved TO replaced_at;
ALTER TABLE risk.results_history ALTER COLUMN replaced_at SET NOT NULL;
CREATE INDEX results_history_replaced ON risk.results_history USING brin (replaced_at);

-- What is thinned already is told from what may be without a look at the rows. Empty, and free, where nothing is thinned.
CREATE INDEX results_thinned ON risk.results (portfolio_id, session) WHERE thinned_revision = revision;

-- A row without its figures is nothing that was said before.
DROP TRIGGER keep_history ON risk.results;
CREATE TRIGGER keep_history AFTER UPDATE OR DELETE ON risk.results
    FOR EACH ROW WHEN (OLD.thinned_revision IS DISTINCT FROM OLD.revision) EXECUTE FUNCTION ledger.keep_history('results_history');

-- Risk of sessions before p_before, but of each portfolio's first and last session and the last of each month. SECURITY DEFINER: the
-- coordinator decides for how long, and owns none of it. What is required anew or may yet get a price is left alone, and so is what was
-- computed within a week, as the session that somebody asked for again. A row that somebody else works on is left for the next time.
CREATE FUNCTION ledger.thin_results(p_portfolios uuid[], p_before date, p_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
DECLARE
    thinned bigint;
BEGIN
    IF p_before > (clock_timestamp() - interval '60 days')::date THEN
        RAISE EXCEPTION 'risk of every session is kept for sixty days at least';
    END IF;
    WITH listed AS MATERIALIZED (
        SELECT portfolio_id, session, lag(session) OVER own AS earlier, lead(session) OVER own AS later
        FROM risk.results WHERE portfolio_id = ANY (p_portfolios) WINDOW own AS (PARTITION BY portfolio_id ORDER BY session)
    ), between_kept AS (
        SELECT portfolio_id, session FROM listed
        WHERE session < p_before AND earlier IS NOT NULL AND date_trunc('month', later) = date_trunc('month', session)
        EXCEPT
        SELECT portfolio_id, session FROM risk.results WHERE portfolio_id = ANY (p_portfolios) AND thinned_revision = revision
    ), due AS (
        SELECT r.portfolio_id, r.session FROM between_kept
        JOIN risk.results r USING (portfolio_id, session)
        JOIN ledger.units u ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'risk'
        WHERE u.completed_revision >= u.required_revision AND u.completed_revision = r.revision
          AND NOT r.provisional AND cardinality(r.symbols) > 0 AND r.exposures IS NOT NULL
          AND r.computed_at < clock_timestamp() - interval '7 days'
        ORDER BY r.portfolio_id, r.session LIMIT p_most
        FOR UPDATE OF r SKIP LOCKED
    )
    UPDATE risk.results r SET
        thinned_revision = r.revision, risk = '{}', symbols = NULL, weights = NULL, exposure_values = NULL, betas = NULL,
        beta_reasons = NULL, greeks = NULL, realized_252 = NULL, forecast_21 = NULL, har = NULL, series_reasons = NULL,
        excluded = NULL, contributions = NULL, contribution_shares = NULL, model_factors = NULL, factor_shares = NULL,
        factor_correlations = NULL, correlations = NULL, correlation_n_obs = NULL, clusters = NULL, shrinkage = NULL,
        mean_correlation = NULL, stress_reasons = NULL, stress_shocks = NULL, stress_capped = NULL, stress_direct = NULL,
        stress_propagated = NULL, uncovered_value = NULL, tilts = NULL, duration_as_of = NULL, tail_parts = NULL, nav = NULL,
        shocks_id = NULL
    FROM due WHERE r.portfolio_id = due.portfolio_id AND r.session = due.session;
    GET DIAGNOSTICS thinned = ROW_COUNT;
    RETURN thinned;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.thin_results FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.thin_results TO leadline_coordinator;
