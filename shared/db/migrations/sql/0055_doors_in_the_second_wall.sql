-- Doors in the second wall (docs/decisions/0075): functions that run as their owner, tables without a policy, and rows that name what is
-- another tenant's. What is the API's is asked by who connected, or who the connection acts as: inside a function that runs as its
-- owner, current_user is the owner.
CREATE FUNCTION coordinator.asked_by_api() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT session_user = 'leadline_api' OR current_setting('role') = 'leadline_api'
$$;
-- Any portfolio for the loops, phases and whoever administers; for the API those that are seen.
CREATE FUNCTION coordinator.refuse_unseen(p_portfolio uuid[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_temp AS $$
BEGIN
    IF coordinator.asked_by_api() AND current_setting('leadline.tenant', true) IS DISTINCT FROM '*' AND EXISTS (
        SELECT FROM unnest(p_portfolio) AS asked (id) WHERE NOT EXISTS (
            SELECT FROM coordinator.portfolios p
            WHERE p.id = asked.id AND p.tenant_id BETWEEN coordinator.seen_from() AND coordinator.seen_to()))
    THEN
        RAISE EXCEPTION 'a portfolio that was named is none of the tenant that the transaction is for' USING
            ERRCODE = 'insufficient_privilege', HINT = 'leadline.tenant says whose; shared/db/tenancy.py sets it.';
    END IF;
END
$$;
CREATE FUNCTION coordinator.refuse_one_tenant() RETURNS void LANGUAGE plpgsql SET search_path = pg_temp AS $$
BEGIN
    IF coordinator.asked_by_api() AND current_setting('leadline.tenant', true) IS DISTINCT FROM '*' THEN
        RAISE EXCEPTION 'what concerns the whole installation is changed for one tenant, or for none' USING
            ERRCODE = 'insufficient_privilege', HINT = 'leadline.tenant has to be *; shared/db/tenancy.py sets it.';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION ledger.withdraw(p_portfolio uuid, p_before date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
DECLARE
    last date := coalesce(p_before, 'infinity');
    gone bigint;
BEGIN
    PERFORM coordinator.refuse_unseen(ARRAY[p_portfolio]);
    WITH k AS (
        SELECT session, phase FROM ledger.units WHERE portfolio_id = p_portfolio AND session < last
        ORDER BY session, phase FOR UPDATE
    )
    DELETE FROM ledger.units u USING k WHERE u.portfolio_id = p_portfolio AND u.session = k.session AND u.phase = k.phase;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM snapshots.snapshots WHERE portfolio_id = p_portfolio AND session < last;
    DELETE FROM snapshots.holdings WHERE portfolio_id = p_portfolio AND session < last;
    DELETE FROM risk.results WHERE portfolio_id = p_portfolio AND session < last;
    RETURN gone;
END
$$;

-- What these do is as it was; each asks first who wants it.
DO $$
DECLARE
    each regprocedure;
    said text;
    asks text;
BEGIN
    FOR each, asks IN VALUES
        (CAST('ledger.withdraw_session(date)' AS regprocedure), 'PERFORM coordinator.refuse_one_tenant();'),
        ('ingest.close_day(date, date, date, bigint)', 'PERFORM coordinator.refuse_one_tenant();'),
        ('ingest.open_day(date, date, date, bigint)', 'PERFORM coordinator.refuse_one_tenant();'),
        ('ledger.require(uuid[], date[], date[], ledger.phase[], bigint)', 'SELECT coordinator.refuse_unseen(p_portfolio);')
    LOOP
        said := pg_get_functiondef(each);
        said := CASE WHEN asks ^@ 'SELECT' THEN regexp_replace(said, '(AS \$function\$\n)', E'\\1    ' || asks || E'\n')
                     ELSE regexp_replace(said, '(\nBEGIN\n)', E'\\1    ' || asks || E'\n') END;
        IF position(asks IN said) = 0 THEN
            RAISE EXCEPTION '% is not written as expected', each;
        END IF;
        EXECUTE said;
    END LOOP;
END
$$;

-- A run of the tenant's, and one over several or all that has required units of a portfolio of the tenant's.
CREATE OR REPLACE FUNCTION coordinator.tell_run(run uuid) RETURNS TABLE (id uuid, source text, what text, requested_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_temp AS $$
    SELECT r.id, r.source, r.what, r.requested_at FROM coordinator.runs r
    WHERE r.id = run AND (
        NOT coordinator.asked_by_api() OR current_setting('leadline.tenant', true) = '*'
        OR r.tenant_id BETWEEN coordinator.seen_from() AND coordinator.seen_to()
        OR (r.tenant_id IS NULL AND EXISTS (
            SELECT FROM coordinator.run_units u JOIN coordinator.portfolios p ON p.id = u.portfolio_id
            WHERE u.run_id = r.id AND p.tenant_id BETWEEN coordinator.seen_from() AND coordinator.seen_to())))
$$;

-- Whether the tenant may make an account a member, or go on with one that it is: nobody else's, and none that somebody was removed
-- from, whom an invitation brings back. An account that is new was made by the transaction that asks.
CREATE FUNCTION coordinator.may_join(account uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_temp AS $$
    SELECT NOT coordinator.asked_by_api() OR coalesce(current_setting('leadline.tenant', true) = '*', false) OR EXISTS (
        SELECT FROM coordinator.users u WHERE u.id = account AND (
            EXISTS (SELECT FROM coordinator.memberships m
                    WHERE m.user_id = u.id AND m.tenant_id BETWEEN coordinator.seen_from() AND coordinator.seen_to())
            OR (u.created_at >= now() AND NOT EXISTS (SELECT FROM coordinator.memberships m WHERE m.user_id = u.id)
                AND EXISTS (SELECT FROM coordinator.tenants o WHERE o.id BETWEEN coordinator.seen_from() AND coordinator.seen_to()))))
$$;
REVOKE EXECUTE ON FUNCTION coordinator.may_join(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION coordinator.may_join(uuid) TO leadline_api;

-- Tenants and accounts. The conditions of all that is seen come first: they are worked out once a statement, and the rest is not then.
DO $$
DECLARE
    each text;
    others CONSTANT text := 'leadline_owner, leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk';
    all_seen CONSTANT text := '(SELECT current_setting(''leadline.tenant'', true)) = ''*''';
    shown CONSTANT jsonb := jsonb_build_object(
        'coordinator.tenants', 'id BETWEEN (SELECT coordinator.seen_from()) AND (SELECT coordinator.seen_to())',
        'coordinator.users', all_seen || ' OR id IN (SELECT user_id FROM coordinator.memberships)');
    made CONSTANT jsonb := jsonb_build_object(
        'coordinator.tenants', all_seen,
        -- Whoever an OpenID provider vouches for accepts an invitation, of whatever tenant.
        'coordinator.users', all_seen || ' OR (issuer IS NULL AND EXISTS (SELECT FROM coordinator.tenants))');
BEGIN
    FOREACH each IN ARRAY ARRAY['coordinator.tenants', 'coordinator.users'] LOOP
        EXECUTE format('CREATE POLICY others ON %s TO %s USING (true) WITH CHECK (true)', each, others);
        EXECUTE format('CREATE POLICY own_tenant ON %s FOR SELECT TO leadline_api USING (%s)', each, shown ->> each);
        EXECUTE format('CREATE POLICY made ON %s FOR INSERT TO leadline_api WITH CHECK (%s)', each, made ->> each);
        EXECUTE format('CREATE POLICY changed ON %s FOR UPDATE TO leadline_api USING (%s) WITH CHECK (%s)', each, all_seen, all_seen);
        EXECUTE format('CREATE POLICY removed ON %s FOR DELETE TO leadline_api USING (%s)', each, all_seen);
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', each);
    END LOOP;
END
$$;

-- A row of the tenant's names nothing that is another's. Read and removed are rows by whose they are, as before.
DO $$
DECLARE
    changed record;
    own text;
BEGIN
    FOR changed IN SELECT * FROM (VALUES
        ('coordinator.memberships', 'coordinator.may_join(user_id)'),
        -- A token that is revoked with its membership stays.
        ('coordinator.tokens', 'user_id IS NULL OR revoked_at IS NOT NULL OR EXISTS (
            SELECT FROM coordinator.memberships m WHERE m.user_id = tokens.user_id AND m.tenant_id = tokens.tenant_id)'),
        ('coordinator.invitations', 'accepted_by IS NULL OR EXISTS (
            SELECT FROM coordinator.memberships m WHERE m.user_id = invitations.accepted_by AND m.tenant_id = invitations.tenant_id)'),
        ('coordinator.limits', 'portfolio_id IS NULL OR portfolio_id IN (SELECT id FROM coordinator.portfolios)'),
        ('coordinator.limit_states', 'limit_id IN (SELECT id FROM coordinator.limits)'),
        ('coordinator.subscriptions', 'limit_id IN (SELECT id FROM coordinator.limits) AND webhook_id IN (SELECT id FROM coordinator.webhooks)'),
        ('coordinator.trades', 'import_id IN (SELECT id FROM coordinator.imports)'),
        -- By its key, where a list of all there are would be long.
        ('coordinator.import_lots', 'EXISTS (SELECT FROM coordinator.positions p WHERE p.id = import_lots.position_id)'),
        ('coordinator.run_units', 'EXISTS (SELECT FROM coordinator.runs r WHERE r.id = run_units.run_id)')
    ) AS v (name, names) LOOP
        SELECT pg_get_expr(polwithcheck, polrelid) INTO STRICT own FROM pg_policy
        WHERE polrelid = CAST(changed.name AS regclass) AND polname = 'own_tenant';
        EXECUTE format('ALTER POLICY own_tenant ON %s WITH CHECK ((%s) AND (%s))', changed.name, own, changed.names);
    END LOOP;
END
$$;

-- To change without reading was nobody's to refuse. Of the outbox the API only adds rows.
DROP POLICY whole_installation ON bus.dead_letters;
CREATE POLICY whole_installation ON bus.dead_letters AS RESTRICTIVE TO leadline_api
    USING ((SELECT current_setting('leadline.tenant', true)) = '*') WITH CHECK ((SELECT current_setting('leadline.tenant', true)) = '*');

-- Facts of the market are read by all, so that they need no policy; changed they are for all at once.
CREATE FUNCTION coordinator.for_all_at_once() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_temp AS $$
BEGIN
    PERFORM coordinator.refuse_one_tenant();
    RETURN NULL;
END
$$;
DO $$
DECLARE
    each text;
BEGIN
    FOREACH each IN ARRAY ARRAY['benchmarks', 'closures', 'fund_holdings', 'price_decisions', 'symbol_choices'] LOOP
        EXECUTE format('CREATE TRIGGER for_all_at_once BEFORE INSERT OR UPDATE OR DELETE ON coordinator.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION coordinator.for_all_at_once()', each);
    END LOOP;
END
$$;
