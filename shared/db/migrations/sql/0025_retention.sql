-- What was answered to an idempotency key: small answers as they are, large ones packed and only for a while. Without both, only that
-- the request was done is known.
ALTER TABLE coordinator.idempotency ALTER COLUMN response DROP NOT NULL;
ALTER TABLE coordinator.idempotency ADD COLUMN large bytea;
CREATE INDEX idempotency_created ON coordinator.idempotency (created_at);
CREATE INDEX idempotency_large ON coordinator.idempotency (created_at) WHERE large IS NOT NULL;

-- Settled dead letters may be forgotten, open ones never: the policy says so too.
GRANT DELETE ON bus.dead_letters TO leadline_coordinator;
CREATE POLICY forget_settled ON bus.dead_letters FOR DELETE TO leadline_coordinator
    USING (coalesce(replayed_at, purged_at, resolved_at) IS NOT NULL);

-- A letter is found by the event that replayed it, when that could not be sent.
CREATE INDEX dead_letters_replayed ON bus.dead_letters (replay_event_id) WHERE replay_event_id IS NOT NULL;

-- Replaced results, by when they were replaced. SECURITY DEFINER: the coordinator decides for how long, and owns none of them.
CREATE INDEX results_history_replaced ON risk.results_history USING brin (replaced_at);
CREATE INDEX snapshots_history_replaced ON snapshots.snapshots_history USING brin (replaced_at);
CREATE INDEX holdings_history_replaced ON snapshots.holdings_history USING brin (replaced_at);
CREATE FUNCTION ledger.drop_history(p_before timestamptz, p_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_temp AS $$
DECLARE
    history regclass;
    gone bigint := 0;
    dropped bigint;
BEGIN
    IF p_before > clock_timestamp() - interval '1 day' THEN
        RAISE EXCEPTION 'histories are kept for a day at least';
    END IF;
    FOREACH history IN ARRAY ARRAY['risk.results_history', 'snapshots.snapshots_history', 'snapshots.holdings_history']::regclass[] LOOP
        EXECUTE format('DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT ctid FROM %s WHERE replaced_at < $1 LIMIT $2))', history, history)
        USING p_before, p_most - gone;
        GET DIAGNOSTICS dropped = ROW_COUNT;
        gone := gone + dropped;
    END LOOP;
    RETURN gone;
END
$$;
REVOKE EXECUTE ON FUNCTION ledger.drop_history FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.drop_history TO leadline_coordinator;
