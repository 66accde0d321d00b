-- What failed, run by run: the schedule keeps only the last error of a portfolio's phase, and forgets it with the next progress.
CREATE TABLE ledger.failures (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL,
    error        text NOT NULL,
    blocked      boolean NOT NULL,       -- the run after which the units were blocked
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (first <= last)
);
CREATE INDEX failures_of ON ledger.failures (portfolio_id, phase, at);
CREATE INDEX failures_at ON ledger.failures (at);
GRANT SELECT ON ledger.failures TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON ledger.failures TO leadline_coordinator;
GRANT INSERT, DELETE ON ledger.failures TO leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
-- As for units and schedule: a phase writes of its own only.
ALTER TABLE ledger.failures ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON ledger.failures FOR SELECT
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk USING (true);
CREATE POLICY coordinate ON ledger.failures TO leadline_coordinator USING (true) WITH CHECK (true);
CREATE POLICY own_phase_ingest ON ledger.failures TO leadline_ingest USING (phase = 'ingest') WITH CHECK (phase = 'ingest');
CREATE POLICY own_phase_factors ON ledger.failures TO leadline_factors USING (phase = 'factors') WITH CHECK (phase = 'factors');
CREATE POLICY own_phase_snapshots ON ledger.failures TO leadline_snapshots USING (phase = 'snapshots') WITH CHECK (phase = 'snapshots');
CREATE POLICY own_phase_risk ON ledger.failures TO leadline_risk USING (phase = 'risk') WITH CHECK (phase = 'risk');
-- What fell short lately, over all portfolios: the metrics look at it once a minute.
CREATE INDEX units_partial_lately ON ledger.units (session, phase) WHERE quality = 'partial';
