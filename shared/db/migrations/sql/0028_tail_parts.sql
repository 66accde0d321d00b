-- Of each holding: its component of the expected shortfall at 97.5 %, the marginal and the incremental one; null in rows of earlier model versions.
ALTER TABLE risk.results ADD COLUMN tail_parts double precision[];

-- The columns of a history are those of its table, in order, and `replaced_at` last.
ALTER TABLE risk.results_history ADD COLUMN tail_parts double precision[], ADD COLUMN moved timestamptz;
UPDATE risk.results_history SET moved = replaced_at;
ALTER TABLE risk.results_history DROP COLUMN replaced_at;
ALTER TABLE risk.results_history RENAME COLUMN moved TO replaced_at;
ALTER TABLE risk.results_history ALTER COLUMN replaced_at SET NOT NULL;
