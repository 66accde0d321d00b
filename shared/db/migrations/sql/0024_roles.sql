-- The HTTP side of the coordinator has a role of its own (docs/decisions/0044): it writes what users say and what follows from it
-- in the ledger; it marks or drops no event, records no dead letter, and touches nothing that only the loops write.
GRANT USAGE ON SCHEMA coordinator, ingest, factors, snapshots, risk, ledger, bus TO leadline_api;
GRANT SELECT ON ALL TABLES IN SCHEMA coordinator, ingest, factors, snapshots, risk, ledger, bus TO leadline_api;
GRANT SELECT ON public.alembic_version TO leadline_api;
DO $$
DECLARE
    each record;
BEGIN
    -- As the coordinator's own rights: what is append-only to the one is to the other.
    FOR each IN
        SELECT c.oid::regclass AS name, p.privilege FROM pg_class c
        CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) AS p (privilege)
        WHERE c.relnamespace = 'coordinator'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'versions'
          AND has_table_privilege('leadline_coordinator', c.oid, p.privilege)
    LOOP
        EXECUTE format('GRANT %s ON %s TO leadline_api', each.privilege, each.name);
    END LOOP;
END
$$;
-- Functions that do what their caller may not.
GRANT EXECUTE ON FUNCTION ledger.order_lock, ledger.require, ledger.withdraw, ledger.withdraw_session, ingest.close_day, ingest.open_day
    TO leadline_api;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA coordinator, bus TO leadline_api;
GRANT USAGE ON SEQUENCE ledger.change TO leadline_api;
GRANT INSERT, UPDATE, DELETE ON ledger.units, ledger.schedule TO leadline_api;
GRANT DELETE ON ledger.failures TO leadline_api;
-- A read that finds marks of changes works them in first.
GRANT INSERT, UPDATE, DELETE ON ledger.unit_runs TO leadline_api;
GRANT DELETE ON ledger.unit_changes TO leadline_api;
CREATE POLICY coordinate_api ON ledger.units TO leadline_api USING (true) WITH CHECK (true);
CREATE POLICY coordinate_api ON ledger.schedule TO leadline_api USING (true) WITH CHECK (true);
CREATE POLICY coordinate_api ON ledger.failures TO leadline_api USING (true) WITH CHECK (true);
-- Tables that later migrations add. They run as the owner, whose defaults these are.
ALTER DEFAULT PRIVILEGES IN SCHEMA coordinator GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO leadline_api;
ALTER DEFAULT PRIVILEGES IN SCHEMA ingest, factors, snapshots, risk, ledger, bus GRANT SELECT ON TABLES TO leadline_api;
ALTER DEFAULT PRIVILEGES IN SCHEMA coordinator GRANT USAGE ON SEQUENCES TO leadline_api;

-- Whole answers to users: no other service has a use for them.
REVOKE SELECT ON coordinator.idempotency FROM leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;

-- Outbox rows carry the role that wrote them. A relay sees, sends and drops its own; the coordinator's also those of the API, those
-- of nobody's service, and what has waited for 30 seconds, as the rows of a service that is down do.
ALTER TABLE bus.outbox ADD COLUMN written_by text NOT NULL DEFAULT 'leadline_coordinator';
ALTER TABLE bus.outbox ALTER COLUMN written_by SET DEFAULT CURRENT_USER;
CREATE INDEX outbox_failed ON bus.outbox (event_id) WHERE failed_at IS NOT NULL;
REVOKE INSERT, UPDATE ON bus.outbox FROM leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
-- Who wrote a row, and when, is not the writer's to say; nor is anything but its sending to be noted later.
GRANT INSERT (event_id, topic, key, type, payload, headers) ON bus.outbox
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk, leadline_api;
GRANT UPDATE (sent_at, failed_at, error) ON bus.outbox
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
ALTER TABLE bus.outbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON bus.outbox FOR SELECT
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk, leadline_api USING (true);
CREATE POLICY announce ON bus.outbox FOR INSERT
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk, leadline_api
    WITH CHECK (written_by = CURRENT_USER);
CREATE POLICY send_own ON bus.outbox FOR UPDATE
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk
    USING (written_by = CURRENT_USER) WITH CHECK (written_by = CURRENT_USER);
CREATE POLICY drop_own ON bus.outbox FOR DELETE
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk
    USING (written_by = CURRENT_USER);
CREATE POLICY send_left ON bus.outbox FOR UPDATE TO leadline_coordinator
    USING (written_by NOT IN ('leadline_ingest', 'leadline_factors', 'leadline_snapshots', 'leadline_risk')
           OR created_at < clock_timestamp() - interval '30 seconds')
    WITH CHECK (true);
CREATE POLICY drop_left ON bus.outbox FOR DELETE TO leadline_coordinator
    USING (written_by NOT IN ('leadline_ingest', 'leadline_factors', 'leadline_snapshots', 'leadline_risk')
           OR created_at < clock_timestamp() - interval '30 seconds');
-- A phase speaks for itself: of its own completions, and of work that it asks itself for.
CREATE POLICY own_topics ON bus.outbox AS RESTRICTIVE FOR INSERT TO leadline_ingest
    WITH CHECK (topic IN ('leadline.prices-ingested', 'leadline.prices-restated', 'leadline.phase-requested'));
CREATE POLICY own_topics_factors ON bus.outbox AS RESTRICTIVE FOR INSERT TO leadline_factors
    WITH CHECK (topic IN ('leadline.factors-computed', 'leadline.phase-requested'));
CREATE POLICY own_topics_snapshots ON bus.outbox AS RESTRICTIVE FOR INSERT TO leadline_snapshots
    WITH CHECK (topic IN ('leadline.snapshots-built', 'leadline.phase-requested'));
CREATE POLICY own_topics_risk ON bus.outbox AS RESTRICTIVE FOR INSERT TO leadline_risk
    WITH CHECK (topic IN ('leadline.risk-computed', 'leadline.phase-requested'));

-- A phase records dead letters of its own and changes none; the coordinator settles them, people through the API.
REVOKE UPDATE ON bus.dead_letters FROM leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT UPDATE ON bus.dead_letters TO leadline_api;
ALTER TABLE bus.dead_letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON bus.dead_letters FOR SELECT
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk, leadline_api USING (true);
CREATE POLICY record_own ON bus.dead_letters FOR INSERT
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk
    WITH CHECK (consumer = substr(CURRENT_USER, length('leadline_') + 1));
CREATE POLICY settle ON bus.dead_letters FOR UPDATE TO leadline_coordinator, leadline_api USING (true) WITH CHECK (true);
