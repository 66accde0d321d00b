-- The commit-order lock is not a convention: a service that changes an input, writes a price, adds or removes a unit or raises
-- what one requires without having taken it is refused. Otherwise two of them could commit in another order than they drew
-- their numbers, and something would count as complete that is older than its inputs.
CREATE OR REPLACE FUNCTION ledger.order_lock() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(7305101, 1);
    -- Until the transaction, or the savepoint, ends: as the lock.
    SELECT set_config('leadline.ordered', 'yes', true)
$$;

CREATE FUNCTION ledger.refuse_unordered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Of the services only: who repairs a database by hand, or loads one, answers for it.
    IF starts_with(session_user, 'leadline_') AND current_setting('leadline.ordered', true) IS DISTINCT FROM 'yes' THEN
        RAISE EXCEPTION '% of %.% without the commit-order lock', tg_op, tg_table_schema, tg_table_name
            USING HINT = 'Take it first: SELECT ledger.order_lock()';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE OF required_revision ON ledger.units
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();

DO $$
DECLARE
    input text;
BEGIN
    FOREACH input IN ARRAY ARRAY[
        'coordinator.portfolios', 'coordinator.positions', 'coordinator.flows', 'coordinator.benchmarks', 'coordinator.closures',
        'coordinator.versions', 'ingest.prices', 'ingest.actions'
    ] LOOP
        EXECUTE format('CREATE TRIGGER ordered BEFORE INSERT OR UPDATE OR DELETE ON %s '
                       'FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered()', input);
    END LOOP;
END
$$;
