-- A result that was computed while a price was waited for, or is chained on such a one. Only a higher revision clears it.
ALTER TABLE snapshots.snapshots ADD COLUMN provisional boolean NOT NULL DEFAULT false;
ALTER TABLE snapshots.holdings ADD COLUMN provisional boolean NOT NULL DEFAULT false;
ALTER TABLE risk.results ADD COLUMN provisional boolean NOT NULL DEFAULT false;

-- The columns of a history are those of its table, in order, and `replaced_at` last.
DO $$
DECLARE
    history text;
BEGIN
    FOREACH history IN ARRAY ARRAY['snapshots.snapshots_history', 'snapshots.holdings_history', 'risk.results_history'] LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN provisional boolean NOT NULL DEFAULT false, ADD COLUMN moved timestamptz', history);
        EXECUTE format('UPDATE %s SET moved = replaced_at', history);
        EXECUTE format('ALTER TABLE %s DROP COLUMN replaced_at', history);
        EXECUTE format('ALTER TABLE %s RENAME COLUMN moved TO replaced_at', history);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN replaced_at SET NOT NULL', history);
    END LOOP;
END
$$;

-- While prices arrive one after the other a session is recomputed several times: of those provisional results the first is kept,
-- which is what was said, and the others never were more than steps from it to the final one.
CREATE OR REPLACE FUNCTION ledger.keep_history() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
DECLARE
    kept boolean := false;
BEGIN
    IF TG_OP = 'DELETE' OR NEW.revision > OLD.revision THEN
        IF OLD.provisional THEN
            EXECUTE format('SELECT provisional FROM %I.%I WHERE portfolio_id = $1 AND session = $2 ORDER BY revision DESC LIMIT 1',
                           TG_TABLE_SCHEMA, TG_ARGV[0])
            INTO kept USING OLD.portfolio_id, OLD.session;
        END IF;
        IF kept IS DISTINCT FROM true THEN
            EXECUTE format('INSERT INTO %I.%I SELECT ($1).*, clock_timestamp()', TG_TABLE_SCHEMA, TG_ARGV[0]) USING OLD;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
