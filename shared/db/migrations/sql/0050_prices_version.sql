-- Which state of the prices a snapshot sees, as a value that no other state ever has. Who reads the same prices for one batch after
-- another compares it instead of reading them again. A number could come twice: after a backup is restored, or in another database.
CREATE TABLE ingest.prices_version (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO ingest.prices_version DEFAULT VALUES;
GRANT SELECT ON ingest.prices_version TO leadline_coordinator, leadline_factors, leadline_snapshots, leadline_risk, leadline_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON ingest.prices_version TO leadline_ingest;

-- By the statement, whoever makes it: nobody who writes prices has to remember it. They hold the commit-order lock, so none waits here.
CREATE FUNCTION ingest.renew_prices_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ingest.prices_version SET version = gen_random_uuid();
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION ingest.renew_prices_version() FROM PUBLIC;
CREATE TRIGGER renew_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ingest.prices
    FOR EACH STATEMENT EXECUTE FUNCTION ingest.renew_prices_version();
