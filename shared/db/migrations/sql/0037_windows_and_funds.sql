-- A scenario file may state a window alone: what its proxies returned is of stored prices. Services with one file have one digest of what
-- is written, whatever was stored when each of them started. Null in rows of before: there the two are the same.
ALTER TABLE risk.scenario_choice ADD COLUMN as_written text;

-- What a fund holds, as the user says it. Nothing that is stored rests on it: who looks through a fund does so when asked.
CREATE TABLE coordinator.fund_holdings (
    symbol    text NOT NULL,             -- of the fund
    date      date NOT NULL,             -- they count from here until the next date of the same fund
    holdings  text[] NOT NULL,           -- symbols, sorted
    weights   double precision[] NOT NULL, -- of the fund's value; less than 1 where some of it is not told
    sectors   text[] NOT NULL,           -- GICS names; '' where the user said none
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol, date),
    CONSTRAINT a_weight_and_a_sector_each CHECK (cardinality(holdings) = cardinality(weights)
        AND cardinality(holdings) = cardinality(sectors) AND cardinality(holdings) > 0),
    CONSTRAINT weights_not_negative CHECK (0 <= ALL (weights))
);
GRANT SELECT ON coordinator.fund_holdings TO leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT SELECT, INSERT, UPDATE, DELETE ON coordinator.fund_holdings TO leadline_coordinator, leadline_api;
