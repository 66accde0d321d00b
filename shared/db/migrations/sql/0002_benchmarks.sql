-- Sector weights of benchmarks, as the user gave them. A row is never changed: what replaces it, or takes it back, marks it, so
-- that an older result can still say what it was compared with.
CREATE TABLE coordinator.benchmarks (
    code        text NOT NULL,
    date        date NOT NULL,             -- the weights count from here until the next date of the same code
    change      bigint NOT NULL,           -- from ledger.change, under ledger.order_lock(): a result of that revision or a later one used it
    sectors     text[] NOT NULL,           -- GICS names, sorted
    weights     double precision[] NOT NULL, -- rescaled to a sum of 1
    stated_sum  double precision NOT NULL, -- what they summed to before
    loaded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    replaced_at timestamptz,
    PRIMARY KEY (code, date, change),
    CONSTRAINT a_weight_each CHECK (cardinality(sectors) = cardinality(weights) AND cardinality(weights) > 0),
    CONSTRAINT weights_not_negative CHECK (0 <= ALL (weights)),
    CONSTRAINT stated_sum_is_one CHECK (stated_sum BETWEEN 0.99 AND 1.01)
);
CREATE UNIQUE INDEX benchmarks_current ON coordinator.benchmarks (code, date) WHERE replaced_at IS NULL;
GRANT SELECT ON coordinator.benchmarks TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON coordinator.benchmarks TO leadline_coordinator;

-- Which code is compared with is a setting of the coordinator. It stands here too, so that risk reads it in the same snapshot as the
-- table, and so that another choice restates what the old one said.
ALTER TABLE coordinator.versions DROP CONSTRAINT versions_name_check;
ALTER TABLE coordinator.versions ADD CONSTRAINT versions_name_check CHECK (name IN ('code', 'model', 'sector_benchmark'));
