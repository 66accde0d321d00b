-- Sessions that an edit takes out of a portfolio have no units and no results. What was said stays in the history tables.
-- SECURITY DEFINER, as ledger.withdraw_session: the coordinator decides what a portfolio's sessions are, and no result may
-- outlive its unit. Units go first: a completion in flight has committed, or finds none. p_before null: all sessions.
CREATE FUNCTION ledger.withdraw(p_portfolio uuid, p_before date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    last date := coalesce(p_before, 'infinity');
    gone bigint;
BEGIN
    WITH k AS (
        SELECT session, phase FROM ledger.units WHERE portfolio_id = p_portfolio AND session < last
        ORDER BY session, phase FOR UPDATE
    )
    DELETE FROM ledger.units u USING k WHERE u.portfolio_id = p_portfolio AND u.session = k.session AND u.phase = k.phase;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM snapshots.snapshots WHERE portfolio_id = p_portfolio AND session < last;
    DELETE FROM snapshots.holdings WHERE portfolio_id = p_portfolio AND session < last;
    DELETE FROM risk.results WHERE portfolio_id = p_portfolio AND session < last;
    RETURN gone;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.withdraw FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.withdraw TO leadline_coordinator;
