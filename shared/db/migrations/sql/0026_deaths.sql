-- How many holders in a row let the lease run out without releasing it, as those do whose process ends in the middle of the work.
ALTER TABLE ledger.schedule ADD COLUMN deaths integer NOT NULL DEFAULT 0;

-- A clock that was ahead made sessions that are not due. They go as sessions do that an edit takes out of a portfolio
-- (ledger.withdraw): what was said of them stays in the history tables. Units go first, in key order.
CREATE FUNCTION ledger.withdraw_after(p_portfolios uuid[], p_last date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    WITH k AS (
        SELECT portfolio_id, session, phase FROM ledger.units
        WHERE portfolio_id = ANY (p_portfolios) AND session > p_last
        ORDER BY portfolio_id, session, phase FOR UPDATE
    )
    DELETE FROM ledger.units u USING k
    WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = k.phase;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM snapshots.snapshots WHERE portfolio_id = ANY (p_portfolios) AND session > p_last;
    DELETE FROM snapshots.holdings WHERE portfolio_id = ANY (p_portfolios) AND session > p_last;
    DELETE FROM risk.results WHERE portfolio_id = ANY (p_portfolios) AND session > p_last;
    RETURN gone;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.withdraw_after FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.withdraw_after TO leadline_coordinator;
