-- The second wall (docs/decisions/0072): whatever a statement of the API asks for, its role sees and writes the rows of one tenant. The
-- access layer names the tenant at the beginning of each transaction, for that transaction alone; without a name, or with one that
-- is none, there is no row. `*` is for what the installation's operator does to all of it.
--
-- The bounds of the tenants that are seen, so that an index serves both one and all; null, and so no row, where nothing was set.
-- Each is one expression, which the planner writes into the statement: a function with a FROM is parsed and planned in every statement.
CREATE FUNCTION coordinator.seen_from() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN current_setting('leadline.tenant', true) = '*' THEN CAST('00000000-0000-0000-0000-000000000000' AS uuid)
                WHEN current_setting('leadline.tenant', true) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    THEN CAST(current_setting('leadline.tenant', true) AS uuid) END
$$;
CREATE FUNCTION coordinator.seen_to() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN current_setting('leadline.tenant', true) = '*' THEN CAST('ffffffff-ffff-ffff-ffff-ffffffffffff' AS uuid)
                WHEN current_setting('leadline.tenant', true) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    THEN CAST(current_setting('leadline.tenant', true) AS uuid) END
$$;

DO $$
DECLARE
    each text;
    condition text;
    -- Who sees what is everybody's: grants say what each may do. Stated, so that nobody depends on owning a table.
    others CONSTANT text := 'leadline_owner, leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk';
    seen CONSTANT text := 'tenant_id BETWEEN (SELECT coordinator.seen_from()) AND (SELECT coordinator.seen_to())';
    all_seen CONSTANT text := '(SELECT current_setting(''leadline.tenant'', true)) = ''*''';
BEGIN
    FOREACH each IN ARRAY ARRAY[
        'coordinator.portfolios', 'coordinator.limits', 'coordinator.webhooks', 'coordinator.import_mappings', 'coordinator.idempotency',
        'coordinator.runs', 'coordinator.tokens', 'coordinator.memberships', 'coordinator.invitations', 'coordinator.audit_log',
        'coordinator.positions', 'coordinator.flows', 'coordinator.imports', 'coordinator.trades', 'coordinator.run_units',
        'coordinator.import_lots', 'coordinator.limit_states', 'coordinator.subscriptions', 'coordinator.notifications',
        'snapshots.snapshots', 'snapshots.snapshots_history', 'snapshots.holdings', 'snapshots.holdings_history',
        'risk.results', 'risk.results_history',
        'ledger.units', 'ledger.schedule', 'ledger.failures', 'ledger.unit_runs', 'ledger.unit_changes', 'ledger.unit_shortfalls',
        'ledger.shortfall_changes', 'ledger.portfolio_changes', 'bus.dead_letters', 'bus.outbox'
    ] LOOP
        condition := CASE
            WHEN each IN ('bus.dead_letters', 'bus.outbox') THEN all_seen
            -- A run over several tenants, or without a scope, is of none.
            WHEN each = 'coordinator.runs' THEN format('%s OR (tenant_id IS NULL AND %s)', seen, all_seen)
            WHEN each = 'coordinator.import_lots' THEN 'import_id IN (SELECT id FROM coordinator.imports)'
            WHEN each = 'coordinator.notifications' THEN 'webhook_id IN (SELECT id FROM coordinator.webhooks)'
            -- A change of any portfolio may be one of the tenant's.
            WHEN each = 'ledger.portfolio_changes' THEN 'portfolio_id IS NULL OR portfolio_id IN (SELECT id FROM coordinator.portfolios)'
            -- A limit on every portfolio has none of its own.
            WHEN each <> 'coordinator.limits' AND EXISTS (
                SELECT FROM pg_attribute WHERE attrelid = CAST(each AS regclass) AND attname = 'portfolio_id')
                THEN 'portfolio_id IN (SELECT id FROM coordinator.portfolios)'
            ELSE seen END;
        IF each IN ('ledger.units', 'ledger.schedule', 'ledger.failures') THEN
            EXECUTE format('DROP POLICY coordinate_api ON %s', each);
        END IF;
        IF each IN ('bus.dead_letters', 'bus.outbox') THEN
            EXECUTE format('CREATE POLICY whole_installation ON %s AS RESTRICTIVE FOR SELECT TO leadline_api USING (%s)', each, condition);
            EXECUTE format('CREATE POLICY owner ON %s TO leadline_owner USING (true) WITH CHECK (true)', each);
        ELSE
            EXECUTE format('CREATE POLICY own_tenant ON %s TO leadline_api USING (%s) WITH CHECK (%s)', each, condition, condition);
            IF (SELECT relrowsecurity FROM pg_class WHERE oid = CAST(each AS regclass)) THEN
                EXECUTE format('CREATE POLICY owner ON %s TO leadline_owner USING (true) WITH CHECK (true)', each);
            ELSE
                EXECUTE format('CREATE POLICY others ON %s TO %s USING (true) WITH CHECK (true)', each, others);
            END IF;
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', each);
        END IF;
    END LOOP;
END
$$;
-- A view runs as its owner, who sees everything, unless it is told to run as whoever asks.
ALTER VIEW snapshots.positions SET (security_invoker = true);

-- What restated a portfolio's figures is told to its tenant, also where the run was one over all of them: what was asked and when, and
-- not of whom else.
CREATE FUNCTION coordinator.tell_run(run uuid) RETURNS TABLE (id uuid, source text, what text, requested_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_temp AS $$
    SELECT r.id, r.source, r.what, r.requested_at FROM coordinator.runs r WHERE r.id = run
$$;
REVOKE EXECUTE ON FUNCTION coordinator.tell_run(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION coordinator.tell_run(uuid) TO leadline_api, leadline_coordinator;
