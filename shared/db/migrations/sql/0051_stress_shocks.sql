-- What the scenarios do to the factors on a session: the same for all portfolios, stored once under a digest of itself, and no more in
-- stress_shocks of each row. What it does to a portfolio without options follows from it and from what stands in the row, so rows of
-- those have no stress_direct and stress_propagated either. Rows of before keep theirs. Never deleted: a row of any revision may
-- refer to it.
CREATE TABLE risk.stress_shocks (
    shocks_id uuid PRIMARY KEY,
    shocks    bytea NOT NULL -- doubles, the lowest byte first, scenarios by factors: direct shocks, propagated ones, returns of the proxies
);
GRANT SELECT ON risk.stress_shocks TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON risk.stress_shocks TO leadline_risk;

ALTER TABLE risk.results ADD COLUMN nav double precision, ADD COLUMN shocks_id uuid;

-- The columns of a history are those of its table, in order, and `replaced_at` last.
ALTER TABLE risk.results_history ADD COLUMN nav double precision, ADD COLUMN shocks_id uuid, ADD COLUMN moved timestamptz;
UPDATE risk.results_history SET moved = replaced_at;
ALTER TABLE risk.results_history DROP COLUMN replaced_at;
ALTER TABLE risk.results_history RENAME COLUMN moved TO replaced_at;
ALTER TABLE risk.results_history ALTER COLUMN replaced_at SET NOT NULL;
CREATE INDEX results_history_replaced ON risk.results_history USING brin (replaced_at);
