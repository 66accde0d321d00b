-- What deserves a remark about a return: that the adjusted closes contradict the listed actions, that they move as if a dividend
-- had been paid that is not listed, or that a listed payment was left out because it is in another currency.
-- The histories are filled by the order of columns: known_until stays their last.
ALTER TABLE ingest.prices ADD COLUMN return_remark text CONSTRAINT prices_return_remark_check CHECK (
    return_remark IN ('adj_close_disagrees', 'dividend_not_listed', 'dividend_in_foreign_currency'));
ALTER TABLE ingest.prices_history RENAME COLUMN known_until TO replaced_at;
ALTER TABLE ingest.prices_history ADD COLUMN return_remark text, ADD COLUMN known_until timestamptz;
UPDATE ingest.prices_history SET known_until = replaced_at;
ALTER TABLE ingest.prices_history
    DROP COLUMN replaced_at,
    ALTER COLUMN known_until SET DEFAULT ingest.instant(), ALTER COLUMN known_until SET NOT NULL;

-- The rule of services/ingest/compute.py (total_returns) on stored prices of a session and the one before it: on a session with a
-- listed action closes and actions; else adjusted closes where both ends have one; else closes.
CREATE FUNCTION ingest.taken_return(
    lists_actions boolean, remark text, adjusted double precision, price double precision, whole double precision,
    acted boolean, OUT total_return double precision, OUT return_basis text, OUT return_remark text
) LANGUAGE sql IMMUTABLE SET search_path = ingest, pg_temp AS $$
    SELECT CASE b.basis WHEN 'actions' THEN whole WHEN 'adjusted' THEN adjusted WHEN 'price_only' THEN price END - 1.0,
           b.basis,
           CASE WHEN b.basis IS NULL THEN NULL
                WHEN remark = 'dividend_in_foreign_currency' THEN remark
                WHEN b.basis = 'actions' AND acted AND abs(adjusted - whole) > 0.0020 THEN 'adj_close_disagrees'
                WHEN b.basis = 'adjusted' AND lists_actions AND NOT acted AND adjusted - price > 0.0020 THEN 'dividend_not_listed' END
    FROM (SELECT CASE WHEN acted AND lists_actions AND remark IS DISTINCT FROM 'dividend_in_foreign_currency' AND whole IS NOT NULL
                          THEN 'actions'
                      WHEN adjusted IS NOT NULL THEN 'adjusted'
                      WHEN lists_actions AND whole IS NOT NULL THEN 'actions'
                      WHEN price IS NOT NULL THEN 'price_only' END) AS b (basis)
$$;
REVOKE EXECUTE ON FUNCTION ingest.taken_return FROM PUBLIC;

CREATE OR REPLACE FUNCTION ingest.take_returns(p_before date, p_session date, p_change bigint) RETURNS void
LANGUAGE sql SET search_path = ingest, pg_temp AS $$
    WITH events AS (
        SELECT symbol_id, coalesce(min(value) FILTER (WHERE type = 'split'), 1) AS split,
               coalesce(min(value) FILTER (WHERE type = 'dividend'), 0) AS dividend
        FROM ingest.actions WHERE ex_session = p_session GROUP BY symbol_id
    ), taken AS (
        SELECT n.symbol_id, n.total_return AS old, n.return_basis AS old_basis, n.return_remark AS old_remark, t.*
        FROM ingest.prices n
        LEFT JOIN ingest.prices b ON b.symbol_id = n.symbol_id AND b.session = p_before
        LEFT JOIN events e ON e.symbol_id = n.symbol_id
        CROSS JOIN LATERAL ingest.taken_return(
            n.basis = 'as_traded', n.return_remark, n.adj_close / b.adj_close, coalesce(e.split, 1) * n.close / b.close,
            coalesce(e.split, 1) * (n.close + coalesce(e.dividend, 0)) / b.close, e.symbol_id IS NOT NULL) t
        WHERE n.session = p_session
    ), moved AS MATERIALIZED (
        -- Rounding is no other number: a stored split-adjusted ratio keeps its digits.
        SELECT * FROM taken
        WHERE (total_return IS NULL) <> (old IS NULL) OR return_basis IS DISTINCT FROM old_basis
           OR return_remark IS DISTINCT FROM old_remark OR abs(total_return - old) > 1e-12
    )
    UPDATE ingest.prices p
    SET total_return = m.total_return, return_basis = m.return_basis, return_remark = m.return_remark, change = p_change
    FROM moved m WHERE p.symbol_id = m.symbol_id AND p.session = p_session
$$;

-- Returns stored under the rule before, which took adjusted closes wherever there were any, taken again: of symbols with adjusted
-- closes whose source lists actions. A stored return is over the session before, so that is the priced one before it. Facts and
-- figures follow with the new model version.
SELECT ledger.order_lock();
WITH ends AS (
    SELECT symbol_id, session, total_return, return_basis, basis, close, adj_close,
           lag(close) OVER before AS close_before, lag(adj_close) OVER before AS adj_close_before
    FROM ingest.prices WINDOW before AS (PARTITION BY symbol_id ORDER BY session)
), events AS (
    SELECT symbol_id, ex_session, coalesce(min(value) FILTER (WHERE type = 'split'), 1) AS split,
           coalesce(min(value) FILTER (WHERE type = 'dividend'), 0) AS dividend
    FROM ingest.actions GROUP BY symbol_id, ex_session
), taken AS (
    SELECT n.symbol_id, n.session, n.total_return AS old, n.return_basis AS old_basis, t.*
    FROM ends n
    LEFT JOIN events e ON e.symbol_id = n.symbol_id AND e.ex_session = n.session
    CROSS JOIN LATERAL ingest.taken_return(
        true, NULL, n.adj_close / n.adj_close_before, coalesce(e.split, 1) * n.close / n.close_before,
        coalesce(e.split, 1) * (n.close + coalesce(e.dividend, 0)) / n.close_before, e.symbol_id IS NOT NULL) t
    WHERE n.basis = 'as_traded' AND n.total_return IS NOT NULL AND n.return_basis IN ('adjusted', 'price_only')
      AND n.close IS NOT NULL AND n.close_before IS NOT NULL
), moved AS MATERIALIZED (
    SELECT * FROM taken
    WHERE total_return IS NOT NULL
      AND (return_basis IS DISTINCT FROM old_basis OR return_remark IS NOT NULL OR abs(total_return - old) > 1e-12)
), number AS MATERIALIZED (SELECT nextval('ledger.change') AS change WHERE EXISTS (SELECT 1 FROM moved))
UPDATE ingest.prices p
SET total_return = m.total_return, return_basis = m.return_basis, return_remark = m.return_remark, change = number.change
FROM moved m, number WHERE p.symbol_id = m.symbol_id AND p.session = m.session;
