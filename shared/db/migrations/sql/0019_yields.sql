-- The par yield curve by day, as published. Yields are decimal a year, tenors in years, both ascending by tenor.
CREATE TABLE ingest.yields (
    date       date PRIMARY KEY,
    tenors     float8[] NOT NULL,
    yields     float8[] NOT NULL,
    provider   text NOT NULL,
    fetched_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    change     bigint NOT NULL,
    CHECK (cardinality(tenors) = cardinality(yields) AND cardinality(tenors) > 0),
    CHECK (array_position(yields, 'NaN') IS NULL AND array_position(tenors, 'NaN') IS NULL)
);
-- What a correction replaced.
CREATE TABLE ingest.yields_history (
    LIKE ingest.yields, replaced_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (date, change)
);
-- When a calendar year of curves is asked for next; null: it is settled. `fault`: why the last attempt ended without curves.
CREATE TABLE ingest.yield_years (
    year       integer PRIMARY KEY,
    asked_at   timestamptz,
    next_at    timestamptz,
    fault      text
);
GRANT SELECT ON ingest.yields, ingest.yields_history, ingest.yield_years
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON ingest.yields, ingest.yields_history, ingest.yield_years TO leadline_ingest;
