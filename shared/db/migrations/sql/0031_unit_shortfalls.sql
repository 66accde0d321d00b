-- What completed units lack, by portfolio, phase and quarter: equal reasons once. A list of a thousand portfolios is read from some
-- thousand rows, where their partial units of a year are three hundred thousand.
CREATE TABLE ledger.unit_shortfalls (
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL,
    lacks        jsonb NOT NULL,
    coverage     double precision,
    -- A unit has one list of reasons, so no two rows of a phase begin on one session.
    PRIMARY KEY (portfolio_id, first, phase),
    CHECK (first <= last AND date_trunc('quarter', first::timestamp) = date_trunc('quarter', last::timestamp))
);

-- Where units were changed since. Not the marks of unit_runs: a coordinator of the version before takes those away, and knows
-- nothing of shortfalls.
CREATE TABLE ledger.shortfall_changes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL
);

CREATE OR REPLACE FUNCTION ledger.note_unit_changes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
BEGIN
    WITH noted AS (
        SELECT portfolio_id, phase, min(session) AS first, max(session) AS last FROM changed GROUP BY portfolio_id, phase
    ), of_runs AS (
        INSERT INTO ledger.unit_changes (portfolio_id, phase, first, last) SELECT portfolio_id, phase, first, last FROM noted
    )
    INSERT INTO ledger.shortfall_changes (portfolio_id, phase, first, last) SELECT portfolio_id, phase, first, last FROM noted;
    RETURN NULL;
END
$$;

GRANT SELECT ON ledger.unit_shortfalls, ledger.shortfall_changes
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON ledger.unit_shortfalls TO leadline_coordinator, leadline_api;
GRANT DELETE ON ledger.shortfall_changes TO leadline_coordinator, leadline_api;

-- What there is already counts as changed.
INSERT INTO ledger.shortfall_changes (portfolio_id, phase, first, last)
SELECT portfolio_id, phase, min(session), max(session) FROM ledger.units GROUP BY portfolio_id, phase;
