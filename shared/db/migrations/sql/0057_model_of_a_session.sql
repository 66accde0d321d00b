-- The factors that are available on a session, and the upper triangle of their correlations, are the same for all portfolios: beside what
-- the scenarios do to the factors, under one digest, and no more in model_factors and factor_correlations of each row. Rows of before keep
-- theirs, and what they refer to has none.
ALTER TABLE risk.stress_shocks ADD COLUMN factor_names text[], ADD COLUMN factor_matrix double precision[];

-- A row of risk is two kilobytes and what lies beside them: a tenth of a page takes none, and with it a page takes three instead of four.
ALTER TABLE risk.results SET (fillfactor = 100);
