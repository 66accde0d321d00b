-- Counting a portfolio's units needs only its key's index. Nights write session after session, so after five years the units of one
-- portfolio lie on some 1,250 pages of the table, and on 50 of the index (docs/decisions/0084-units-are-read-from-their-index.md).
CREATE UNIQUE INDEX units_covering ON ledger.units (portfolio_id, session, phase)
    INCLUDE (required_revision, completed_revision, quality);
ALTER TABLE ledger.units DROP CONSTRAINT units_pkey, ADD CONSTRAINT units_pkey PRIMARY KEY USING INDEX units_covering;

-- An index is enough only for pages that a vacuum has found to be visible to all. By the default share of the table, a fifth, that
-- would be once in 250 nights after five years.
ALTER TABLE ledger.units SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0.02
);
