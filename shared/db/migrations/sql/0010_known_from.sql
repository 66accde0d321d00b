-- When we began to believe a price or an action: with known_until of the histories, what was believed at any instant. It is not
-- fetched_at, which is when the source was asked: until the answer is written nobody has it.

-- One instant for all a transaction writes, so that of two rows one ends exactly where the other begins. Taken at the first write,
-- which is behind the commit-order lock: a later commit has a later instant.
CREATE FUNCTION ingest.instant() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('leadline.instant', true), '') = '' THEN
        PERFORM set_config('leadline.instant', CAST(clock_timestamp() AS text), true);
    END IF;
    RETURN CAST(current_setting('leadline.instant') AS timestamptz);
END $$;

-- The histories are filled by the order of columns: known_until stays their last.
ALTER TABLE ingest.prices ADD COLUMN known_from timestamptz;
ALTER TABLE ingest.prices_history RENAME COLUMN known_until TO replaced_at;
ALTER TABLE ingest.prices_history ADD COLUMN known_from timestamptz, ADD COLUMN known_until timestamptz;
UPDATE ingest.prices_history SET known_from = fetched_at, known_until = replaced_at;
UPDATE ingest.prices p SET known_from = coalesce(
    (SELECT max(h.known_until) FROM ingest.prices_history h WHERE h.symbol_id = p.symbol_id AND h.session = p.session), p.fetched_at);
ALTER TABLE ingest.prices ALTER COLUMN known_from SET DEFAULT ingest.instant(), ALTER COLUMN known_from SET NOT NULL;
ALTER TABLE ingest.prices_history
    DROP COLUMN replaced_at, ALTER COLUMN known_from SET NOT NULL,
    ALTER COLUMN known_until SET DEFAULT ingest.instant(), ALTER COLUMN known_until SET NOT NULL;

DROP TRIGGER keep_action ON ingest.actions;
ALTER TABLE ingest.actions ADD COLUMN known_from timestamptz;
ALTER TABLE ingest.actions_history RENAME COLUMN known_until TO replaced_at;
ALTER TABLE ingest.actions_history ADD COLUMN known_from timestamptz, ADD COLUMN known_until timestamptz;
UPDATE ingest.actions_history SET known_from = fetched_at, known_until = replaced_at;
UPDATE ingest.actions a SET known_from = coalesce(
    (SELECT max(h.known_until) FROM ingest.actions_history h
     WHERE h.symbol_id = a.symbol_id AND h.ex_session = a.ex_session AND h.type = a.type), a.fetched_at);
ALTER TABLE ingest.actions ALTER COLUMN known_from SET DEFAULT ingest.instant(), ALTER COLUMN known_from SET NOT NULL;
ALTER TABLE ingest.actions_history
    DROP COLUMN replaced_at, ALTER COLUMN known_from SET NOT NULL,
    ALTER COLUMN known_until SET DEFAULT ingest.instant(), ALTER COLUMN known_until SET NOT NULL;

-- Whoever changes a row, and whatever of it: what stood there goes to the history. A row written and changed in one transaction
-- was never seen.
CREATE FUNCTION ingest.keep_price() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.known_from < ingest.instant() THEN
        INSERT INTO ingest.prices_history SELECT OLD.*, ingest.instant();
    END IF;
    NEW.known_from := ingest.instant();
    RETURN NEW;
END $$;
CREATE TRIGGER keep_price BEFORE UPDATE ON ingest.prices FOR EACH ROW EXECUTE FUNCTION ingest.keep_price();

CREATE OR REPLACE FUNCTION ingest.keep_action() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ingest.actions_history SELECT OLD.*, ingest.instant();
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.known_from := ingest.instant();
    RETURN NEW;
END $$;
CREATE TRIGGER keep_action BEFORE UPDATE OR DELETE ON ingest.actions FOR EACH ROW EXECUTE FUNCTION ingest.keep_action();

-- As in 0003, but for the history, which the trigger fills.
CREATE OR REPLACE FUNCTION ingest.take_returns(p_before date, p_session date, p_change bigint) RETURNS void
LANGUAGE sql SET search_path = ingest, pg_temp AS $$
    WITH events AS (
        SELECT symbol_id, coalesce(min(value) FILTER (WHERE type = 'split'), 1) AS split,
               coalesce(min(value) FILTER (WHERE type = 'dividend'), 0) AS dividend
        FROM ingest.actions WHERE ex_session = p_session GROUP BY symbol_id
    ), ends AS (
        SELECT n.symbol_id, n.total_return AS old, n.return_basis AS old_basis,
               coalesce(n.return_basis, b.return_basis, CASE n.basis WHEN 'file' THEN 'price_only' ELSE 'actions' END) AS kind,
               n.adj_close / b.adj_close AS adjusted,
               coalesce(e.split, 1) * n.close / b.close AS price,
               coalesce(e.split, 1) * (n.close + coalesce(e.dividend, 0)) / b.close AS whole
        FROM ingest.prices n
        LEFT JOIN ingest.prices b ON b.symbol_id = n.symbol_id AND b.session = p_before
        LEFT JOIN events e ON e.symbol_id = n.symbol_id
        WHERE n.session = p_session
    ), taken AS (
        SELECT symbol_id, old, old_basis,
               coalesce(adjusted, CASE WHEN kind = 'actions' THEN whole ELSE price END) - 1.0 AS total_return,
               CASE WHEN adjusted IS NOT NULL THEN 'adjusted'
                    WHEN kind = 'actions' AND whole IS NOT NULL THEN 'actions'
                    WHEN price IS NOT NULL THEN 'price_only' END AS return_basis
        FROM ends
    ), moved AS MATERIALIZED (
        -- Rounding is no other number: a stored split-adjusted ratio keeps its digits.
        SELECT * FROM taken
        WHERE (total_return IS NULL) <> (old IS NULL) OR return_basis IS DISTINCT FROM old_basis
           OR abs(total_return - old) > 1e-12
    )
    UPDATE ingest.prices p SET total_return = m.total_return, return_basis = m.return_basis, change = p_change
    FROM moved m WHERE p.symbol_id = m.symbol_id AND p.session = p_session
$$;
