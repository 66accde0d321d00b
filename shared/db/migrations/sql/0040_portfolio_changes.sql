-- Of which portfolios something was changed that a list shows, and by which transaction: whoever keeps lines of the list reads again
-- what transactions changed that it had not seen. Nobody waits for anybody: a change only adds a row.
CREATE TABLE ledger.portfolio_changes (
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id           bigint GENERATED ALWAYS AS IDENTITY,
    -- NULL: any, or nobody knows which.
    portfolio_id uuid,
    PRIMARY KEY (xid, id)
);
GRANT SELECT ON ledger.portfolio_changes
    TO leadline_coordinator, leadline_api, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;

-- For each row, before it is written, unless the row before in the transaction was the same portfolio's (see the triggers). The
-- setting ends with the transaction or savepoint, as the row does that it stands for. Not by transition tables: these would hold the
-- large rows of results a second time.
CREATE FUNCTION ledger.note_portfolio_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
DECLARE
    before uuid;
    after  uuid;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO ledger.portfolio_changes (portfolio_id) VALUES (NULL);
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'portfolios' THEN
        before := OLD.id;
        after := NEW.id;
    ELSE
        before := OLD.portfolio_id;
        after := NEW.portfolio_id;
    END IF;
    INSERT INTO ledger.portfolio_changes (portfolio_id)
    SELECT DISTINCT of FROM (VALUES (before), (after)) AS v (of) WHERE of IS NOT NULL;
    PERFORM set_config('leadline.noted', coalesce(after, before)::text, true);
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.note_portfolio_change() FROM PUBLIC;

DO $$
DECLARE
    each record;
BEGIN
    FOR each IN
        SELECT * FROM (VALUES ('coordinator.portfolios', 'id'), ('coordinator.positions', 'portfolio_id'),
                              ('snapshots.snapshots', 'portfolio_id'), ('risk.results', 'portfolio_id')) AS v (name, key)
    LOOP
        EXECUTE format($sql$
            CREATE TRIGGER note_insert BEFORE INSERT ON %1$s FOR EACH ROW
                WHEN (current_setting('leadline.noted', true) IS DISTINCT FROM NEW.%2$s::text)
                EXECUTE FUNCTION ledger.note_portfolio_change();
            CREATE TRIGGER note_update BEFORE UPDATE ON %1$s FOR EACH ROW
                WHEN (current_setting('leadline.noted', true) IS DISTINCT FROM NEW.%2$s::text OR OLD.%2$s <> NEW.%2$s)
                EXECUTE FUNCTION ledger.note_portfolio_change();
            CREATE TRIGGER note_delete BEFORE DELETE ON %1$s FOR EACH ROW
                WHEN (current_setting('leadline.noted', true) IS DISTINCT FROM OLD.%2$s::text)
                EXECUTE FUNCTION ledger.note_portfolio_change();
            CREATE TRIGGER note_truncate AFTER TRUNCATE ON %1$s FOR EACH STATEMENT
                EXECUTE FUNCTION ledger.note_portfolio_change();
        $sql$, each.name, each.key);
    END LOOP;
END
$$;
CREATE TRIGGER note_truncate AFTER TRUNCATE ON ledger.units FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_portfolio_change();

-- Changes of units are noted by statement already: one phase completes those of many portfolios at once.
CREATE OR REPLACE FUNCTION ledger.note_unit_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
BEGIN
    WITH noted AS (
        SELECT portfolio_id, phase, min(session) AS first, max(session) AS last FROM changed GROUP BY portfolio_id, phase
    ), of_runs AS (
        INSERT INTO ledger.unit_changes (portfolio_id, phase, first, last) SELECT portfolio_id, phase, first, last FROM noted
    ), of_lists AS (
        INSERT INTO ledger.portfolio_changes (portfolio_id) SELECT DISTINCT portfolio_id FROM noted
    )
    INSERT INTO ledger.shortfall_changes (portfolio_id, phase, first, last) SELECT portfolio_id, phase, first, last FROM noted;
    RETURN NULL;
END
$$;

-- Forget what was noted where it is more than `most`. What takes its place says that anything may have changed: who has not seen it
-- reads everything again, and who has misses nothing.
CREATE FUNCTION ledger.forget_portfolio_changes(most bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    IF (SELECT count(*) FROM ledger.portfolio_changes) <= most THEN
        RETURN 0;
    END IF;
    DELETE FROM ledger.portfolio_changes;
    GET DIAGNOSTICS gone = ROW_COUNT;
    INSERT INTO ledger.portfolio_changes (portfolio_id) VALUES (NULL);
    RETURN gone;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.forget_portfolio_changes(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.forget_portfolio_changes(bigint) TO leadline_coordinator;
