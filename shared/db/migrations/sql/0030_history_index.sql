-- The index went with the column: 0027 and 0028 made `replaced_at` anew to keep it last. What drops old results looks by it.
CREATE INDEX IF NOT EXISTS results_history_replaced ON risk.results_history USING brin (replaced_at);
