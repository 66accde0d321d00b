-- What is replaced is kept by statements that the server plans once in a session. One made of text was parsed and planned for each row,
-- of risk with its fifty columns twice what writing it takes. A table that is not named here is still served.
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
            CASE TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME
            WHEN 'risk.results' THEN
                INSERT INTO risk.results_history SELECT OLD.*, clock_timestamp();
            WHEN 'snapshots.snapshots' THEN
                INSERT INTO snapshots.snapshots_history SELECT OLD.*, clock_timestamp();
            WHEN 'snapshots.holdings' THEN
                INSERT INTO snapshots.holdings_history SELECT OLD.*, clock_timestamp();
            ELSE
                EXECUTE format('INSERT INTO %I.%I SELECT ($1).*, clock_timestamp()', TG_TABLE_SCHEMA, TG_ARGV[0]) USING OLD;
            END CASE;
        END IF;
    END IF;
    RETURN NULL;
END $$;
