-- What a symbol is and which sector it is in comes from the dated profiles alone: a cell that is overwritten answers for the past
-- with what was learnt later. What a file says without a date is known from the beginning (-infinity).
ALTER TABLE ingest.symbol_profiles ADD COLUMN asset_type text; -- null: nothing was said
INSERT INTO ingest.symbol_profiles (symbol_id, as_of, provider, sector, industry, name, asset_type, fetched_at)
SELECT id, coalesce(sector_as_of, '-infinity'), 'file', sector, industry, name, nullif(asset_type, 'unknown'), created_at
FROM ingest.symbols
WHERE asset_type <> 'unknown' OR coalesce(name, sector, industry) IS NOT NULL
ON CONFLICT DO NOTHING;
CREATE TRIGGER ordered BEFORE INSERT OR UPDATE OR DELETE ON ingest.symbol_profiles
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();
ALTER TABLE ingest.symbols DROP COLUMN asset_type, DROP COLUMN name, DROP COLUMN sector, DROP COLUMN industry, DROP COLUMN sector_as_of;

-- What a contribution to the volatility was computed from: the exposure over NAV of each of the M members, options beside them.
ALTER TABLE risk.results ADD COLUMN tilts double precision[];
-- Of the duration that moves of yields went through; null: none was dated by then.
ALTER TABLE risk.results ADD COLUMN duration_as_of date;
-- The columns of the history are those of its table, in order, and `replaced_at` last.
ALTER TABLE risk.results_history ADD COLUMN tilts double precision[], ADD COLUMN duration_as_of date, ADD COLUMN moved timestamptz;
UPDATE risk.results_history SET moved = replaced_at;
ALTER TABLE risk.results_history DROP COLUMN replaced_at;
ALTER TABLE risk.results_history RENAME COLUMN moved TO replaced_at;
ALTER TABLE risk.results_history ALTER COLUMN replaced_at SET NOT NULL;

-- A set is told from another by everything that moves a figure: [{id, name, factors, shocks, rates_bp}] and the durations behind rates_bp.
ALTER TABLE risk.scenario_sets ADD COLUMN durations jsonb NOT NULL DEFAULT '[]';

-- Which set is in force: that of the risk service that started last. Only it computes, and what another set computed is restated.
CREATE TABLE risk.scenario_choice (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    digest text NOT NULL,
    since  timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON risk.scenario_choice TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON risk.scenario_choice TO leadline_risk;
GRANT EXECUTE ON FUNCTION ledger.require TO leadline_risk;
CREATE TRIGGER ordered BEFORE INSERT OR UPDATE OR DELETE ON risk.scenario_choice
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();
