-- HAC errors of the joint set's betas, per factor of the registry; null in rows of earlier model versions.
ALTER TABLE factors.exposures ADD COLUMN joint_stderr double precision[];
-- The same of the portfolio's own series. The errors of its holdings cannot be added: what is left over of them goes together.
ALTER TABLE risk.results ADD COLUMN exposure_errors double precision[];

-- The columns of a history are those of its table, in order, and `replaced_at` last.
ALTER TABLE risk.results_history ADD COLUMN exposure_errors double precision[], ADD COLUMN moved timestamptz;
UPDATE risk.results_history SET moved = replaced_at;
ALTER TABLE risk.results_history DROP COLUMN replaced_at;
ALTER TABLE risk.results_history RENAME COLUMN moved TO replaced_at;
ALTER TABLE risk.results_history ALTER COLUMN replaced_at SET NOT NULL;
