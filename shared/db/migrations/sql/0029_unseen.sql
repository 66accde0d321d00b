-- A new portfolio concerns nobody before it is committed: its row and its lots may be written before the commit-order lock, which
-- then is held for as long as its units take, not fifty thousand lots. What is drawn and announced is drawn under the lock all the same.
-- Returns the id that the new portfolio must have: no other portfolio's rows are let in.
CREATE FUNCTION ledger.begin_unseen() RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    portfolio uuid := uuidv7();
BEGIN
    -- Whoever has the lock already keeps what it allows.
    IF current_setting('leadline.ordered', true) IS DISTINCT FROM 'yes' THEN
        PERFORM set_config('leadline.ordered', 'unseen', true), set_config('leadline.unseen', portfolio::text, true);
    END IF;
    RETURN portfolio;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.begin_unseen FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.begin_unseen TO leadline_coordinator, leadline_api;

CREATE OR REPLACE FUNCTION ledger.refuse_unordered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Of the services only: who repairs a database by hand, or loads one, answers for it.
    IF starts_with(session_user, 'leadline_') AND current_setting('leadline.ordered', true) IS DISTINCT FROM 'yes'
       AND NOT (current_setting('leadline.ordered', true) IS NOT DISTINCT FROM 'unseen' AND tg_op = 'INSERT'
                AND tg_table_schema = 'coordinator' AND tg_table_name IN ('portfolios', 'positions')) THEN
        RAISE EXCEPTION '% of %.% without the commit-order lock', tg_op, tg_table_schema, tg_table_name
            USING HINT = 'Take it first: SELECT ledger.order_lock()';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION ledger.refuse_seen() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    strangers boolean;
BEGIN
    IF current_setting('leadline.ordered', true) IS NOT DISTINCT FROM 'unseen' THEN
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM added WHERE %I <> CAST($1 AS uuid))', tg_argv[0])
            INTO strangers USING current_setting('leadline.unseen');
        IF strangers THEN
            RAISE EXCEPTION 'INSERT into %.% for another portfolio than the new one, without the commit-order lock',
                tg_table_schema, tg_table_name USING HINT = 'Take it first: SELECT ledger.order_lock()';
        END IF;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER unseen AFTER INSERT ON coordinator.portfolios
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_seen('id');
CREATE TRIGGER unseen AFTER INSERT ON coordinator.positions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_seen('portfolio_id');
