-- Days the exchange stays closed, or closes early, that its calendar does not know: users enter them. Whoever computes reads
-- them in the snapshot of its inputs. They change only under ledger.order_lock(), with all that depends on them.
CREATE TABLE coordinator.closures (
    day          date PRIMARY KEY,
    close_at     timestamptz,                -- an early close; null: closed all day
    reason       text NOT NULL CHECK (reason <> ''),
    entered_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Entered by mistake: the day trades. The row stays, because of `change`.
    withdrawn_at timestamptz,
    -- When the day last stopped or began again to be a session, as a number of ledger.change; null: it always was one. Facts
    -- whose window reaches over the day are older than the calendar if their number is lower.
    change       bigint
);
GRANT SELECT ON coordinator.closures TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON coordinator.closures TO leadline_coordinator;

-- A day that is no session, or is not due any more, has no units and no results. What was said stays in the history tables.
-- SECURITY DEFINER, as ledger.require: the coordinator owns the calendar, not what was computed by it. Units go first: a
-- completion in flight has committed, or finds none.
CREATE FUNCTION ledger.withdraw_session(p_day date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    WITH k AS (
        SELECT u.portfolio_id, u.phase FROM coordinator.portfolios p
        JOIN ledger.units u ON u.portfolio_id = p.id AND u.session = p_day
        ORDER BY u.portfolio_id, u.phase FOR UPDATE OF u
    )
    DELETE FROM ledger.units u USING k WHERE u.portfolio_id = k.portfolio_id AND u.session = p_day AND u.phase = k.phase;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM snapshots.snapshots r USING coordinator.portfolios p WHERE r.portfolio_id = p.id AND r.session = p_day;
    DELETE FROM snapshots.holdings r USING coordinator.portfolios p WHERE r.portfolio_id = p.id AND r.session = p_day;
    DELETE FROM risk.results r USING coordinator.portfolios p WHERE r.portfolio_id = p.id AND r.session = p_day;
    RETURN gone;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.withdraw_session FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.withdraw_session TO leadline_coordinator;

-- Returns of a session, taken again from the stored prices of the session now before it, by the rule of services/ingest/compute.py
-- (total_returns): adjusted closes where both ends have one; else the kind of return this source has had. What was believed until
-- now goes to the history.
CREATE FUNCTION ingest.take_returns(p_before date, p_session date, p_change bigint) RETURNS void
LANGUAGE sql SET search_path = ingest, pg_temp AS $$
    WITH events AS (
        SELECT symbol_id, coalesce(min(value) FILTER (WHERE type = 'split'), 1) AS split,
               coalesce(min(value) FILTER (WHERE type = 'dividend'), 0) AS dividend
        FROM ingest.actions WHERE ex_session = p_session GROUP BY symbol_id
    ), ends AS (
        SELECT n.symbol_id, n.total_return AS old, n.return_basis AS old_basis,
               coalesce(n.return_basis, b.return_basis, CASE n.basis WHEN 'file' THEN 'price_only' ELSE 'actions' END) AS kind,
               n.adj_close / b.adj_close AS adjusted,
               coalesce(e.split, 1) * n.close / b.close AS price,
               coalesce(e.split, 1) * (n.close + coalesce(e.dividend, 0)) / b.close AS whole
        FROM ingest.prices n
        LEFT JOIN ingest.prices b ON b.symbol_id = n.symbol_id AND b.session = p_before
        LEFT JOIN events e ON e.symbol_id = n.symbol_id
        WHERE n.session = p_session
    ), taken AS (
        SELECT symbol_id, old, old_basis,
               coalesce(adjusted, CASE WHEN kind = 'actions' THEN whole ELSE price END) - 1.0 AS total_return,
               CASE WHEN adjusted IS NOT NULL THEN 'adjusted'
                    WHEN kind = 'actions' AND whole IS NOT NULL THEN 'actions'
                    WHEN price IS NOT NULL THEN 'price_only' END AS return_basis
        FROM ends
    ), moved AS MATERIALIZED (
        -- Rounding is no other number: a stored split-adjusted ratio keeps its digits.
        SELECT * FROM taken
        WHERE (total_return IS NULL) <> (old IS NULL) OR return_basis IS DISTINCT FROM old_basis
           OR abs(total_return - old) > 1e-12
    ), kept AS (
        INSERT INTO ingest.prices_history
        SELECT p.*, clock_timestamp() FROM ingest.prices p JOIN moved m ON m.symbol_id = p.symbol_id
        WHERE p.session = p_session AND m.old IS NOT NULL
    )
    UPDATE ingest.prices p SET total_return = m.total_return, return_basis = m.return_basis, change = p_change
    FROM moved m WHERE p.symbol_id = m.symbol_id AND p.session = p_session
$$;
REVOKE EXECUTE ON FUNCTION ingest.take_returns FROM PUBLIC;

-- The day p_day is no session: p_after follows p_before. Its prices go to the history, from where ingest.open_day has them back;
-- its actions take effect on the next session; ranges of sessions do not end on it.
CREATE FUNCTION ingest.close_day(p_day date, p_before date, p_after date, p_change bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ingest, pg_temp AS $$
BEGIN
    WITH gone AS (DELETE FROM ingest.prices WHERE session = p_day RETURNING *)
    INSERT INTO ingest.prices_history SELECT *, clock_timestamp() FROM gone;

    -- Two of a kind that fall on one session are one, as in services/ingest/workflow/assemble.py.
    INSERT INTO ingest.actions AS a
    SELECT symbol_id, p_after, type, value, ex_date, provider, fetched_at, p_change FROM ingest.actions WHERE ex_session = p_day
    ON CONFLICT (symbol_id, ex_session, type) DO UPDATE
    SET value = CASE a.type WHEN 'split' THEN a.value * excluded.value ELSE a.value + excluded.value END, change = p_change;
    DELETE FROM ingest.actions WHERE ex_session = p_day;

    DELETE FROM ingest.gaps WHERE first = p_day AND last = p_day;
    UPDATE ingest.gaps SET first = p_after WHERE first = p_day;
    UPDATE ingest.gaps SET last = p_before WHERE last = p_day;
    UPDATE ingest.symbols SET covered_from = NULL, covered_to = NULL WHERE covered_from = p_day AND covered_to = p_day;
    UPDATE ingest.symbols SET covered_from = p_after WHERE covered_from = p_day;
    UPDATE ingest.symbols SET covered_to = p_before WHERE covered_to = p_day;

    PERFORM ingest.take_returns(p_before, p_after, p_change);
END
$$;
REVOKE EXECUTE ON FUNCTION ingest.close_day FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ingest.close_day TO leadline_coordinator;

-- The day p_day, between p_before and p_after, is a session after all. What was stored for it is believed again; of what never
-- was, it is said that it must be asked for.
CREATE FUNCTION ingest.open_day(p_day date, p_before date, p_after date, p_change bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ingest, pg_temp AS $$
BEGIN
    INSERT INTO ingest.prices
    SELECT DISTINCT ON (symbol_id) symbol_id, session, open, high, low, close, adj_close, volume, total_return, return_basis,
           basis, provider, fetched_at, p_change
    FROM ingest.prices_history h
    WHERE session = p_day
      AND NOT EXISTS (SELECT 1 FROM ingest.gaps g WHERE g.symbol_id = h.symbol_id AND p_day BETWEEN g.first AND g.last)
      -- Nor what another security's prices were, before the user said which one is meant (0004).
      AND NOT EXISTS (SELECT 1 FROM ingest.symbols s WHERE s.id = h.symbol_id AND s.replaced > h.change)
    ORDER BY symbol_id, known_until DESC
    ON CONFLICT (symbol_id, session) DO NOTHING;

    -- Two of a kind that were made one are two again, as the history has them.
    WITH apart AS MATERIALIZED (
        SELECT a.symbol_id, a.type, h.value AS here, h.ex_date AS here_on, h.provider, h.fetched_at,
               g.value AS there, g.ex_date AS there_on
        FROM ingest.actions a
        CROSS JOIN LATERAL (
            SELECT * FROM ingest.actions_history x
            WHERE x.symbol_id = a.symbol_id AND x.type = a.type AND x.ex_session = p_day ORDER BY x.known_until DESC LIMIT 1) h
        CROSS JOIN LATERAL (
            SELECT * FROM ingest.actions_history x
            WHERE x.symbol_id = a.symbol_id AND x.type = a.type AND x.ex_session = p_after ORDER BY x.known_until DESC LIMIT 1) g
        WHERE a.ex_session = p_after AND a.value = CASE a.type WHEN 'split' THEN g.value * h.value ELSE g.value + h.value END
    ), added AS (
        INSERT INTO ingest.actions
        SELECT symbol_id, p_day, type, here, here_on, provider, fetched_at, p_change FROM apart
    )
    UPDATE ingest.actions a SET value = p.there, ex_date = p.there_on, change = p_change
    FROM apart p WHERE a.symbol_id = p.symbol_id AND a.type = p.type AND a.ex_session = p_after;
    UPDATE ingest.actions SET ex_session = p_day, change = p_change
    WHERE ex_session = p_after AND ex_date > p_before AND ex_date <= p_day;

    INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at, retry_at)
    SELECT s.id, p_day, p_day, 'no_trade', false, 'calendar', clock_timestamp(), clock_timestamp()
    FROM ingest.symbols s
    WHERE p_day BETWEEN s.covered_from AND s.covered_to
      AND NOT EXISTS (SELECT 1 FROM ingest.prices p WHERE p.symbol_id = s.id AND p.session = p_day)
      AND NOT EXISTS (SELECT 1 FROM ingest.gaps g WHERE g.symbol_id = s.id AND p_day BETWEEN g.first AND g.last);

    PERFORM ingest.take_returns(p_before, p_day, p_change);
    PERFORM ingest.take_returns(p_day, p_after, p_change);
END
$$;
REVOKE EXECUTE ON FUNCTION ingest.open_day FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ingest.open_day TO leadline_coordinator;
