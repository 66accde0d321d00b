-- What units lack is kept of partial ones. A unit that is not partial, and was not before, changes nothing of it: neither one that falls
-- due nor one that is completed whole, which nearly all are.
CREATE OR REPLACE FUNCTION ledger.note_unit_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
BEGIN
    WITH noted AS (
        SELECT portfolio_id, phase, min(session) AS first, max(session) AS last FROM changed GROUP BY portfolio_id, phase
    ), of_runs AS (
        INSERT INTO ledger.unit_changes (portfolio_id, phase, first, last) SELECT portfolio_id, phase, first, last FROM noted
    )
    INSERT INTO ledger.portfolio_changes (portfolio_id) SELECT DISTINCT portfolio_id FROM noted;
    INSERT INTO ledger.shortfall_changes (portfolio_id, phase, first, last)
    SELECT portfolio_id, phase, min(session), max(session) FROM changed WHERE quality = 'partial' GROUP BY portfolio_id, phase;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO ledger.shortfall_changes (portfolio_id, phase, first, last)
        SELECT portfolio_id, phase, min(session), max(session) FROM was WHERE quality = 'partial' GROUP BY portfolio_id, phase;
    END IF;
    RETURN NULL;
END
$$;
DROP TRIGGER note_update ON ledger.units;
CREATE TRIGGER note_update AFTER UPDATE ON ledger.units
    REFERENCING OLD TABLE AS was NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_unit_changes();
