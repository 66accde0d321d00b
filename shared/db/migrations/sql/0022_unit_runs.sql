-- Runs of consecutive sessions whose units are in one state, by portfolio and phase: what a grid of everything is read from.
-- Grouping five million units takes seconds, and there are some thousand runs.
CREATE TABLE ledger.unit_runs (
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL,
    state        text NOT NULL CHECK (state IN ('complete', 'partial', 'missing', 'blocked')),
    PRIMARY KEY (portfolio_id, phase, first),
    CHECK (first <= last)
);

-- Where units were changed since the runs were last brought up to date. Whoever changes units only adds a row here: nobody waits
-- for anybody, and no lock is taken that a completion could deadlock on. One at a time takes the rows away and mends the runs.
CREATE TABLE ledger.unit_changes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL
);

CREATE FUNCTION ledger.note_unit_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
BEGIN
    INSERT INTO ledger.unit_changes (portfolio_id, phase, first, last)
    SELECT portfolio_id, phase, min(session), max(session) FROM changed GROUP BY portfolio_id, phase;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.note_unit_changes() FROM PUBLIC;
CREATE TRIGGER note_insert AFTER INSERT ON ledger.units
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_unit_changes();
CREATE TRIGGER note_update AFTER UPDATE ON ledger.units
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_unit_changes();
CREATE TRIGGER note_delete AFTER DELETE ON ledger.units
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_unit_changes();

GRANT SELECT ON ledger.unit_runs, ledger.unit_changes
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON ledger.unit_runs TO leadline_coordinator;
GRANT DELETE ON ledger.unit_changes TO leadline_coordinator;

-- What there is already counts as changed.
INSERT INTO ledger.unit_changes (portfolio_id, phase, first, last)
SELECT portfolio_id, phase, min(session), max(session) FROM ledger.units GROUP BY portfolio_id, phase;
