-- What a preview asks the price source, before anything is imported: is the symbol known, by which name, at which closes.
-- Questions are the coordinator's, answers ingest's; both are kept for an hour.
CREATE TABLE coordinator.lookups (
    symbol      text NOT NULL,
    session     date NOT NULL,
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol, session)
);
CREATE TABLE ingest.lookups (
    symbol      text NOT NULL,
    session     date NOT NULL,
    answered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    provider    text NOT NULL,
    found       boolean NOT NULL,
    company     text,
    close       double precision,        -- as traded, on the session or the last one before it with a price
    adjusted    double precision,        -- the same, adjusted for splits since
    suggestions text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (symbol, session)
);
GRANT SELECT ON coordinator.lookups, ingest.lookups
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON coordinator.lookups TO leadline_coordinator;
GRANT INSERT, UPDATE, DELETE ON ingest.lookups TO leadline_ingest;
