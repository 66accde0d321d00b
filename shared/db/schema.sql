-- The schema as the migrations up to 0059 leave it. Written by `python -m deploy.schema`: do not edit, add a migration.
-- Comments say why in shared/db/migrations/sql/; what each table is for is in docs/schema.md.
-- The roles are there before (shared/db/roles.py), and all of this is leadline_owner's. Foreign keys never leave a schema.

-- Functions are checked when they run: some name tables that come later.
SET check_function_bodies = off;

CREATE SCHEMA bus;
CREATE SCHEMA coordinator;
CREATE SCHEMA factors;
CREATE SCHEMA ingest;
CREATE SCHEMA ledger;
CREATE SCHEMA risk;
CREATE SCHEMA snapshots;

CREATE TYPE ledger.phase AS ENUM ('ingest', 'factors', 'snapshots', 'risk');
CREATE SEQUENCE ledger.change AS bigint;

CREATE OR REPLACE FUNCTION coordinator.asked_by_api()
 RETURNS boolean
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT session_user = 'leadline_api' OR current_setting('role') = 'leadline_api'
$function$;

CREATE OR REPLACE FUNCTION coordinator.for_all_at_once()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_temp'
AS $function$
BEGIN
    PERFORM coordinator.refuse_one_tenant();
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION coordinator.may_join(account uuid)
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_temp'
AS $function$
    SELECT NOT coordinator.asked_by_api() OR coalesce(current_setting('leadline.tenant', true) = '*', false) OR EXISTS (
        SELECT FROM coordinator.users u WHERE u.id = account AND (
            EXISTS (SELECT FROM coordinator.memberships m
                    WHERE m.user_id = u.id AND m.tenant_id BETWEEN coordinator.seen_from() AND coordinator.seen_to())
            OR (u.created_at >= now() AND NOT EXISTS (SELECT FROM coordinator.memberships m WHERE m.user_id = u.id)
                AND EXISTS (SELECT FROM coordinator.tenants o WHERE o.id BETWEEN coordinator.seen_from() AND coordinator.seen_to()))))
$function$;

CREATE OR REPLACE FUNCTION coordinator.refuse_one_tenant()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_temp'
AS $function$
BEGIN
    IF coordinator.asked_by_api() AND current_setting('leadline.tenant', true) IS DISTINCT FROM '*' THEN
        RAISE EXCEPTION 'what concerns the whole installation is changed for one tenant, or for none' USING
            ERRCODE = 'insufficient_privilege', HINT = 'leadline.tenant has to be *; shared/db/tenancy.py sets it.';
    END IF;
END
$function$;

CREATE OR REPLACE FUNCTION coordinator.refuse_unseen(p_portfolio uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION coordinator.seen_from()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT CASE WHEN current_setting('leadline.tenant', true) = '*' THEN CAST('00000000-0000-0000-0000-000000000000' AS uuid)
                WHEN current_setting('leadline.tenant', true) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    THEN CAST(current_setting('leadline.tenant', true) AS uuid) END
$function$;

CREATE OR REPLACE FUNCTION coordinator.seen_to()
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$
    SELECT CASE WHEN current_setting('leadline.tenant', true) = '*' THEN CAST('ffffffff-ffff-ffff-ffff-ffffffffffff' AS uuid)
                WHEN current_setting('leadline.tenant', true) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    THEN CAST(current_setting('leadline.tenant', true) AS uuid) END
$function$;

CREATE OR REPLACE FUNCTION coordinator.tell_run(run uuid)
 RETURNS TABLE(id uuid, source text, what text, requested_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_temp'
AS $function$
    SELECT r.id, r.source, r.what, r.requested_at FROM coordinator.runs r
    WHERE r.id = run AND (
        NOT coordinator.asked_by_api() OR current_setting('leadline.tenant', true) = '*'
        OR r.tenant_id BETWEEN coordinator.seen_from() AND coordinator.seen_to()
        OR (r.tenant_id IS NULL AND EXISTS (
            SELECT FROM coordinator.run_units u JOIN coordinator.portfolios p ON p.id = u.portfolio_id
            WHERE u.run_id = r.id AND p.tenant_id BETWEEN coordinator.seen_from() AND coordinator.seen_to())))
$function$;

CREATE OR REPLACE FUNCTION ingest.close_day(p_day date, p_before date, p_after date, p_change bigint)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'ingest', 'pg_temp'
AS $function$
BEGIN
    PERFORM coordinator.refuse_one_tenant();
    WITH gone AS (DELETE FROM ingest.prices WHERE session = p_day RETURNING *)
    INSERT INTO ingest.prices_history SELECT *, clock_timestamp() FROM gone;

    -- Two of a kind that fall on one session are one, as in services/ingest/workflow/assemble.py.
    INSERT INTO ingest.actions AS a
    SELECT symbol_id, p_after, type, value, ex_date, provider, fetched_at, p_change FROM ingest.actions WHERE ex_session = p_day
    ON CONFLICT (symbol_id, ex_session, type) DO UPDATE
    SET value = CASE a.type WHEN 'split' THEN a.value * excluded.value ELSE a.value + excluded.value END, change = p_change;
    DELETE FROM ingest.actions WHERE ex_session = p_day;

    DELETE FROM ingest.gaps WHERE first = p_day AND last = p_day;
    UPDATE ingest.gaps SET first = p_after WHERE first = p_day;
    UPDATE ingest.gaps SET last = p_before WHERE last = p_day;
    UPDATE ingest.symbols SET covered_from = NULL, covered_to = NULL WHERE covered_from = p_day AND covered_to = p_day;
    UPDATE ingest.symbols SET covered_from = p_after WHERE covered_from = p_day;
    UPDATE ingest.symbols SET covered_to = p_before WHERE covered_to = p_day;

    PERFORM ingest.take_returns(p_before, p_after, p_change);
END
$function$;

CREATE OR REPLACE FUNCTION ingest.instant()
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF coalesce(current_setting('leadline.instant', true), '') = '' THEN
        PERFORM set_config('leadline.instant', CAST(clock_timestamp() AS text), true);
    END IF;
    RETURN CAST(current_setting('leadline.instant') AS timestamptz);
END $function$;

CREATE OR REPLACE FUNCTION ingest.keep_action()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO ingest.actions_history SELECT OLD.*, ingest.instant();
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.known_from := ingest.instant();
    RETURN NEW;
END $function$;

CREATE OR REPLACE FUNCTION ingest.keep_price()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    IF OLD.known_from < ingest.instant() THEN
        INSERT INTO ingest.prices_history SELECT OLD.*, ingest.instant();
    END IF;
    NEW.known_from := ingest.instant();
    RETURN NEW;
END $function$;

CREATE OR REPLACE FUNCTION ingest.open_day(p_day date, p_before date, p_after date, p_change bigint)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'ingest', 'pg_temp'
AS $function$
BEGIN
    PERFORM coordinator.refuse_one_tenant();
    INSERT INTO ingest.prices
    SELECT DISTINCT ON (symbol_id) symbol_id, session, open, high, low, close, adj_close, volume, total_return, return_basis,
           basis, provider, fetched_at, p_change
    FROM ingest.prices_history h
    WHERE session = p_day
      AND NOT EXISTS (SELECT 1 FROM ingest.gaps g WHERE g.symbol_id = h.symbol_id AND p_day BETWEEN g.first AND g.last)
      -- Nor what another security's prices were, before the user said which one is meant (0004).
      AND NOT EXISTS (SELECT 1 FROM ingest.symbols s WHERE s.id = h.symbol_id AND s.replaced > h.change)
    ORDER BY symbol_id, known_until DESC
    ON CONFLICT (symbol_id, session) DO NOTHING;

    -- Two of a kind that were made one are two again, as the history has them.
    WITH apart AS MATERIALIZED (
        SELECT a.symbol_id, a.type, h.value AS here, h.ex_date AS here_on, h.provider, h.fetched_at,
               g.value AS there, g.ex_date AS there_on
        FROM ingest.actions a
        CROSS JOIN LATERAL (
            SELECT * FROM ingest.actions_history x
            WHERE x.symbol_id = a.symbol_id AND x.type = a.type AND x.ex_session = p_day ORDER BY x.known_until DESC LIMIT 1) h
        CROSS JOIN LATERAL (
            SELECT * FROM ingest.actions_history x
            WHERE x.symbol_id = a.symbol_id AND x.type = a.type AND x.ex_session = p_after ORDER BY x.known_until DESC LIMIT 1) g
        WHERE a.ex_session = p_after AND a.value = CASE a.type WHEN 'split' THEN g.value * h.value ELSE g.value + h.value END
    ), added AS (
        INSERT INTO ingest.actions
        SELECT symbol_id, p_day, type, here, here_on, provider, fetched_at, p_change FROM apart
    )
    UPDATE ingest.actions a SET value = p.there, ex_date = p.there_on, change = p_change
    FROM apart p WHERE a.symbol_id = p.symbol_id AND a.type = p.type AND a.ex_session = p_after;
    UPDATE ingest.actions SET ex_session = p_day, change = p_change
    WHERE ex_session = p_after AND ex_date > p_before AND ex_date <= p_day;

    INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at, retry_at)
    SELECT s.id, p_day, p_day, 'no_trade', false, 'calendar', clock_timestamp(), clock_timestamp()
    FROM ingest.symbols s
    WHERE p_day BETWEEN s.covered_from AND s.covered_to
      AND NOT EXISTS (SELECT 1 FROM ingest.prices p WHERE p.symbol_id = s.id AND p.session = p_day)
      AND NOT EXISTS (SELECT 1 FROM ingest.gaps g WHERE g.symbol_id = s.id AND p_day BETWEEN g.first AND g.last);

    PERFORM ingest.take_returns(p_before, p_day, p_change);
    PERFORM ingest.take_returns(p_day, p_after, p_change);
END
$function$;

CREATE OR REPLACE FUNCTION ingest.renew_prices_version()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    UPDATE ingest.prices_version SET version = gen_random_uuid();
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION ingest.take_calls(p_provider text, p_account text, p_wanted integer, p_least integer, p_share double precision, p_limits integer[], p_seconds double precision[], p_trip integer, p_lease interval)
 RETURNS TABLE(use_id bigint, granted integer, retry_at timestamp with time zone, reason text, fault text)
 LANGUAGE plpgsql
AS $function$
DECLARE
    state    ingest.providers;
    here     timestamptz;
    need     integer := p_least;
    used     integer;
    cap      integer;
    free_at  timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(7305102, hashtext(p_account));
    INSERT INTO ingest.providers (provider, account) VALUES (p_provider, p_account) ON CONFLICT DO NOTHING;
    SELECT * INTO state FROM ingest.providers p WHERE p.provider = p_provider AND p.account = p_account FOR UPDATE;
    here := clock_timestamp();
    fault := state.last_fault;
    granted := 0;
    IF state.closed_until > here THEN
        retry_at := state.closed_until;
        reason := state.closed_by;
        RETURN NEXT;
        RETURN;
    END IF;
    IF state.failures >= p_trip AND state.probe_until > here THEN
        retry_at := state.probe_until;
        reason := 'provider_down';
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT least(p_least, min(l)) INTO need FROM unnest(p_limits) AS l;
    granted := CASE WHEN state.failures >= p_trip THEN need ELSE p_wanted END;
    FOR i IN 1 .. coalesce(cardinality(p_limits), 0) LOOP
        cap := greatest(floor(p_limits[i] * p_share)::integer, need);
        SELECT coalesce(sum(calls), 0) INTO used FROM ingest.quota_uses
        WHERE account = p_account AND at > here - make_interval(secs => p_seconds[i]);
        IF cap - used < need THEN
            -- Uses leave the window in order of time; the first whose going makes room enough. Calls being made may end any
            -- moment: whoever waited for the end of their lease would mostly wait in vain.
            SELECT min(least(u.at, here)) + make_interval(secs => p_seconds[i]) INTO free_at FROM (
                SELECT at, sum(calls) OVER (ORDER BY at, id) AS gone FROM ingest.quota_uses
                WHERE account = p_account AND at > here - make_interval(secs => p_seconds[i])
            ) u WHERE cap - used + u.gone >= need;
            retry_at := greatest(retry_at, free_at);
        END IF;
        granted := least(granted, cap - used);
    END LOOP;
    IF retry_at IS NOT NULL THEN
        granted := 0;
        reason := 'rate_limited';
        fault := NULL;
        RETURN NEXT;
        RETURN;
    END IF;
    IF state.failures >= p_trip THEN
        UPDATE ingest.providers p SET probe_until = here + p_lease WHERE p.provider = p_provider AND p.account = p_account;
    END IF;
    IF cardinality(p_limits) > 0 THEN
        DELETE FROM ingest.quota_uses
        WHERE account = p_account AND at <= here - make_interval(secs => (SELECT max(s) FROM unnest(p_seconds) AS s));
        INSERT INTO ingest.quota_uses (account, calls, at) VALUES (p_account, granted, here + p_lease) RETURNING id INTO use_id;
    END IF;
    RETURN NEXT;
END $function$;

CREATE OR REPLACE FUNCTION ingest.take_returns(p_before date, p_session date, p_change bigint)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'ingest', 'pg_temp'
AS $function$
    WITH events AS (
        SELECT symbol_id, coalesce(min(value) FILTER (WHERE type = 'split'), 1) AS split,
               coalesce(min(value) FILTER (WHERE type = 'dividend'), 0) AS dividend
        FROM ingest.actions WHERE ex_session = p_session GROUP BY symbol_id
    ), taken AS (
        SELECT n.symbol_id, n.total_return AS old, n.return_basis AS old_basis, n.return_remark AS old_remark, t.*
        FROM ingest.prices n
        LEFT JOIN ingest.prices b ON b.symbol_id = n.symbol_id AND b.session = p_before
        LEFT JOIN events e ON e.symbol_id = n.symbol_id
        CROSS JOIN LATERAL ingest.taken_return(
            n.basis = 'as_traded', n.return_remark, n.adj_close / b.adj_close, coalesce(e.split, 1) * n.close / b.close,
            coalesce(e.split, 1) * (n.close + coalesce(e.dividend, 0)) / b.close, e.symbol_id IS NOT NULL) t
        WHERE n.session = p_session
    ), moved AS MATERIALIZED (
        -- Rounding is no other number: a stored split-adjusted ratio keeps its digits.
        SELECT * FROM taken
        WHERE (total_return IS NULL) <> (old IS NULL) OR return_basis IS DISTINCT FROM old_basis
           OR return_remark IS DISTINCT FROM old_remark OR abs(total_return - old) > 1e-12
    )
    UPDATE ingest.prices p
    SET total_return = m.total_return, return_basis = m.return_basis, return_remark = m.return_remark, change = p_change
    FROM moved m WHERE p.symbol_id = m.symbol_id AND p.session = p_session
$function$;

CREATE OR REPLACE FUNCTION ingest.taken_return(lists_actions boolean, remark text, adjusted double precision, price double precision, whole double precision, acted boolean, OUT total_return double precision, OUT return_basis text, OUT return_remark text)
 RETURNS record
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO 'ingest', 'pg_temp'
AS $function$
    SELECT CASE b.basis WHEN 'actions' THEN whole WHEN 'adjusted' THEN adjusted WHEN 'price_only' THEN price END - 1.0,
           b.basis,
           CASE WHEN b.basis IS NULL THEN NULL
                WHEN remark = 'dividend_in_foreign_currency' THEN remark
                WHEN b.basis = 'actions' AND acted AND abs(adjusted - whole) > 0.0020 THEN 'adj_close_disagrees'
                WHEN b.basis = 'adjusted' AND lists_actions AND NOT acted AND adjusted - price > 0.0020 THEN 'dividend_not_listed' END
    FROM (SELECT CASE WHEN acted AND lists_actions AND remark IS DISTINCT FROM 'dividend_in_foreign_currency' AND whole IS NOT NULL
                          THEN 'actions'
                      WHEN adjusted IS NOT NULL THEN 'adjusted'
                      WHEN lists_actions AND whole IS NOT NULL THEN 'actions'
                      WHEN price IS NOT NULL THEN 'price_only' END) AS b (basis)
$function$;

CREATE OR REPLACE FUNCTION ledger.begin_unseen()
 RETURNS uuid
 LANGUAGE plpgsql
AS $function$
DECLARE
    portfolio uuid := uuidv7();
BEGIN
    -- Whoever has the lock already keeps what it allows.
    IF current_setting('leadline.ordered', true) IS DISTINCT FROM 'yes' THEN
        PERFORM set_config('leadline.ordered', 'unseen', true), set_config('leadline.unseen', portfolio::text, true);
    END IF;
    RETURN portfolio;
END
$function$;

CREATE OR REPLACE FUNCTION ledger.drop_history(p_before timestamp with time zone, p_most integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION ledger.forget_portfolio_changes(most bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_temp'
AS $function$
DECLARE
    gone bigint;
BEGIN
    IF (SELECT count(*) FROM ledger.portfolio_changes) <= most THEN
        RETURN 0;
    END IF;
    DELETE FROM ledger.portfolio_changes;
    GET DIAGNOSTICS gone = ROW_COUNT;
    INSERT INTO ledger.portfolio_changes (portfolio_id) VALUES (NULL);
    RETURN gone;
END
$function$;

CREATE OR REPLACE FUNCTION ledger.keep_history()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_temp'
AS $function$
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
END $function$;

CREATE OR REPLACE FUNCTION ledger.note_portfolio_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_temp'
AS $function$
DECLARE
    before uuid;
    after  uuid;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO ledger.portfolio_changes (portfolio_id) VALUES (NULL);
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'portfolios' THEN
        before := OLD.id;
        after := NEW.id;
    ELSE
        before := OLD.portfolio_id;
        after := NEW.portfolio_id;
    END IF;
    INSERT INTO ledger.portfolio_changes (portfolio_id)
    SELECT DISTINCT of FROM (VALUES (before), (after)) AS v (of) WHERE of IS NOT NULL;
    PERFORM set_config('leadline.noted', coalesce(after, before)::text, true);
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION ledger.note_unit_changes()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_temp'
AS $function$
BEGIN
    WITH noted AS (
        SELECT portfolio_id, phase, min(session) AS first, max(session) AS last FROM changed GROUP BY portfolio_id, phase
    ), of_runs AS (
        INSERT INTO ledger.unit_changes (portfolio_id, phase, first, last) SELECT portfolio_id, phase, first, last FROM noted
    )
    INSERT INTO ledger.portfolio_changes (portfolio_id) SELECT DISTINCT portfolio_id FROM noted;
    INSERT INTO ledger.shortfall_changes (portfolio_id, phase, first, last)
    SELECT portfolio_id, phase, min(session), max(session) FROM changed WHERE quality = 'partial' GROUP BY portfolio_id, phase;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO ledger.shortfall_changes (portfolio_id, phase, first, last)
        SELECT portfolio_id, phase, min(session), max(session) FROM was WHERE quality = 'partial' GROUP BY portfolio_id, phase;
    END IF;
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION ledger.order_lock()
 RETURNS void
 LANGUAGE sql
AS $function$
    SELECT pg_advisory_xact_lock(7305101, 1);
    -- Until the transaction, or the savepoint, ends: as the lock.
    SELECT set_config('leadline.ordered', 'yes', true)
$function$;

CREATE OR REPLACE FUNCTION ledger.refuse_seen()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION ledger.refuse_unordered()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION ledger.release_withheld(p_portfolio uuid[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'ledger', 'pg_temp'
AS $function$
    WITH k AS (
        SELECT s.portfolio_id, s.phase FROM ledger.schedule s
        WHERE s.portfolio_id = ANY (p_portfolio) AND s.withheld_until IS NOT NULL
        ORDER BY s.portfolio_id, s.phase FOR NO KEY UPDATE
    )
    UPDATE ledger.schedule s SET withheld_until = NULL, next_at = now()
    FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
$function$;

CREATE OR REPLACE FUNCTION ledger.require(p_portfolio uuid[], p_from date[], p_to date[], p_phase ledger.phase[], p_revision bigint)
 RETURNS TABLE(portfolio_id uuid, session date, phase ledger.phase)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'ledger', 'pg_temp'
AS $function$
    SELECT coordinator.refuse_unseen(p_portfolio);
    WITH asked AS (
        SELECT * FROM unnest(p_portfolio, p_from, p_to, p_phase) AS a (portfolio_id, first, last, phase)
    ), closed AS (
        -- Of ranges that end together the longest holds the others: all the open ones of a portfolio become one.
        SELECT a.portfolio_id, c.phase, min(a.first) AS first, c.last
        FROM asked a
        CROSS JOIN LATERAL (VALUES
            ('ingest'::ledger.phase,    a.last,              a.phase = 'ingest'),
            ('factors'::ledger.phase,   a.last,              a.phase IN ('ingest', 'factors')),
            ('snapshots'::ledger.phase, 'infinity'::date,    a.phase IN ('ingest', 'snapshots')),
            ('risk'::ledger.phase,      CASE WHEN a.phase IN ('ingest', 'snapshots') THEN 'infinity'::date ELSE a.last END, true)
        ) AS c (phase, last, applies)
        WHERE c.applies
        GROUP BY a.portfolio_id, c.phase, c.last
    ), raised AS (
        UPDATE ledger.units u
        SET required_revision = p_revision, blocked_reason = NULL,
            required_at = CASE WHEN u.completed_revision >= u.required_revision THEN now() ELSE u.required_at END
        -- Locked in key order, as completions lock theirs, so that a raise and a completion never deadlock.
        -- Ranges may overlap: a row found twice is updated once.
        FROM (SELECT u2.portfolio_id, u2.session, u2.phase
              FROM closed c
              JOIN ledger.units u2 ON u2.portfolio_id = c.portfolio_id AND u2.phase = c.phase
                                  AND u2.session BETWEEN c.first AND c.last
              WHERE u2.required_revision < p_revision
              ORDER BY u2.portfolio_id, u2.session, u2.phase
              FOR NO KEY UPDATE OF u2) k
        WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = k.phase
          AND u.required_revision < p_revision
        RETURNING u.portfolio_id, u.session, u.phase
    ), rescheduled AS (
        UPDATE ledger.schedule s
        SET next_at = now() + interval '30 seconds', emits = 0, runs = 0, last_error = NULL, asked = NULL
        FROM (SELECT s2.portfolio_id, s2.phase FROM ledger.schedule s2
              JOIN (SELECT DISTINCT r.portfolio_id, r.phase FROM raised r) d
                  ON d.portfolio_id = s2.portfolio_id AND d.phase = s2.phase
              ORDER BY s2.portfolio_id, s2.phase
              FOR NO KEY UPDATE OF s2) k
        WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
    )
    SELECT r.portfolio_id, r.session, r.phase FROM raised r
$function$;

CREATE OR REPLACE FUNCTION ledger.thin_results(p_portfolios uuid[], p_before date, p_most integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_temp'
AS $function$
DECLARE
    thinned bigint;
BEGIN
    IF p_before > (clock_timestamp() - interval '60 days')::date THEN
        RAISE EXCEPTION 'risk of every session is kept for sixty days at least';
    END IF;
    WITH listed AS MATERIALIZED (
        SELECT portfolio_id, session, lag(session) OVER own AS earlier, lead(session) OVER own AS later
        FROM risk.results WHERE portfolio_id = ANY (p_portfolios) WINDOW own AS (PARTITION BY portfolio_id ORDER BY session)
    ), between_kept AS (
        SELECT portfolio_id, session FROM listed
        WHERE session < p_before AND earlier IS NOT NULL AND date_trunc('month', later) = date_trunc('month', session)
        EXCEPT
        SELECT portfolio_id, session FROM risk.results WHERE portfolio_id = ANY (p_portfolios) AND thinned_revision = revision
    ), due AS (
        SELECT r.portfolio_id, r.session FROM between_kept
        JOIN risk.results r USING (portfolio_id, session)
        JOIN ledger.units u ON u.portfolio_id = r.portfolio_id AND u.session = r.session AND u.phase = 'risk'
        WHERE u.completed_revision >= u.required_revision AND u.completed_revision = r.revision
          AND NOT r.provisional AND cardinality(r.symbols) > 0 AND r.exposures IS NOT NULL
          AND r.computed_at < clock_timestamp() - interval '7 days'
        ORDER BY r.portfolio_id, r.session LIMIT p_most
        FOR UPDATE OF r SKIP LOCKED
    )
    UPDATE risk.results r SET
        thinned_revision = r.revision, risk = '{}', symbols = NULL, weights = NULL, exposure_values = NULL, betas = NULL,
        beta_reasons = NULL, greeks = NULL, realized_252 = NULL, forecast_21 = NULL, har = NULL, series_reasons = NULL,
        excluded = NULL, contributions = NULL, contribution_shares = NULL, model_factors = NULL, factor_shares = NULL,
        factor_correlations = NULL, correlations = NULL, correlation_n_obs = NULL, clusters = NULL, shrinkage = NULL,
        mean_correlation = NULL, stress_reasons = NULL, stress_shocks = NULL, stress_capped = NULL, stress_direct = NULL,
        stress_propagated = NULL, uncovered_value = NULL, tilts = NULL, duration_as_of = NULL, tail_parts = NULL, nav = NULL,
        shocks_id = NULL
    FROM due WHERE r.portfolio_id = due.portfolio_id AND r.session = due.session;
    GET DIAGNOSTICS thinned = ROW_COUNT;
    RETURN thinned;
END
$function$;

CREATE OR REPLACE FUNCTION ledger.withdraw(p_portfolio uuid, p_before date)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'ledger', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION ledger.withdraw_after(p_portfolios uuid[], p_last date)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'ledger', 'pg_temp'
AS $function$
DECLARE
    gone bigint;
BEGIN
    WITH k AS (
        SELECT portfolio_id, session, phase FROM ledger.units
        WHERE portfolio_id = ANY (p_portfolios) AND session > p_last
        ORDER BY portfolio_id, session, phase FOR UPDATE
    )
    DELETE FROM ledger.units u USING k
    WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = k.phase;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM snapshots.snapshots WHERE portfolio_id = ANY (p_portfolios) AND session > p_last;
    DELETE FROM snapshots.holdings WHERE portfolio_id = ANY (p_portfolios) AND session > p_last;
    DELETE FROM risk.results WHERE portfolio_id = ANY (p_portfolios) AND session > p_last;
    RETURN gone;
END
$function$;

CREATE OR REPLACE FUNCTION ledger.withdraw_session(p_day date)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'ledger', 'pg_temp'
AS $function$
DECLARE
    gone bigint;
BEGIN
    PERFORM coordinator.refuse_one_tenant();
    WITH k AS (
        SELECT u.portfolio_id, u.phase FROM coordinator.portfolios p
        JOIN ledger.units u ON u.portfolio_id = p.id AND u.session = p_day
        ORDER BY u.portfolio_id, u.phase FOR UPDATE OF u
    )
    DELETE FROM ledger.units u USING k WHERE u.portfolio_id = k.portfolio_id AND u.session = p_day AND u.phase = k.phase;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM snapshots.snapshots r USING coordinator.portfolios p WHERE r.portfolio_id = p.id AND r.session = p_day;
    DELETE FROM snapshots.holdings r USING coordinator.portfolios p WHERE r.portfolio_id = p.id AND r.session = p_day;
    DELETE FROM risk.results r USING coordinator.portfolios p WHERE r.portfolio_id = p.id AND r.session = p_day;
    RETURN gone;
END
$function$;

CREATE OR REPLACE FUNCTION ledger.withhold(p_portfolio uuid[], p_until timestamp with time zone[], p_phase ledger.phase[])
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'ledger', 'pg_temp'
AS $function$
    WITH k AS (
        SELECT s.portfolio_id, s.phase, least(w.until, now() + interval '15 minutes') AS until
        FROM unnest(p_portfolio, p_until) AS w (portfolio_id, until)
        JOIN ledger.schedule s ON s.portfolio_id = w.portfolio_id AND s.phase = ANY (p_phase)
        ORDER BY s.portfolio_id, s.phase FOR NO KEY UPDATE OF s
    )
    UPDATE ledger.schedule s
    SET withheld_until = coalesce(s.withheld_until, k.until), next_at = coalesce(s.withheld_until, k.until)
    FROM k WHERE s.portfolio_id = k.portfolio_id AND s.phase = k.phase
$function$;

CREATE TABLE coordinator.audit_log (
    id         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at         timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    tenant_id  uuid NOT NULL,
    user_id    uuid,
    token_id   uuid,
    request_id uuid NOT NULL,
    method     text NOT NULL,
    path       text NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id),
    CONSTRAINT audit_log_request_id_key UNIQUE (request_id)
);
ALTER TABLE coordinator.audit_log ENABLE ROW LEVEL SECURITY;
CREATE INDEX audit_log_of_tenant ON coordinator.audit_log USING btree (tenant_id, id DESC);
CREATE POLICY others ON coordinator.audit_log TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.audit_log TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to))));

CREATE TABLE coordinator.benchmarks (
    code        text NOT NULL,
    date        date NOT NULL,
    change      bigint NOT NULL,
    sectors     text[] NOT NULL,
    weights     double precision[] NOT NULL,
    stated_sum  double precision NOT NULL,
    loaded_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    replaced_at timestamp with time zone,
    CONSTRAINT benchmarks_pkey PRIMARY KEY (code, date, change),
    CONSTRAINT a_weight_each CHECK (((cardinality(sectors) = cardinality(weights)) AND (cardinality(weights) > 0))),
    CONSTRAINT stated_sum_is_one CHECK (((stated_sum >= (0.99)::double precision) AND (stated_sum <= (1.01)::double precision))),
    CONSTRAINT weights_not_negative CHECK (((0)::double precision <= ALL (weights)))
);
CREATE UNIQUE INDEX benchmarks_current ON coordinator.benchmarks USING btree (code, date) WHERE (replaced_at IS NULL);
CREATE TRIGGER for_all_at_once BEFORE INSERT OR DELETE OR UPDATE ON coordinator.benchmarks FOR EACH STATEMENT EXECUTE FUNCTION coordinator.for_all_at_once();
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON coordinator.benchmarks FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();

CREATE TABLE coordinator.closures (
    day          date NOT NULL,
    close_at     timestamp with time zone,
    reason       text NOT NULL,
    entered_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    withdrawn_at timestamp with time zone,
    change       bigint,
    CONSTRAINT closures_pkey PRIMARY KEY (day),
    CONSTRAINT closures_reason_check CHECK ((reason <> ''::text))
);
CREATE TRIGGER for_all_at_once BEFORE INSERT OR DELETE OR UPDATE ON coordinator.closures FOR EACH STATEMENT EXECUTE FUNCTION coordinator.for_all_at_once();
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON coordinator.closures FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();

CREATE TABLE coordinator.fund_holdings (
    symbol    text NOT NULL,
    date      date NOT NULL,
    holdings  text[] NOT NULL,
    weights   double precision[] NOT NULL,
    sectors   text[] NOT NULL,
    loaded_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT fund_holdings_pkey PRIMARY KEY (symbol, date),
    CONSTRAINT a_weight_and_a_sector_each CHECK (((cardinality(holdings) = cardinality(weights)) AND (cardinality(holdings) = cardinality(sectors)) AND (cardinality(holdings) > 0))),
    CONSTRAINT weights_not_negative CHECK (((0)::double precision <= ALL (weights)))
);
CREATE TRIGGER for_all_at_once BEFORE INSERT OR DELETE OR UPDATE ON coordinator.fund_holdings FOR EACH STATEMENT EXECUTE FUNCTION coordinator.for_all_at_once();

CREATE TABLE coordinator.lookups (
    symbol   text NOT NULL,
    session  date NOT NULL,
    asked_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT lookups_pkey PRIMARY KEY (symbol, session)
);

CREATE TABLE coordinator.price_decisions (
    id         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    symbol     text NOT NULL,
    session    date NOT NULL,
    decision   text NOT NULL,
    reason     text NOT NULL,
    decided_by text NOT NULL,
    decided_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT price_decisions_pkey PRIMARY KEY (id),
    CONSTRAINT price_decisions_decision_check CHECK ((decision = ANY (ARRAY['release'::text, 'reject'::text])))
);
CREATE INDEX price_decisions_of ON coordinator.price_decisions USING btree (symbol, session, id DESC);
CREATE TRIGGER for_all_at_once BEFORE INSERT OR DELETE OR UPDATE ON coordinator.price_decisions FOR EACH STATEMENT EXECUTE FUNCTION coordinator.for_all_at_once();

CREATE TABLE coordinator.symbol_choices (
    symbol     text NOT NULL,
    chosen     text NOT NULL,
    valid_from date NOT NULL DEFAULT '-infinity'::date,
    valid_to   date NOT NULL DEFAULT 'infinity'::date,
    chosen_at  timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT symbol_choices_pkey PRIMARY KEY (symbol, valid_from),
    CONSTRAINT symbol_choices_check CHECK ((valid_from <= valid_to))
);
CREATE TRIGGER for_all_at_once BEFORE INSERT OR DELETE OR UPDATE ON coordinator.symbol_choices FOR EACH STATEMENT EXECUTE FUNCTION coordinator.for_all_at_once();

CREATE TABLE coordinator.tenants (
    id               uuid NOT NULL DEFAULT uuidv7(),
    name             text NOT NULL,
    created_at       timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    closed_at        timestamp with time zone,
    max_portfolios   integer,
    max_lots         integer,
    max_streams      integer,
    calls_per_second double precision,
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_name_key UNIQUE (name),
    CONSTRAINT tenants_calls_per_second_check CHECK ((calls_per_second > (0)::double precision)),
    CONSTRAINT tenants_max_lots_check CHECK ((max_lots >= 0)),
    CONSTRAINT tenants_max_portfolios_check CHECK ((max_portfolios >= 0)),
    CONSTRAINT tenants_max_streams_check CHECK ((max_streams >= 0)),
    CONSTRAINT tenants_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100)))
);
ALTER TABLE coordinator.tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY changed ON coordinator.tenants FOR UPDATE TO leadline_api USING ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text)) WITH CHECK ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text));
CREATE POLICY made ON coordinator.tenants FOR INSERT TO leadline_api WITH CHECK ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text));
CREATE POLICY others ON coordinator.tenants TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.tenants FOR SELECT TO leadline_api USING (((id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (id <= ( SELECT coordinator.seen_to() AS seen_to))));
CREATE POLICY removed ON coordinator.tenants FOR DELETE TO leadline_api USING ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text));

CREATE TABLE coordinator.idempotency (
    key          text NOT NULL,
    endpoint     text NOT NULL,
    request_hash text NOT NULL,
    status       integer NOT NULL,
    response     jsonb,
    created_at   timestamp with time zone NOT NULL DEFAULT now(),
    large        bytea,
    tenant_id    uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001'::uuid,
    CONSTRAINT idempotency_pkey PRIMARY KEY (tenant_id, key, endpoint),
    CONSTRAINT idempotency_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id)
);
ALTER TABLE coordinator.idempotency ENABLE ROW LEVEL SECURITY;
CREATE INDEX idempotency_created ON coordinator.idempotency USING btree (created_at);
CREATE INDEX idempotency_large ON coordinator.idempotency USING btree (created_at) WHERE (large IS NOT NULL);
CREATE POLICY others ON coordinator.idempotency TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.idempotency TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to))));

CREATE TABLE coordinator.import_mappings (
    name      text NOT NULL,
    settings  jsonb NOT NULL,
    saved_at  timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    tenant_id uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001'::uuid,
    CONSTRAINT import_mappings_pkey PRIMARY KEY (tenant_id, name),
    CONSTRAINT import_mappings_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id)
);
ALTER TABLE coordinator.import_mappings ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON coordinator.import_mappings TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.import_mappings TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to))));

CREATE TABLE coordinator.portfolios (
    id             uuid NOT NULL DEFAULT uuidv7(),
    name           text NOT NULL,
    account_type   text NOT NULL,
    currency       text NOT NULL DEFAULT 'USD'::text,
    equity_balance numeric(20,4) NOT NULL,
    first_session  date,
    created_at     timestamp with time zone NOT NULL DEFAULT now(),
    updated_at     timestamp with time zone NOT NULL DEFAULT now(),
    deleted_at     timestamp with time zone,
    tenant_id      uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001'::uuid,
    CONSTRAINT portfolios_pkey PRIMARY KEY (id),
    CONSTRAINT portfolios_equity_balance_check CHECK ((equity_balance > (0)::numeric)),
    CONSTRAINT portfolios_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id)
);
ALTER TABLE coordinator.portfolios ENABLE ROW LEVEL SECURITY;
CREATE INDEX portfolios_active ON coordinator.portfolios USING btree (id) WHERE (deleted_at IS NULL);
CREATE INDEX portfolios_of_tenant ON coordinator.portfolios USING btree (tenant_id, id);
CREATE TRIGGER note_delete BEFORE DELETE ON coordinator.portfolios FOR EACH ROW WHEN ((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (old.id)::text)) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_insert BEFORE INSERT ON coordinator.portfolios FOR EACH ROW WHEN ((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (new.id)::text)) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON coordinator.portfolios FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_update BEFORE UPDATE ON coordinator.portfolios FOR EACH ROW WHEN (((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (new.id)::text) OR (old.id <> new.id))) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON coordinator.portfolios FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();
CREATE TRIGGER unseen AFTER INSERT ON coordinator.portfolios REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_seen('id');
CREATE POLICY others ON coordinator.portfolios TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.portfolios TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to))));

CREATE TABLE coordinator.flows (
    id           uuid NOT NULL DEFAULT uuidv7(),
    portfolio_id uuid NOT NULL,
    date         date NOT NULL,
    session      date NOT NULL,
    amount       numeric(20,4) NOT NULL,
    note         text,
    created_at   timestamp with time zone NOT NULL DEFAULT now(),
    deleted_at   timestamp with time zone,
    CONSTRAINT flows_pkey PRIMARY KEY (id),
    CONSTRAINT flows_amount_check CHECK ((amount <> (0)::numeric)),
    CONSTRAINT flows_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES coordinator.portfolios(id)
);
ALTER TABLE coordinator.flows ENABLE ROW LEVEL SECURITY;
CREATE INDEX flows_of_portfolio ON coordinator.flows USING btree (portfolio_id, session) WHERE (deleted_at IS NULL);
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON coordinator.flows FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();
CREATE POLICY others ON coordinator.flows TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.flows TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE coordinator.imports (
    id           uuid NOT NULL DEFAULT uuidv7(),
    portfolio_id uuid NOT NULL,
    filename     text,
    kind         text NOT NULL,
    preset       text,
    dialect      text NOT NULL,
    rows         integer NOT NULL,
    imported_at  timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    undone_at    timestamp with time zone,
    CONSTRAINT imports_pkey PRIMARY KEY (id),
    CONSTRAINT imports_kind_check CHECK ((kind = ANY (ARRAY['positions'::text, 'trades'::text]))),
    CONSTRAINT imports_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES coordinator.portfolios(id)
);
ALTER TABLE coordinator.imports ENABLE ROW LEVEL SECURITY;
CREATE INDEX imports_of_portfolio ON coordinator.imports USING btree (portfolio_id, id);
CREATE POLICY others ON coordinator.imports TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.imports TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE coordinator.limits (
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    name         text NOT NULL,
    portfolio_id uuid,
    figure       text NOT NULL,
    op           text NOT NULL,
    value        double precision NOT NULL,
    created_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    tenant_id    uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001'::uuid,
    CONSTRAINT limits_pkey PRIMARY KEY (id),
    CONSTRAINT limits_figure_check CHECK (((length(figure) >= 1) AND (length(figure) <= 200))),
    CONSTRAINT limits_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT limits_op_check CHECK ((op = ANY (ARRAY['>'::text, '>='::text, '<'::text, '<='::text]))),
    CONSTRAINT limits_value_check CHECK (((value = value) AND (abs(value) < 'Infinity'::double precision))),
    CONSTRAINT limits_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES coordinator.portfolios(id) ON DELETE CASCADE,
    CONSTRAINT limits_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id)
);
ALTER TABLE coordinator.limits ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON coordinator.limits TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.limits TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)) AND ((portfolio_id IS NULL) OR (portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)))));

CREATE TABLE coordinator.limit_states (
    limit_id     uuid NOT NULL,
    portfolio_id uuid NOT NULL,
    state        text NOT NULL,
    since        timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    value        double precision,
    detail       text,
    session      date,
    seen         text NOT NULL,
    CONSTRAINT limit_states_pkey PRIMARY KEY (limit_id, portfolio_id),
    CONSTRAINT limit_states_state_check CHECK ((state = ANY (ARRAY['kept'::text, 'breached'::text]))),
    CONSTRAINT limit_states_limit_id_fkey FOREIGN KEY (limit_id) REFERENCES coordinator.limits(id) ON DELETE CASCADE,
    CONSTRAINT limit_states_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES coordinator.portfolios(id) ON DELETE CASCADE
);
ALTER TABLE coordinator.limit_states ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON coordinator.limit_states TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.limit_states TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK (((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)) AND (limit_id IN ( SELECT limits.id
   FROM coordinator.limits))));

CREATE TABLE coordinator.positions (
    id                 uuid NOT NULL DEFAULT uuidv7(),
    portfolio_id       uuid NOT NULL,
    symbol             text NOT NULL,
    quantity           numeric(28,10) NOT NULL,
    entry_date         date NOT NULL,
    entry_session      date NOT NULL,
    entry_price        numeric(28,10) NOT NULL,
    exit_date          date,
    exit_session       date,
    exit_price         numeric(28,10),
    investment_class   text NOT NULL,
    investment_subtype text,
    underlying_symbol  text,
    strike_price       numeric(28,10),
    expiration_date    date,
    option_type        text,
    name               text,
    sector             text,
    price_basis        text NOT NULL DEFAULT 'as_traded'::text,
    basis_assumed      boolean NOT NULL DEFAULT false,
    basis_reason       text,
    basis_awaits       date,
    stated_quantity    numeric(28,10) NOT NULL,
    stated_entry_price numeric(28,10) NOT NULL,
    stated_exit_price  numeric(28,10),
    content_key        text,
    created_at         timestamp with time zone NOT NULL DEFAULT now(),
    deleted_at         timestamp with time zone,
    updated_at         timestamp with time zone,
    from_trades        boolean NOT NULL DEFAULT false,
    CONSTRAINT positions_pkey PRIMARY KEY (id),
    CONSTRAINT assumed_awaits CHECK (((NOT basis_assumed) OR (basis_awaits IS NOT NULL))),
    CONSTRAINT exit_after_entry CHECK (((exit_date IS NULL) OR (exit_date >= entry_date))),
    CONSTRAINT exit_is_whole CHECK ((((exit_date IS NULL) = (exit_session IS NULL)) AND ((exit_date IS NULL) = (exit_price IS NULL)))),
    CONSTRAINT positions_basis_reason_check CHECK ((basis_reason = ANY (ARRAY['stated'::text, 'stated_mismatch'::text, 'compared'::text, 'ambiguous'::text, 'mismatch'::text, 'no_close'::text]))),
    CONSTRAINT positions_entry_price_check CHECK ((entry_price >= (0)::numeric)),
    CONSTRAINT positions_exit_price_check CHECK ((exit_price >= (0)::numeric)),
    CONSTRAINT positions_investment_class_check CHECK ((investment_class = ANY (ARRAY['PUBLIC'::text, 'OPTIONS'::text, 'PRIVATE'::text]))),
    CONSTRAINT positions_option_type_check CHECK ((option_type = ANY (ARRAY['CALL'::text, 'PUT'::text]))),
    CONSTRAINT positions_price_basis_check CHECK ((price_basis = ANY (ARRAY['as_traded'::text, 'split_adjusted'::text, 'adjusted'::text]))),
    CONSTRAINT positions_quantity_check CHECK ((quantity <> (0)::numeric)),
    CONSTRAINT positions_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES coordinator.portfolios(id)
);
ALTER TABLE coordinator.positions ENABLE ROW LEVEL SECURITY;
CREATE INDEX positions_awaiting ON coordinator.positions USING btree (portfolio_id) WHERE ((deleted_at IS NULL) AND (basis_awaits IS NOT NULL));
CREATE UNIQUE INDEX positions_content ON coordinator.positions USING btree (portfolio_id, content_key) WHERE ((deleted_at IS NULL) AND (content_key IS NOT NULL));
CREATE INDEX positions_of_portfolio ON coordinator.positions USING btree (portfolio_id) WHERE (deleted_at IS NULL);
CREATE INDEX positions_of_symbol ON coordinator.positions USING btree (symbol) WHERE (deleted_at IS NULL);
CREATE TRIGGER note_delete BEFORE DELETE ON coordinator.positions FOR EACH ROW WHEN ((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (old.portfolio_id)::text)) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_insert BEFORE INSERT ON coordinator.positions FOR EACH ROW WHEN ((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (new.portfolio_id)::text)) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON coordinator.positions FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_update BEFORE UPDATE ON coordinator.positions FOR EACH ROW WHEN (((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (new.portfolio_id)::text) OR (old.portfolio_id <> new.portfolio_id))) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON coordinator.positions FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();
CREATE TRIGGER unseen AFTER INSERT ON coordinator.positions REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_seen('portfolio_id');
CREATE POLICY others ON coordinator.positions TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.positions TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE coordinator.import_lots (
    import_id   uuid NOT NULL,
    position_id uuid NOT NULL,
    stated      jsonb NOT NULL,
    CONSTRAINT import_lots_pkey PRIMARY KEY (import_id, position_id),
    CONSTRAINT import_lots_import_id_fkey FOREIGN KEY (import_id) REFERENCES coordinator.imports(id),
    CONSTRAINT import_lots_position_id_fkey FOREIGN KEY (position_id) REFERENCES coordinator.positions(id)
);
ALTER TABLE coordinator.import_lots ENABLE ROW LEVEL SECURITY;
CREATE INDEX import_lots_of_position ON coordinator.import_lots USING btree (position_id);
CREATE POLICY others ON coordinator.import_lots TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.import_lots TO leadline_api USING ((import_id IN ( SELECT imports.id
   FROM coordinator.imports))) WITH CHECK (((import_id IN ( SELECT imports.id
   FROM coordinator.imports)) AND (EXISTS ( SELECT
   FROM coordinator.positions p
  WHERE (p.id = import_lots.position_id)))));

CREATE TABLE coordinator.runs (
    id           uuid NOT NULL DEFAULT uuidv7(),
    source       text NOT NULL,
    what         text NOT NULL,
    scope        jsonb NOT NULL,
    scope_key    text NOT NULL,
    requested_at timestamp with time zone NOT NULL DEFAULT now(),
    tenant_id    uuid,
    CONSTRAINT runs_pkey PRIMARY KEY (id),
    CONSTRAINT runs_source_check CHECK ((source = ANY (ARRAY['onboarding'::text, 'cron'::text, 'settings'::text, 'admin'::text, 'reconciler'::text, 'cli'::text]))),
    CONSTRAINT runs_what_check CHECK ((what = ANY (ARRAY['missing'::text, 'failed'::text, 'all'::text]))),
    CONSTRAINT runs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id)
);
ALTER TABLE coordinator.runs ENABLE ROW LEVEL SECURITY;
CREATE INDEX runs_by_scope ON coordinator.runs USING btree (source, what, scope_key, requested_at DESC);
CREATE INDEX runs_by_time ON coordinator.runs USING btree (requested_at DESC);
CREATE INDEX runs_of_tenant ON coordinator.runs USING btree (tenant_id, id DESC);
CREATE POLICY others ON coordinator.runs TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.runs TO leadline_api USING ((((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to))) OR ((tenant_id IS NULL) AND (( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text)))) WITH CHECK ((((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to))) OR ((tenant_id IS NULL) AND (( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text))));

CREATE TABLE coordinator.run_units (
    run_id            uuid NOT NULL,
    portfolio_id      uuid NOT NULL,
    phase             ledger.phase NOT NULL,
    first             date NOT NULL,
    last              date NOT NULL,
    units             integer NOT NULL,
    required_revision bigint NOT NULL,
    CONSTRAINT run_units_pkey PRIMARY KEY (run_id, portfolio_id, phase, first),
    CONSTRAINT run_units_units_check CHECK ((units > 0)),
    CONSTRAINT run_units_run_id_fkey FOREIGN KEY (run_id) REFERENCES coordinator.runs(id) ON DELETE CASCADE
);
ALTER TABLE coordinator.run_units ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON coordinator.run_units TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.run_units TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK (((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)) AND (EXISTS ( SELECT
   FROM coordinator.runs r
  WHERE (r.id = run_units.run_id)))));

CREATE TABLE coordinator.trades (
    id           uuid NOT NULL DEFAULT uuidv7(),
    portfolio_id uuid NOT NULL,
    import_id    uuid NOT NULL,
    "row"        integer NOT NULL,
    kind         text NOT NULL,
    symbol       text NOT NULL,
    day          date NOT NULL,
    "time"       text NOT NULL DEFAULT ''::text,
    sequence     integer NOT NULL,
    quantity     numeric(28,10) NOT NULL,
    price        numeric(28,10),
    broker_id    text,
    name         text,
    trade_key    text NOT NULL,
    price_basis  text,
    opens_rest   boolean NOT NULL DEFAULT false,
    CONSTRAINT trades_pkey PRIMARY KEY (id),
    CONSTRAINT trades_kind_check CHECK ((kind = ANY (ARRAY['buy'::text, 'sell'::text, 'short'::text, 'cover'::text, 'expire'::text, 'split'::text, 'receive'::text]))),
    CONSTRAINT trades_price_basis_check CHECK ((price_basis = ANY (ARRAY['as_traded'::text, 'split_adjusted'::text]))),
    CONSTRAINT trades_price_check CHECK ((price >= (0)::numeric)),
    CONSTRAINT trades_quantity_check CHECK ((quantity > (0)::numeric)),
    CONSTRAINT trades_import_id_fkey FOREIGN KEY (import_id) REFERENCES coordinator.imports(id),
    CONSTRAINT trades_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES coordinator.portfolios(id)
);
ALTER TABLE coordinator.trades ENABLE ROW LEVEL SECURITY;
CREATE INDEX trades_of_portfolio ON coordinator.trades USING btree (portfolio_id, day);
CREATE UNIQUE INDEX trades_once ON coordinator.trades USING btree (import_id, trade_key);
CREATE POLICY others ON coordinator.trades TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.trades TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK (((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)) AND (import_id IN ( SELECT imports.id
   FROM coordinator.imports))));

CREATE TABLE coordinator.users (
    id          uuid NOT NULL DEFAULT uuidv7(),
    kind        text NOT NULL,
    issuer      text,
    subject     text,
    created_at  timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    disabled_at timestamp with time zone,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_issuer_subject_key UNIQUE (issuer, subject),
    CONSTRAINT users_check CHECK (((issuer IS NULL) = (subject IS NULL))),
    CONSTRAINT users_kind_check CHECK ((kind = ANY (ARRAY['person'::text, 'service'::text])))
);
ALTER TABLE coordinator.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY changed ON coordinator.users FOR UPDATE TO leadline_api USING ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text)) WITH CHECK ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text));
CREATE POLICY made ON coordinator.users FOR INSERT TO leadline_api WITH CHECK (((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text) OR ((issuer IS NULL) AND (EXISTS ( SELECT
   FROM coordinator.tenants)))));
CREATE POLICY others ON coordinator.users TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY removed ON coordinator.users FOR DELETE TO leadline_api USING ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text));

CREATE TABLE coordinator.invitations (
    id          uuid NOT NULL DEFAULT uuidv7(),
    tenant_id   uuid NOT NULL,
    name        text NOT NULL,
    role        text NOT NULL,
    digest      bytea NOT NULL,
    created_at  timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone,
    accepted_by uuid,
    revoked_at  timestamp with time zone,
    CONSTRAINT invitations_pkey PRIMARY KEY (id),
    CONSTRAINT invitations_digest_key UNIQUE (digest),
    CONSTRAINT invitations_digest_check CHECK ((length(digest) = 32)),
    CONSTRAINT invitations_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT invitations_role_check CHECK ((role = ANY (ARRAY['reader'::text, 'editor'::text, 'operator'::text]))),
    CONSTRAINT invitations_accepted_by_fkey FOREIGN KEY (accepted_by) REFERENCES coordinator.users(id),
    CONSTRAINT invitations_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id)
);
ALTER TABLE coordinator.invitations ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON coordinator.invitations TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);

CREATE TABLE coordinator.memberships (
    user_id       uuid NOT NULL,
    tenant_id     uuid NOT NULL,
    name          text NOT NULL,
    role          text NOT NULL,
    created_at    timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    signed_out_at timestamp with time zone,
    CONSTRAINT memberships_pkey PRIMARY KEY (user_id, tenant_id),
    CONSTRAINT memberships_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT memberships_role_check CHECK ((role = ANY (ARRAY['reader'::text, 'editor'::text, 'operator'::text]))),
    CONSTRAINT memberships_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id),
    CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES coordinator.users(id) ON DELETE CASCADE
);
ALTER TABLE coordinator.memberships ENABLE ROW LEVEL SECURITY;
CREATE INDEX memberships_of_tenant ON coordinator.memberships USING btree (tenant_id);
CREATE POLICY others ON coordinator.memberships TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.memberships TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)) AND coordinator.may_join(user_id)));

CREATE TABLE coordinator.tokens (
    id           uuid NOT NULL DEFAULT gen_random_uuid(),
    name         text NOT NULL,
    role         text NOT NULL,
    digest       bytea NOT NULL,
    created_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at   timestamp with time zone,
    tenant_id    uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001'::uuid,
    user_id      uuid,
    CONSTRAINT tokens_pkey PRIMARY KEY (id),
    CONSTRAINT tokens_digest_key UNIQUE (digest),
    CONSTRAINT tokens_digest_check CHECK ((length(digest) = 32)),
    CONSTRAINT tokens_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT tokens_role_check CHECK ((role = ANY (ARRAY['reader'::text, 'editor'::text, 'operator'::text]))),
    CONSTRAINT tokens_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id),
    CONSTRAINT tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES coordinator.users(id)
);
ALTER TABLE coordinator.tokens ENABLE ROW LEVEL SECURITY;
CREATE UNIQUE INDEX tokens_name ON coordinator.tokens USING btree (tenant_id, name) WHERE (revoked_at IS NULL);
CREATE POLICY others ON coordinator.tokens TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.tokens TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)) AND ((user_id IS NULL) OR (revoked_at IS NOT NULL) OR (EXISTS ( SELECT
   FROM coordinator.memberships m
  WHERE ((m.user_id = tokens.user_id) AND (m.tenant_id = tokens.tenant_id)))))));

CREATE TABLE coordinator.versions (
    name    text NOT NULL,
    version text NOT NULL,
    since   timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT versions_pkey PRIMARY KEY (name),
    CONSTRAINT versions_name_check CHECK ((name = ANY (ARRAY['code'::text, 'model'::text, 'sector_benchmark'::text])))
);
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON coordinator.versions FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();

CREATE TABLE coordinator.webhooks (
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    name       text NOT NULL,
    url        text NOT NULL,
    secret     text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    tenant_id  uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001'::uuid,
    CONSTRAINT webhooks_pkey PRIMARY KEY (id),
    CONSTRAINT webhooks_name_key UNIQUE (tenant_id, name),
    CONSTRAINT webhooks_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT webhooks_url_check CHECK (((length(url) >= 1) AND (length(url) <= 2000))),
    CONSTRAINT webhooks_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES coordinator.tenants(id)
);
ALTER TABLE coordinator.webhooks ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON coordinator.webhooks TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.webhooks TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to))));

CREATE TABLE coordinator.notifications (
    id           bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    delivery     uuid NOT NULL DEFAULT gen_random_uuid(),
    webhook_id   uuid NOT NULL,
    event        text NOT NULL,
    body         jsonb NOT NULL,
    created_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    attempts     integer NOT NULL DEFAULT 0,
    due_at       timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    last_error   text,
    delivered_at timestamp with time zone,
    gave_up_at   timestamp with time zone,
    CONSTRAINT notifications_pkey PRIMARY KEY (id),
    CONSTRAINT notifications_event_check CHECK ((event = ANY (ARRAY['limit.breached'::text, 'limit.kept'::text, 'test'::text]))),
    CONSTRAINT notifications_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES coordinator.webhooks(id) ON DELETE CASCADE
);
ALTER TABLE coordinator.notifications ENABLE ROW LEVEL SECURITY;
CREATE INDEX notifications_open ON coordinator.notifications USING btree (webhook_id, id) WHERE ((delivered_at IS NULL) AND (gave_up_at IS NULL));
CREATE POLICY others ON coordinator.notifications TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.notifications TO leadline_api USING ((webhook_id IN ( SELECT webhooks.id
   FROM coordinator.webhooks))) WITH CHECK ((webhook_id IN ( SELECT webhooks.id
   FROM coordinator.webhooks)));

CREATE TABLE coordinator.subscriptions (
    webhook_id   uuid NOT NULL,
    limit_id     uuid NOT NULL,
    portfolio_id uuid NOT NULL,
    state        text NOT NULL,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (webhook_id, limit_id, portfolio_id),
    CONSTRAINT subscriptions_state_check CHECK ((state = ANY (ARRAY['kept'::text, 'breached'::text]))),
    CONSTRAINT subscriptions_limit_id_fkey FOREIGN KEY (limit_id) REFERENCES coordinator.limits(id) ON DELETE CASCADE,
    CONSTRAINT subscriptions_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES coordinator.portfolios(id) ON DELETE CASCADE,
    CONSTRAINT subscriptions_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES coordinator.webhooks(id) ON DELETE CASCADE
);
ALTER TABLE coordinator.subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON coordinator.subscriptions TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON coordinator.subscriptions TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK (((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)) AND ((limit_id IN ( SELECT limits.id
   FROM coordinator.limits)) AND (webhook_id IN ( SELECT webhooks.id
   FROM coordinator.webhooks)))));

CREATE TABLE ingest.actions_history (
    symbol_id   integer NOT NULL,
    ex_session  date NOT NULL,
    type        text NOT NULL,
    value       double precision NOT NULL,
    ex_date     date NOT NULL,
    provider    text NOT NULL,
    fetched_at  timestamp with time zone NOT NULL,
    change      bigint NOT NULL,
    known_from  timestamp with time zone NOT NULL,
    known_until timestamp with time zone NOT NULL DEFAULT ingest.instant()
);

CREATE TABLE ingest.aliases (
    symbol     text NOT NULL,
    target     text NOT NULL,
    valid_from date NOT NULL DEFAULT '-infinity'::date,
    valid_to   date NOT NULL DEFAULT 'infinity'::date,
    renamed_on date,
    provider   text NOT NULL,
    found_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT aliases_pkey PRIMARY KEY (symbol, valid_from),
    CONSTRAINT aliases_check CHECK ((target <> symbol)),
    CONSTRAINT aliases_check1 CHECK ((valid_from <= valid_to))
);

CREATE TABLE ingest.chain (
    rank        integer NOT NULL,
    provider    text NOT NULL,
    account     text,
    limits      integer[] NOT NULL,
    seconds     double precision[] NOT NULL,
    calls_each  double precision NOT NULL,
    calls_fifty double precision NOT NULL,
    CONSTRAINT chain_pkey PRIMARY KEY (rank)
);

CREATE TABLE ingest.lookups (
    symbol      text NOT NULL,
    session     date NOT NULL,
    answered_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    provider    text NOT NULL,
    found       boolean NOT NULL,
    company     text,
    close       double precision,
    adjusted    double precision,
    suggestions text[] NOT NULL DEFAULT '{}'::text[],
    CONSTRAINT lookups_pkey PRIMARY KEY (symbol, session)
);

CREATE TABLE ingest.prices (
    symbol_id     integer NOT NULL,
    session       date NOT NULL,
    open          double precision,
    high          double precision,
    low           double precision,
    close         double precision,
    adj_close     double precision,
    volume        double precision,
    total_return  double precision,
    return_basis  text,
    basis         text NOT NULL,
    provider      text NOT NULL,
    fetched_at    timestamp with time zone NOT NULL,
    change        bigint NOT NULL,
    known_from    timestamp with time zone NOT NULL DEFAULT ingest.instant(),
    return_remark text,
    CONSTRAINT prices_pkey PRIMARY KEY (symbol_id, session),
    CONSTRAINT has_a_price CHECK (((close > (0)::double precision) OR (adj_close > (0)::double precision))),
    CONSTRAINT prices_basis_check CHECK ((basis = ANY (ARRAY['as_traded'::text, 'file'::text]))),
    CONSTRAINT prices_return_basis_check CHECK ((return_basis = ANY (ARRAY['adjusted'::text, 'price_only'::text, 'actions'::text]))),
    CONSTRAINT prices_return_remark_check CHECK ((return_remark = ANY (ARRAY['adj_close_disagrees'::text, 'dividend_not_listed'::text, 'dividend_in_foreign_currency'::text])))
) PARTITION BY RANGE (session);
ALTER TABLE ingest.prices ADD CONSTRAINT prices_are_finite CHECK (((open > (0)::double precision) AND (open < 'Infinity'::double precision) AND (high > (0)::double precision) AND (high < 'Infinity'::double precision) AND (low > (0)::double precision) AND (low < 'Infinity'::double precision) AND (close > (0)::double precision) AND (close < 'Infinity'::double precision) AND (adj_close > (0)::double precision) AND (adj_close < 'Infinity'::double precision) AND (volume >= (0)::double precision) AND (volume < 'Infinity'::double precision) AND (total_return >= ('-1'::integer)::double precision) AND (total_return < 'Infinity'::double precision))) NOT VALID;
CREATE TRIGGER keep_price BEFORE UPDATE ON ingest.prices FOR EACH ROW EXECUTE FUNCTION ingest.keep_price();
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON ingest.prices FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();
CREATE TRIGGER renew_version AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON ingest.prices FOR EACH STATEMENT EXECUTE FUNCTION ingest.renew_prices_version();

CREATE TABLE ingest.prices_history (
    symbol_id     integer NOT NULL,
    session       date NOT NULL,
    open          double precision,
    high          double precision,
    low           double precision,
    close         double precision,
    adj_close     double precision,
    volume        double precision,
    total_return  double precision,
    return_basis  text,
    basis         text NOT NULL,
    provider      text NOT NULL,
    fetched_at    timestamp with time zone NOT NULL,
    change        bigint NOT NULL,
    known_from    timestamp with time zone NOT NULL,
    return_remark text,
    known_until   timestamp with time zone NOT NULL DEFAULT ingest.instant()
);
CREATE INDEX prices_history_key ON ingest.prices_history USING btree (symbol_id, session);

CREATE TABLE ingest.prices_version (
    one     boolean NOT NULL DEFAULT true,
    version uuid NOT NULL DEFAULT gen_random_uuid(),
    CONSTRAINT prices_version_pkey PRIMARY KEY (one),
    CONSTRAINT prices_version_one_check CHECK (one)
);

CREATE TABLE ingest.providers (
    provider        text NOT NULL,
    account         text NOT NULL,
    failures        integer NOT NULL DEFAULT 0,
    closed_until    timestamp with time zone,
    closed_by       text,
    probe_until     timestamp with time zone,
    last_fault      text,
    last_fault_at   timestamp with time zone,
    last_success_at timestamp with time zone,
    plan_years      integer,
    plan_learnt_at  timestamp with time zone,
    CONSTRAINT providers_pkey PRIMARY KEY (provider, account),
    CONSTRAINT providers_closed_by_check CHECK ((closed_by = ANY (ARRAY['rate_limited'::text, 'provider_down'::text, 'auth'::text]))),
    CONSTRAINT providers_failures_check CHECK ((failures >= 0)),
    CONSTRAINT providers_plan_check CHECK (((plan_years IS NULL) = (plan_learnt_at IS NULL))),
    CONSTRAINT providers_plan_years_check CHECK ((plan_years > 0))
);

CREATE TABLE ingest.quota_uses (
    id      bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    account text NOT NULL,
    calls   integer NOT NULL,
    at      timestamp with time zone NOT NULL,
    CONSTRAINT quota_uses_pkey PRIMARY KEY (id),
    CONSTRAINT quota_uses_calls_check CHECK ((calls > 0))
);
CREATE INDEX quota_uses_account ON ingest.quota_uses USING btree (account, at);

CREATE TABLE ingest.symbols (
    id           integer NOT NULL GENERATED ALWAYS AS IDENTITY,
    symbol       text NOT NULL,
    currency     text NOT NULL DEFAULT 'USD'::text,
    covered_from date,
    covered_to   date,
    claim_owner  text,
    claim_until  timestamp with time zone,
    refreshed_at timestamp with time zone,
    created_at   timestamp with time zone NOT NULL DEFAULT now(),
    chosen       text,
    replaced     bigint,
    CONSTRAINT symbols_pkey PRIMARY KEY (id),
    CONSTRAINT symbols_symbol_key UNIQUE (symbol),
    CONSTRAINT claim_is_whole CHECK (((claim_owner IS NULL) = (claim_until IS NULL))),
    CONSTRAINT coverage_is_whole CHECK (((covered_from IS NULL) = (covered_to IS NULL)))
);

CREATE TABLE ingest.actions (
    symbol_id  integer NOT NULL,
    ex_session date NOT NULL,
    type       text NOT NULL,
    value      double precision NOT NULL,
    ex_date    date NOT NULL,
    provider   text NOT NULL,
    fetched_at timestamp with time zone NOT NULL,
    change     bigint NOT NULL,
    known_from timestamp with time zone NOT NULL DEFAULT ingest.instant(),
    CONSTRAINT actions_pkey PRIMARY KEY (symbol_id, ex_session, type),
    CONSTRAINT actions_type_check CHECK ((type = ANY (ARRAY['split'::text, 'dividend'::text]))),
    CONSTRAINT actions_value_check CHECK ((value > (0)::double precision)),
    CONSTRAINT actions_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES ingest.symbols(id)
);
ALTER TABLE ingest.actions ADD CONSTRAINT actions_are_finite CHECK (((value > (0)::double precision) AND (value < 'Infinity'::double precision))) NOT VALID;
CREATE TRIGGER keep_action BEFORE DELETE OR UPDATE ON ingest.actions FOR EACH ROW EXECUTE FUNCTION ingest.keep_action();
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON ingest.actions FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();

CREATE TABLE ingest.candidates (
    symbol_id  integer NOT NULL,
    candidate  text NOT NULL,
    exchange   text NOT NULL DEFAULT ''::text,
    name       text,
    asset_type text NOT NULL DEFAULT 'unknown'::text,
    currency   text,
    found_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT candidates_pkey PRIMARY KEY (symbol_id, candidate, exchange),
    CONSTRAINT candidates_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES ingest.symbols(id)
);

CREATE TABLE ingest.gaps (
    symbol_id  integer NOT NULL,
    first      date NOT NULL,
    last       date NOT NULL,
    reason     text NOT NULL,
    terminal   boolean NOT NULL,
    provider   text NOT NULL,
    checked_at timestamp with time zone NOT NULL,
    retry_at   timestamp with time zone,
    CONSTRAINT gaps_pkey PRIMARY KEY (symbol_id, first),
    CONSTRAINT gaps_check CHECK ((first <= last)),
    CONSTRAINT gaps_reason_check CHECK ((reason = ANY (ARRAY['rate_limited'::text, 'provider_down'::text, 'late'::text, 'quarantined'::text, 'not_found'::text, 'ambiguous'::text, 'delisted'::text, 'not_yet_listed'::text, 'no_trade'::text, 'foreign_currency'::text, 'plan_limit'::text]))),
    CONSTRAINT gaps_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES ingest.symbols(id)
);
CREATE INDEX gaps_retry ON ingest.gaps USING btree (retry_at) WHERE (retry_at IS NOT NULL);
CREATE INDEX gaps_waiting ON ingest.gaps USING btree (symbol_id) WHERE (NOT terminal);

CREATE TABLE ingest.profile_schedule (
    symbol_id  integer NOT NULL,
    next_at    timestamp with time zone NOT NULL,
    checked_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT profile_schedule_pkey PRIMARY KEY (symbol_id),
    CONSTRAINT profile_schedule_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES ingest.symbols(id)
);

CREATE TABLE ingest.quarantine (
    symbol_id     integer NOT NULL,
    session       date NOT NULL,
    provider      text NOT NULL,
    return        double precision NOT NULL,
    sigma         double precision NOT NULL,
    second        text,
    second_return double precision,
    found_at      timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    released_at   timestamp with time zone,
    released_by   text,
    decision      bigint,
    CONSTRAINT quarantine_pkey PRIMARY KEY (symbol_id, session),
    CONSTRAINT quarantine_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES ingest.symbols(id)
);

CREATE TABLE ingest.statements (
    symbol_id  integer NOT NULL,
    provider   text NOT NULL,
    kind       text NOT NULL,
    period_end date NOT NULL,
    figures    jsonb NOT NULL,
    currency   text,
    filed_on   date,
    fetched_at timestamp with time zone NOT NULL,
    CONSTRAINT statements_pkey PRIMARY KEY (symbol_id, provider, kind, period_end),
    CONSTRAINT statements_kind_check CHECK ((kind = ANY (ARRAY['income'::text, 'balance'::text, 'cash_flow'::text]))),
    CONSTRAINT statements_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES ingest.symbols(id)
);

CREATE TABLE ingest.symbol_profiles (
    symbol_id  integer NOT NULL,
    as_of      date NOT NULL,
    provider   text NOT NULL,
    beta       double precision,
    sector     text,
    industry   text,
    name       text,
    market_cap double precision,
    pe         double precision,
    fetched_at timestamp with time zone NOT NULL,
    asset_type text,
    CONSTRAINT symbol_profiles_pkey PRIMARY KEY (symbol_id, as_of, provider),
    CONSTRAINT symbol_profiles_symbol_id_fkey FOREIGN KEY (symbol_id) REFERENCES ingest.symbols(id)
);
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON ingest.symbol_profiles FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();

CREATE TABLE ingest.yield_years (
    year     integer NOT NULL,
    asked_at timestamp with time zone,
    next_at  timestamp with time zone,
    fault    text,
    CONSTRAINT yield_years_pkey PRIMARY KEY (year)
);

CREATE TABLE ingest.yields (
    date       date NOT NULL,
    tenors     double precision[] NOT NULL,
    yields     double precision[] NOT NULL,
    provider   text NOT NULL,
    fetched_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    change     bigint NOT NULL,
    CONSTRAINT yields_pkey PRIMARY KEY (date),
    CONSTRAINT yields_check CHECK (((cardinality(tenors) = cardinality(yields)) AND (cardinality(tenors) > 0))),
    CONSTRAINT yields_check1 CHECK (((array_position(yields, 'NaN'::double precision) IS NULL) AND (array_position(tenors, 'NaN'::double precision) IS NULL)))
);

CREATE TABLE ingest.yields_history (
    date        date NOT NULL,
    tenors      double precision[] NOT NULL,
    yields      double precision[] NOT NULL,
    provider    text NOT NULL,
    fetched_at  timestamp with time zone NOT NULL,
    change      bigint NOT NULL,
    replaced_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT yields_history_pkey PRIMARY KEY (date, change)
);

CREATE TABLE factors.exposures (
    symbol_id     integer NOT NULL,
    session       date NOT NULL,
    model_version text NOT NULL,
    price_version bigint NOT NULL,
    market        double precision[] NOT NULL,
    market_shrunk double precision,
    ir_beta       double precision,
    spreads       double precision[] NOT NULL,
    joint         double precision[] NOT NULL,
    joint_fit     double precision[] NOT NULL,
    n_obs         smallint[] NOT NULL,
    quality       text NOT NULL,
    flagged       boolean NOT NULL,
    reasons       jsonb NOT NULL DEFAULT '{}'::jsonb,
    computed_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    joint_stderr  double precision[],
    CONSTRAINT exposures_pkey PRIMARY KEY (symbol_id, session),
    CONSTRAINT exposures_quality_check CHECK ((quality = ANY (ARRAY['full'::text, 'limited'::text, 'none'::text])))
) PARTITION BY RANGE (session);

CREATE TABLE factors.metrics (
    symbol_id     integer NOT NULL,
    session       date NOT NULL,
    model_version text NOT NULL,
    price_version bigint NOT NULL,
    price         double precision,
    price_basis   text,
    price_return  double precision[] NOT NULL,
    total_return  double precision[] NOT NULL,
    volatility    double precision[] NOT NULL,
    quality       text NOT NULL,
    reasons       jsonb NOT NULL DEFAULT '{}'::jsonb,
    computed_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT metrics_pkey PRIMARY KEY (symbol_id, session),
    CONSTRAINT metrics_quality_check CHECK ((quality = ANY (ARRAY['full'::text, 'limited'::text, 'none'::text])))
) PARTITION BY RANGE (session);

CREATE TABLE factors.proxies (
    session       date NOT NULL,
    model_version text NOT NULL,
    price_version bigint NOT NULL,
    proxies       text[] NOT NULL,
    slopes        double precision[] NOT NULL,
    sigmas        double precision[] NOT NULL,
    computed_at   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT proxies_pkey PRIMARY KEY (session)
);

CREATE TABLE snapshots.holdings (
    portfolio_id   uuid NOT NULL,
    session        date NOT NULL,
    revision       bigint NOT NULL,
    position_ids   uuid[] NOT NULL,
    symbols        text[] NOT NULL,
    quantity       double precision[] NOT NULL,
    price          double precision[] NOT NULL,
    price_session  date[] NOT NULL,
    price_basis    text[] NOT NULL,
    stale          smallint[] NOT NULL,
    market_value   bigint[] NOT NULL,
    daily_pnl      bigint[] NOT NULL,
    cumulative_pnl bigint[] NOT NULL,
    realized_pnl   bigint[] NOT NULL,
    dividends      bigint[] NOT NULL,
    reason         text[] NOT NULL,
    provisional    boolean NOT NULL DEFAULT false,
    CONSTRAINT holdings_pkey PRIMARY KEY (portfolio_id, session)
) WITH (fillfactor=90);
ALTER TABLE snapshots.holdings ENABLE ROW LEVEL SECURITY;
CREATE TRIGGER keep_history AFTER DELETE OR UPDATE ON snapshots.holdings FOR EACH ROW EXECUTE FUNCTION ledger.keep_history('holdings_history');
CREATE POLICY others ON snapshots.holdings TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON snapshots.holdings TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE snapshots.holdings_history (
    portfolio_id   uuid NOT NULL,
    session        date NOT NULL,
    revision       bigint NOT NULL,
    position_ids   uuid[] NOT NULL,
    symbols        text[] NOT NULL,
    quantity       double precision[] NOT NULL,
    price          double precision[] NOT NULL,
    price_session  date[] NOT NULL,
    price_basis    text[] NOT NULL,
    stale          smallint[] NOT NULL,
    market_value   bigint[] NOT NULL,
    daily_pnl      bigint[] NOT NULL,
    cumulative_pnl bigint[] NOT NULL,
    realized_pnl   bigint[] NOT NULL,
    dividends      bigint[] NOT NULL,
    reason         text[] NOT NULL,
    provisional    boolean NOT NULL DEFAULT false,
    replaced_at    timestamp with time zone NOT NULL
);
ALTER TABLE snapshots.holdings_history ENABLE ROW LEVEL SECURITY;
CREATE INDEX holdings_history_key ON snapshots.holdings_history USING btree (portfolio_id, session, revision);
CREATE INDEX holdings_history_replaced ON snapshots.holdings_history USING brin (replaced_at);
CREATE POLICY others ON snapshots.holdings_history TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON snapshots.holdings_history TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE snapshots.snapshots (
    portfolio_id      uuid NOT NULL,
    session           date NOT NULL,
    revision          bigint NOT NULL,
    model_version     text NOT NULL,
    nav               numeric(20,4) NOT NULL,
    cash              numeric(20,4) NOT NULL,
    long_value        numeric(20,4) NOT NULL,
    short_value       numeric(20,4) NOT NULL,
    gross_exposure    numeric(20,4) NOT NULL,
    net_exposure      numeric(20,4) NOT NULL,
    daily_pnl         numeric(20,4) NOT NULL,
    daily_return      double precision,
    cumulative_pnl    numeric(20,4) NOT NULL,
    realized_pnl      numeric(20,4) NOT NULL,
    unrealized_pnl    numeric(20,4) NOT NULL,
    dividends         numeric(20,4) NOT NULL,
    flow              numeric(20,4) NOT NULL,
    cumulative_flow   numeric(20,4) NOT NULL,
    mtd_return        double precision,
    ytd_return        double precision,
    cumulative_return double precision,
    peak_index        double precision,
    drawdown          double precision,
    xirr              double precision,
    positions         integer NOT NULL,
    long_positions    integer NOT NULL,
    short_positions   integer NOT NULL,
    coverage          double precision NOT NULL,
    quality           text NOT NULL,
    reasons           jsonb NOT NULL DEFAULT '[]'::jsonb,
    computed_at       timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    provisional       boolean NOT NULL DEFAULT false,
    CONSTRAINT snapshots_pkey PRIMARY KEY (portfolio_id, session),
    CONSTRAINT exposures_add_up CHECK (((gross_exposure = (long_value - short_value)) AND (net_exposure = (long_value + short_value)))),
    CONSTRAINT nav_is_cash_and_holdings CHECK ((nav = (cash + net_exposure))),
    CONSTRAINT snapshots_quality_check CHECK ((quality = ANY (ARRAY['complete'::text, 'partial'::text]))),
    CONSTRAINT snapshots_short_value_check CHECK ((short_value <= (0)::numeric))
) WITH (fillfactor=90);
ALTER TABLE snapshots.snapshots ENABLE ROW LEVEL SECURITY;
CREATE TRIGGER keep_history AFTER DELETE OR UPDATE ON snapshots.snapshots FOR EACH ROW EXECUTE FUNCTION ledger.keep_history('snapshots_history');
CREATE TRIGGER note_delete BEFORE DELETE ON snapshots.snapshots FOR EACH ROW WHEN ((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (old.portfolio_id)::text)) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_insert BEFORE INSERT ON snapshots.snapshots FOR EACH ROW WHEN ((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (new.portfolio_id)::text)) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON snapshots.snapshots FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_update BEFORE UPDATE ON snapshots.snapshots FOR EACH ROW WHEN (((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (new.portfolio_id)::text) OR (old.portfolio_id <> new.portfolio_id))) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE POLICY others ON snapshots.snapshots TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON snapshots.snapshots TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE snapshots.snapshots_history (
    portfolio_id      uuid NOT NULL,
    session           date NOT NULL,
    revision          bigint NOT NULL,
    model_version     text NOT NULL,
    nav               numeric(20,4) NOT NULL,
    cash              numeric(20,4) NOT NULL,
    long_value        numeric(20,4) NOT NULL,
    short_value       numeric(20,4) NOT NULL,
    gross_exposure    numeric(20,4) NOT NULL,
    net_exposure      numeric(20,4) NOT NULL,
    daily_pnl         numeric(20,4) NOT NULL,
    daily_return      double precision,
    cumulative_pnl    numeric(20,4) NOT NULL,
    realized_pnl      numeric(20,4) NOT NULL,
    unrealized_pnl    numeric(20,4) NOT NULL,
    dividends         numeric(20,4) NOT NULL,
    flow              numeric(20,4) NOT NULL,
    cumulative_flow   numeric(20,4) NOT NULL,
    mtd_return        double precision,
    ytd_return        double precision,
    cumulative_return double precision,
    peak_index        double precision,
    drawdown          double precision,
    xirr              double precision,
    positions         integer NOT NULL,
    long_positions    integer NOT NULL,
    short_positions   integer NOT NULL,
    coverage          double precision NOT NULL,
    quality           text NOT NULL,
    reasons           jsonb NOT NULL,
    computed_at       timestamp with time zone NOT NULL,
    provisional       boolean NOT NULL DEFAULT false,
    replaced_at       timestamp with time zone NOT NULL
);
ALTER TABLE snapshots.snapshots_history ENABLE ROW LEVEL SECURITY;
CREATE INDEX snapshots_history_key ON snapshots.snapshots_history USING btree (portfolio_id, session, revision);
CREATE INDEX snapshots_history_replaced ON snapshots.snapshots_history USING brin (replaced_at);
CREATE POLICY others ON snapshots.snapshots_history TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON snapshots.snapshots_history TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE risk.results (
    portfolio_id        uuid NOT NULL,
    session             date NOT NULL,
    revision            bigint NOT NULL,
    model_version       text NOT NULL,
    quality             text NOT NULL,
    coverage            double precision NOT NULL,
    reasons             jsonb NOT NULL DEFAULT '[]'::jsonb,
    risk                jsonb NOT NULL,
    symbols             text[],
    weights             double precision[],
    exposure_values     double precision[],
    betas               double precision[],
    beta_reasons        text[],
    greeks              double precision[],
    realized_252        double precision[],
    forecast_21         double precision[],
    har                 boolean[],
    series_reasons      text[],
    excluded            text[],
    contributions       double precision[],
    contribution_shares double precision[],
    proxies             text[],
    exposures           double precision[],
    exposure_limited    boolean[],
    exposure_reasons    text[],
    model_factors       text[],
    factor_shares       double precision[],
    factor_correlations double precision[],
    correlations        double precision[],
    correlation_n_obs   smallint[],
    clusters            smallint[],
    shrinkage           double precision,
    mean_correlation    double precision,
    scenario_set        text,
    stress_reasons      text[],
    stress_shocks       double precision[],
    stress_capped       smallint[],
    stress_direct       double precision[],
    stress_propagated   double precision[],
    uncovered_value     double precision,
    forecasts           double precision[],
    realized_return     double precision,
    computed_at         timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    tilts               double precision[],
    duration_as_of      date,
    provisional         boolean NOT NULL DEFAULT false,
    exposure_errors     double precision[],
    tail_parts          double precision[],
    nav                 double precision,
    shocks_id           uuid,
    thinned_revision    bigint,
    CONSTRAINT results_pkey PRIMARY KEY (portfolio_id, session),
    CONSTRAINT results_quality_check CHECK ((quality = ANY (ARRAY['complete'::text, 'partial'::text])))
) WITH (fillfactor=100);
ALTER TABLE risk.results ALTER betas SET STORAGE EXTERNAL;
ALTER TABLE risk.results ALTER correlations SET STORAGE EXTERNAL;
ALTER TABLE risk.results ALTER stress_shocks SET STORAGE EXTERNAL;
ALTER TABLE risk.results ALTER stress_direct SET STORAGE EXTERNAL;
ALTER TABLE risk.results ALTER stress_propagated SET STORAGE EXTERNAL;
ALTER TABLE risk.results ENABLE ROW LEVEL SECURITY;
CREATE INDEX results_thinned ON risk.results USING btree (portfolio_id, session) WHERE (thinned_revision = revision);
CREATE TRIGGER keep_history AFTER DELETE OR UPDATE ON risk.results FOR EACH ROW WHEN ((old.thinned_revision IS DISTINCT FROM old.revision)) EXECUTE FUNCTION ledger.keep_history('results_history');
CREATE TRIGGER note_delete BEFORE DELETE ON risk.results FOR EACH ROW WHEN ((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (old.portfolio_id)::text)) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_insert BEFORE INSERT ON risk.results FOR EACH ROW WHEN ((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (new.portfolio_id)::text)) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON risk.results FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_update BEFORE UPDATE ON risk.results FOR EACH ROW WHEN (((current_setting('leadline.noted'::text, true) IS DISTINCT FROM (new.portfolio_id)::text) OR (old.portfolio_id <> new.portfolio_id))) EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE POLICY others ON risk.results TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON risk.results TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE risk.results_history (
    portfolio_id        uuid NOT NULL,
    session             date NOT NULL,
    revision            bigint NOT NULL,
    model_version       text NOT NULL,
    quality             text NOT NULL,
    coverage            double precision NOT NULL,
    reasons             jsonb NOT NULL,
    risk                jsonb NOT NULL,
    symbols             text[],
    weights             double precision[],
    exposure_values     double precision[],
    betas               double precision[],
    beta_reasons        text[],
    greeks              double precision[],
    realized_252        double precision[],
    forecast_21         double precision[],
    har                 boolean[],
    series_reasons      text[],
    excluded            text[],
    contributions       double precision[],
    contribution_shares double precision[],
    proxies             text[],
    exposures           double precision[],
    exposure_limited    boolean[],
    exposure_reasons    text[],
    model_factors       text[],
    factor_shares       double precision[],
    factor_correlations double precision[],
    correlations        double precision[],
    correlation_n_obs   smallint[],
    clusters            smallint[],
    shrinkage           double precision,
    mean_correlation    double precision,
    scenario_set        text,
    stress_reasons      text[],
    stress_shocks       double precision[],
    stress_capped       smallint[],
    stress_direct       double precision[],
    stress_propagated   double precision[],
    uncovered_value     double precision,
    forecasts           double precision[],
    realized_return     double precision,
    computed_at         timestamp with time zone NOT NULL,
    tilts               double precision[],
    duration_as_of      date,
    provisional         boolean NOT NULL DEFAULT false,
    exposure_errors     double precision[],
    tail_parts          double precision[],
    nav                 double precision,
    shocks_id           uuid,
    thinned_revision    bigint,
    replaced_at         timestamp with time zone NOT NULL
);
ALTER TABLE risk.results_history ALTER betas SET STORAGE EXTERNAL;
ALTER TABLE risk.results_history ALTER correlations SET STORAGE EXTERNAL;
ALTER TABLE risk.results_history ALTER stress_shocks SET STORAGE EXTERNAL;
ALTER TABLE risk.results_history ALTER stress_direct SET STORAGE EXTERNAL;
ALTER TABLE risk.results_history ALTER stress_propagated SET STORAGE EXTERNAL;
ALTER TABLE risk.results_history ENABLE ROW LEVEL SECURITY;
CREATE INDEX results_history_key ON risk.results_history USING btree (portfolio_id, session, revision);
CREATE INDEX results_history_replaced ON risk.results_history USING brin (replaced_at);
CREATE POLICY others ON risk.results_history TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON risk.results_history TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE risk.scenario_choice (
    one        boolean NOT NULL DEFAULT true,
    digest     text NOT NULL,
    since      timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    as_written text,
    CONSTRAINT scenario_choice_pkey PRIMARY KEY (one),
    CONSTRAINT scenario_choice_one_check CHECK (one)
);
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE ON risk.scenario_choice FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();

CREATE TABLE risk.scenario_sets (
    digest    text NOT NULL,
    scenarios jsonb NOT NULL,
    durations jsonb NOT NULL DEFAULT '[]'::jsonb,
    CONSTRAINT scenario_sets_pkey PRIMARY KEY (digest)
);

CREATE TABLE risk.stress_shocks (
    shocks_id     uuid NOT NULL,
    shocks        bytea NOT NULL,
    factor_names  text[],
    factor_matrix double precision[],
    CONSTRAINT stress_shocks_pkey PRIMARY KEY (shocks_id)
);

CREATE TABLE ledger.failures (
    id           bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL,
    error        text NOT NULL,
    blocked      boolean NOT NULL,
    at           timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT failures_pkey PRIMARY KEY (id),
    CONSTRAINT failures_check CHECK ((first <= last))
);
ALTER TABLE ledger.failures ENABLE ROW LEVEL SECURITY;
CREATE INDEX failures_at ON ledger.failures USING btree (at);
CREATE INDEX failures_of ON ledger.failures USING btree (portfolio_id, phase, at);
CREATE POLICY coordinate ON ledger.failures TO leadline_coordinator USING (true) WITH CHECK (true);
CREATE POLICY own_phase_factors ON ledger.failures TO leadline_factors USING ((phase = 'factors'::ledger.phase)) WITH CHECK ((phase = 'factors'::ledger.phase));
CREATE POLICY own_phase_ingest ON ledger.failures TO leadline_ingest USING ((phase = 'ingest'::ledger.phase)) WITH CHECK ((phase = 'ingest'::ledger.phase));
CREATE POLICY own_phase_risk ON ledger.failures TO leadline_risk USING ((phase = 'risk'::ledger.phase)) WITH CHECK ((phase = 'risk'::ledger.phase));
CREATE POLICY own_phase_snapshots ON ledger.failures TO leadline_snapshots USING ((phase = 'snapshots'::ledger.phase)) WITH CHECK ((phase = 'snapshots'::ledger.phase));
CREATE POLICY own_tenant ON ledger.failures TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));
CREATE POLICY owner ON ledger.failures TO leadline_owner USING (true) WITH CHECK (true);
CREATE POLICY read ON ledger.failures FOR SELECT TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots USING (true);

CREATE TABLE ledger.portfolio_changes (
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id           bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    portfolio_id uuid,
    CONSTRAINT portfolio_changes_pkey PRIMARY KEY (xid, id)
);
ALTER TABLE ledger.portfolio_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON ledger.portfolio_changes TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON ledger.portfolio_changes TO leadline_api USING (((portfolio_id IS NULL) OR (portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)))) WITH CHECK (((portfolio_id IS NULL) OR (portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))));

CREATE TABLE ledger.schedule (
    portfolio_id   uuid NOT NULL,
    phase          ledger.phase NOT NULL,
    lease_owner    text,
    lease_until    timestamp with time zone,
    fence          bigint NOT NULL DEFAULT 0,
    emits          integer NOT NULL DEFAULT 0,
    runs           integer NOT NULL DEFAULT 0,
    next_at        timestamp with time zone NOT NULL DEFAULT (now() + '00:00:30'::interval),
    wanted         bigint NOT NULL DEFAULT 0,
    last_error     text,
    asked          uuid,
    probe_at       timestamp with time zone,
    withheld_until timestamp with time zone,
    deaths         integer NOT NULL DEFAULT 0,
    CONSTRAINT schedule_pkey PRIMARY KEY (portfolio_id, phase),
    CONSTRAINT lease_is_whole CHECK (((lease_owner IS NULL) = (lease_until IS NULL)))
) WITH (fillfactor=70);
ALTER TABLE ledger.schedule ENABLE ROW LEVEL SECURITY;
CREATE INDEX schedule_next ON ledger.schedule USING btree (phase, next_at);
CREATE POLICY coordinate ON ledger.schedule TO leadline_coordinator USING (true) WITH CHECK (true);
CREATE POLICY own_phase_factors ON ledger.schedule FOR UPDATE TO leadline_factors USING ((phase = 'factors'::ledger.phase)) WITH CHECK ((phase = 'factors'::ledger.phase));
CREATE POLICY own_phase_ingest ON ledger.schedule FOR UPDATE TO leadline_ingest USING ((phase = 'ingest'::ledger.phase)) WITH CHECK ((phase = 'ingest'::ledger.phase));
CREATE POLICY own_phase_risk ON ledger.schedule FOR UPDATE TO leadline_risk USING ((phase = 'risk'::ledger.phase)) WITH CHECK ((phase = 'risk'::ledger.phase));
CREATE POLICY own_phase_snapshots ON ledger.schedule FOR UPDATE TO leadline_snapshots USING ((phase = 'snapshots'::ledger.phase)) WITH CHECK ((phase = 'snapshots'::ledger.phase));
CREATE POLICY own_tenant ON ledger.schedule TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));
CREATE POLICY owner ON ledger.schedule TO leadline_owner USING (true) WITH CHECK (true);
CREATE POLICY read ON ledger.schedule FOR SELECT TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots USING (true);

CREATE TABLE ledger.shortfall_changes (
    id           bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL,
    CONSTRAINT shortfall_changes_pkey PRIMARY KEY (id)
);
ALTER TABLE ledger.shortfall_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON ledger.shortfall_changes TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON ledger.shortfall_changes TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE ledger.unit_changes (
    id           bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL,
    CONSTRAINT unit_changes_pkey PRIMARY KEY (id)
);
ALTER TABLE ledger.unit_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON ledger.unit_changes TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON ledger.unit_changes TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE ledger.unit_runs (
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL,
    state        text NOT NULL,
    CONSTRAINT unit_runs_pkey PRIMARY KEY (portfolio_id, phase, first),
    CONSTRAINT unit_runs_check CHECK ((first <= last)),
    CONSTRAINT unit_runs_state_check CHECK ((state = ANY (ARRAY['complete'::text, 'partial'::text, 'missing'::text, 'blocked'::text])))
);
ALTER TABLE ledger.unit_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON ledger.unit_runs TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON ledger.unit_runs TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE ledger.unit_shortfalls (
    portfolio_id uuid NOT NULL,
    phase        ledger.phase NOT NULL,
    first        date NOT NULL,
    last         date NOT NULL,
    lacks        jsonb NOT NULL,
    coverage     double precision,
    CONSTRAINT unit_shortfalls_pkey PRIMARY KEY (portfolio_id, first, phase),
    CONSTRAINT unit_shortfalls_check CHECK (((first <= last) AND (date_trunc('quarter'::text, (first)::timestamp without time zone) = date_trunc('quarter'::text, (last)::timestamp without time zone))))
);
ALTER TABLE ledger.unit_shortfalls ENABLE ROW LEVEL SECURITY;
CREATE POLICY others ON ledger.unit_shortfalls TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_owner, leadline_risk, leadline_snapshots USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON ledger.unit_shortfalls TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));

CREATE TABLE ledger.units (
    portfolio_id       uuid NOT NULL,
    session            date NOT NULL,
    phase              ledger.phase NOT NULL,
    required_revision  bigint NOT NULL,
    completed_revision bigint NOT NULL DEFAULT 0,
    quality            text,
    coverage           double precision,
    reasons            jsonb NOT NULL DEFAULT '[]'::jsonb,
    blocked_reason     text,
    completed_at       timestamp with time zone,
    required_at        timestamp with time zone NOT NULL DEFAULT now(),
    provisional        boolean NOT NULL DEFAULT false,
    CONSTRAINT units_pkey PRIMARY KEY (portfolio_id, session, phase) INCLUDE (required_revision, completed_revision, quality),
    CONSTRAINT units_completed_revision_check CHECK ((completed_revision >= 0)),
    CONSTRAINT units_coverage_check CHECK (((coverage >= (0)::double precision) AND (coverage <= (1)::double precision))),
    CONSTRAINT units_quality_check CHECK ((quality = ANY (ARRAY['complete'::text, 'partial'::text]))),
    CONSTRAINT units_required_revision_check CHECK ((required_revision > 0))
) WITH (fillfactor=85, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=50000, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=50000, autovacuum_analyze_scale_factor=0.02);
ALTER TABLE ledger.units ENABLE ROW LEVEL SECURITY;
CREATE INDEX units_blocked ON ledger.units USING btree (portfolio_id, phase, session) WHERE (blocked_reason IS NOT NULL);
CREATE INDEX units_missing ON ledger.units USING btree (portfolio_id, phase, session) WHERE ((completed_revision < required_revision) AND (blocked_reason IS NULL));
CREATE INDEX units_partial ON ledger.units USING btree (portfolio_id, phase, session) WHERE (quality = 'partial'::text);
CREATE INDEX units_partial_lately ON ledger.units USING btree (session, phase) WHERE (quality = 'partial'::text);
CREATE INDEX units_provisional ON ledger.units USING btree (portfolio_id, phase, session) WHERE provisional;
CREATE TRIGGER note_delete AFTER DELETE ON ledger.units REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_unit_changes();
CREATE TRIGGER note_insert AFTER INSERT ON ledger.units REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_unit_changes();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON ledger.units FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_portfolio_change();
CREATE TRIGGER note_update AFTER UPDATE ON ledger.units REFERENCING OLD TABLE AS was NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_unit_changes();
CREATE TRIGGER ordered BEFORE INSERT OR DELETE OR UPDATE OF required_revision ON ledger.units FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_unordered();
CREATE POLICY coordinate ON ledger.units TO leadline_coordinator USING (true) WITH CHECK (true);
CREATE POLICY own_phase_factors ON ledger.units FOR UPDATE TO leadline_factors USING ((phase = 'factors'::ledger.phase)) WITH CHECK ((phase = 'factors'::ledger.phase));
CREATE POLICY own_phase_ingest ON ledger.units FOR UPDATE TO leadline_ingest USING ((phase = 'ingest'::ledger.phase)) WITH CHECK ((phase = 'ingest'::ledger.phase));
CREATE POLICY own_phase_risk ON ledger.units FOR UPDATE TO leadline_risk USING ((phase = 'risk'::ledger.phase)) WITH CHECK ((phase = 'risk'::ledger.phase));
CREATE POLICY own_phase_snapshots ON ledger.units FOR UPDATE TO leadline_snapshots USING ((phase = 'snapshots'::ledger.phase)) WITH CHECK ((phase = 'snapshots'::ledger.phase));
CREATE POLICY own_tenant ON ledger.units TO leadline_api USING ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios))) WITH CHECK ((portfolio_id IN ( SELECT portfolios.id
   FROM coordinator.portfolios)));
CREATE POLICY owner ON ledger.units TO leadline_owner USING (true) WITH CHECK (true);
CREATE POLICY read ON ledger.units FOR SELECT TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots USING (true);

CREATE TABLE bus.dead_letters (
    id               bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    consumer         text NOT NULL,
    topic            text NOT NULL,
    partition        integer NOT NULL,
    "offset"         bigint NOT NULL,
    key              bytea,
    headers          jsonb NOT NULL DEFAULT '{}'::jsonb,
    body             bytea,
    body_hash        text NOT NULL,
    reason           text NOT NULL,
    error            text NOT NULL,
    received_at      timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    replayed_at      timestamp with time zone,
    replay_event_id  uuid,
    purged_at        timestamp with time zone,
    resolved_at      timestamp with time zone,
    edited_at        timestamp with time zone,
    original_headers jsonb,
    original_body    bytea,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (id),
    CONSTRAINT dead_letters_consumer_topic_partition_offset_body_hash_key UNIQUE (consumer, topic, partition, "offset", body_hash)
);
ALTER TABLE bus.dead_letters ENABLE ROW LEVEL SECURITY;
CREATE INDEX dead_letters_open ON bus.dead_letters USING btree (id) WHERE ((replayed_at IS NULL) AND (purged_at IS NULL) AND (resolved_at IS NULL));
CREATE INDEX dead_letters_replayed ON bus.dead_letters USING btree (replay_event_id) WHERE (replay_event_id IS NOT NULL);
CREATE POLICY forget_settled ON bus.dead_letters FOR DELETE TO leadline_coordinator USING ((COALESCE(replayed_at, purged_at, resolved_at) IS NOT NULL));
CREATE POLICY owner ON bus.dead_letters TO leadline_owner USING (true) WITH CHECK (true);
CREATE POLICY read ON bus.dead_letters FOR SELECT TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots USING (true);
CREATE POLICY record_own ON bus.dead_letters FOR INSERT TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots WITH CHECK ((consumer = substr((CURRENT_USER)::text, (length('leadline_'::text) + 1))));
CREATE POLICY settle ON bus.dead_letters FOR UPDATE TO leadline_api, leadline_coordinator USING (true) WITH CHECK (true);
CREATE POLICY whole_installation ON bus.dead_letters AS RESTRICTIVE TO leadline_api USING ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text)) WITH CHECK ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text));

CREATE TABLE bus.outbox (
    id         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    event_id   uuid NOT NULL,
    topic      text NOT NULL,
    key        text,
    type       text NOT NULL,
    payload    text NOT NULL,
    headers    jsonb NOT NULL DEFAULT '{}'::jsonb,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    sent_at    timestamp with time zone,
    failed_at  timestamp with time zone,
    error      text,
    written_by text NOT NULL DEFAULT CURRENT_USER,
    CONSTRAINT outbox_pkey PRIMARY KEY (id),
    CONSTRAINT outbox_event_id_key UNIQUE (event_id),
    CONSTRAINT payload_is_small CHECK ((octet_length(payload) <= 65536)),
    CONSTRAINT sent_or_failed CHECK (((sent_at IS NULL) OR (failed_at IS NULL)))
);
ALTER TABLE bus.outbox ENABLE ROW LEVEL SECURITY;
CREATE INDEX outbox_failed ON bus.outbox USING btree (event_id) WHERE (failed_at IS NOT NULL);
CREATE INDEX outbox_sent_at ON bus.outbox USING btree (sent_at) WHERE (sent_at IS NOT NULL);
CREATE INDEX outbox_unsent ON bus.outbox USING btree (id) WHERE ((sent_at IS NULL) AND (failed_at IS NULL));
CREATE POLICY announce ON bus.outbox FOR INSERT TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots WITH CHECK ((written_by = CURRENT_USER));
CREATE POLICY drop_left ON bus.outbox FOR DELETE TO leadline_coordinator USING (((written_by <> ALL (ARRAY['leadline_ingest'::text, 'leadline_factors'::text, 'leadline_snapshots'::text, 'leadline_risk'::text])) OR (created_at < (clock_timestamp() - '00:00:30'::interval))));
CREATE POLICY drop_own ON bus.outbox FOR DELETE TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots USING ((written_by = CURRENT_USER));
CREATE POLICY own_topics ON bus.outbox AS RESTRICTIVE FOR INSERT TO leadline_ingest WITH CHECK ((topic = ANY (ARRAY['leadline.prices-ingested'::text, 'leadline.prices-restated'::text, 'leadline.phase-requested'::text])));
CREATE POLICY own_topics_factors ON bus.outbox AS RESTRICTIVE FOR INSERT TO leadline_factors WITH CHECK ((topic = ANY (ARRAY['leadline.factors-computed'::text, 'leadline.phase-requested'::text])));
CREATE POLICY own_topics_risk ON bus.outbox AS RESTRICTIVE FOR INSERT TO leadline_risk WITH CHECK ((topic = ANY (ARRAY['leadline.risk-computed'::text, 'leadline.phase-requested'::text])));
CREATE POLICY own_topics_snapshots ON bus.outbox AS RESTRICTIVE FOR INSERT TO leadline_snapshots WITH CHECK ((topic = ANY (ARRAY['leadline.snapshots-built'::text, 'leadline.phase-requested'::text])));
CREATE POLICY owner ON bus.outbox TO leadline_owner USING (true) WITH CHECK (true);
CREATE POLICY read ON bus.outbox FOR SELECT TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots USING (true);
CREATE POLICY send_left ON bus.outbox FOR UPDATE TO leadline_coordinator USING (((written_by <> ALL (ARRAY['leadline_ingest'::text, 'leadline_factors'::text, 'leadline_snapshots'::text, 'leadline_risk'::text])) OR (created_at < (clock_timestamp() - '00:00:30'::interval)))) WITH CHECK (true);
CREATE POLICY send_own ON bus.outbox FOR UPDATE TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots USING ((written_by = CURRENT_USER)) WITH CHECK ((written_by = CURRENT_USER));
CREATE POLICY whole_installation ON bus.outbox AS RESTRICTIVE FOR SELECT TO leadline_api USING ((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text));

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE POLICY own_tenant ON coordinator.users FOR SELECT TO leadline_api USING (((( SELECT current_setting('leadline.tenant'::text, true) AS current_setting) = '*'::text) OR (id IN ( SELECT memberships.user_id
   FROM coordinator.memberships))));
CREATE POLICY own_tenant ON coordinator.invitations TO leadline_api USING (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)))) WITH CHECK (((tenant_id >= ( SELECT coordinator.seen_from() AS seen_from)) AND (tenant_id <= ( SELECT coordinator.seen_to() AS seen_to)) AND ((accepted_by IS NULL) OR (EXISTS ( SELECT
   FROM coordinator.memberships m
  WHERE ((m.user_id = invitations.accepted_by) AND (m.tenant_id = invitations.tenant_id)))))));

CREATE VIEW snapshots.positions AS
 SELECT h.portfolio_id,
    h.session,
    h.revision,
    l.position_id,
    l.symbol,
    l.quantity,
    l.price,
    l.price_session,
    l.price_basis,
    l.stale,
    ((l.market_value)::numeric / 10000.0::numeric(20,4)) AS market_value,
    ((l.daily_pnl)::numeric / 10000.0::numeric(20,4)) AS daily_pnl,
    ((l.cumulative_pnl)::numeric / 10000.0::numeric(20,4)) AS cumulative_pnl,
    ((l.realized_pnl)::numeric / 10000.0::numeric(20,4)) AS realized_pnl,
    ((((l.cumulative_pnl - l.realized_pnl) - l.dividends))::numeric / 10000.0::numeric(20,4)) AS unrealized_pnl,
    ((l.dividends)::numeric / 10000.0::numeric(20,4)) AS dividends,
    NULLIF(l.reason, ''::text) AS reason
   FROM (snapshots.holdings h
     CROSS JOIN LATERAL UNNEST(h.position_ids, h.symbols, h.quantity, h.price, h.price_session, h.price_basis, h.stale, h.market_value, h.daily_pnl, h.cumulative_pnl, h.realized_pnl, h.dividends, h.reason) l(position_id, symbol, quantity, price, price_session, price_basis, stale, market_value, daily_pnl, cumulative_pnl, realized_pnl, dividends, reason));

CREATE TABLE ingest.prices_1990 PARTITION OF ingest.prices FOR VALUES FROM ('1990-01-01') TO ('1991-01-01');
CREATE TABLE ingest.prices_1991 PARTITION OF ingest.prices FOR VALUES FROM ('1991-01-01') TO ('1992-01-01');
CREATE TABLE ingest.prices_1992 PARTITION OF ingest.prices FOR VALUES FROM ('1992-01-01') TO ('1993-01-01');
CREATE TABLE ingest.prices_1993 PARTITION OF ingest.prices FOR VALUES FROM ('1993-01-01') TO ('1994-01-01');
CREATE TABLE ingest.prices_1994 PARTITION OF ingest.prices FOR VALUES FROM ('1994-01-01') TO ('1995-01-01');
CREATE TABLE ingest.prices_1995 PARTITION OF ingest.prices FOR VALUES FROM ('1995-01-01') TO ('1996-01-01');
CREATE TABLE ingest.prices_1996 PARTITION OF ingest.prices FOR VALUES FROM ('1996-01-01') TO ('1997-01-01');
CREATE TABLE ingest.prices_1997 PARTITION OF ingest.prices FOR VALUES FROM ('1997-01-01') TO ('1998-01-01');
CREATE TABLE ingest.prices_1998 PARTITION OF ingest.prices FOR VALUES FROM ('1998-01-01') TO ('1999-01-01');
CREATE TABLE ingest.prices_1999 PARTITION OF ingest.prices FOR VALUES FROM ('1999-01-01') TO ('2000-01-01');
CREATE TABLE ingest.prices_2000 PARTITION OF ingest.prices FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
CREATE TABLE ingest.prices_2001 PARTITION OF ingest.prices FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
CREATE TABLE ingest.prices_2002 PARTITION OF ingest.prices FOR VALUES FROM ('2002-01-01') TO ('2003-01-01');
CREATE TABLE ingest.prices_2003 PARTITION OF ingest.prices FOR VALUES FROM ('2003-01-01') TO ('2004-01-01');
CREATE TABLE ingest.prices_2004 PARTITION OF ingest.prices FOR VALUES FROM ('2004-01-01') TO ('2005-01-01');
CREATE TABLE ingest.prices_2005 PARTITION OF ingest.prices FOR VALUES FROM ('2005-01-01') TO ('2006-01-01');
CREATE TABLE ingest.prices_2006 PARTITION OF ingest.prices FOR VALUES FROM ('2006-01-01') TO ('2007-01-01');
CREATE TABLE ingest.prices_2007 PARTITION OF ingest.prices FOR VALUES FROM ('2007-01-01') TO ('2008-01-01');
CREATE TABLE ingest.prices_2008 PARTITION OF ingest.prices FOR VALUES FROM ('2008-01-01') TO ('2009-01-01');
CREATE TABLE ingest.prices_2009 PARTITION OF ingest.prices FOR VALUES FROM ('2009-01-01') TO ('2010-01-01');
CREATE TABLE ingest.prices_2010 PARTITION OF ingest.prices FOR VALUES FROM ('2010-01-01') TO ('2011-01-01');
CREATE TABLE ingest.prices_2011 PARTITION OF ingest.prices FOR VALUES FROM ('2011-01-01') TO ('2012-01-01');
CREATE TABLE ingest.prices_2012 PARTITION OF ingest.prices FOR VALUES FROM ('2012-01-01') TO ('2013-01-01');
CREATE TABLE ingest.prices_2013 PARTITION OF ingest.prices FOR VALUES FROM ('2013-01-01') TO ('2014-01-01');
CREATE TABLE ingest.prices_2014 PARTITION OF ingest.prices FOR VALUES FROM ('2014-01-01') TO ('2015-01-01');
CREATE TABLE ingest.prices_2015 PARTITION OF ingest.prices FOR VALUES FROM ('2015-01-01') TO ('2016-01-01');
CREATE TABLE ingest.prices_2016 PARTITION OF ingest.prices FOR VALUES FROM ('2016-01-01') TO ('2017-01-01');
CREATE TABLE ingest.prices_2017 PARTITION OF ingest.prices FOR VALUES FROM ('2017-01-01') TO ('2018-01-01');
CREATE TABLE ingest.prices_2018 PARTITION OF ingest.prices FOR VALUES FROM ('2018-01-01') TO ('2019-01-01');
CREATE TABLE ingest.prices_2019 PARTITION OF ingest.prices FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
CREATE TABLE ingest.prices_2020 PARTITION OF ingest.prices FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE ingest.prices_2021 PARTITION OF ingest.prices FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE ingest.prices_2022 PARTITION OF ingest.prices FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE ingest.prices_2023 PARTITION OF ingest.prices FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE ingest.prices_2024 PARTITION OF ingest.prices FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE ingest.prices_2025 PARTITION OF ingest.prices FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE ingest.prices_2026 PARTITION OF ingest.prices FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE ingest.prices_2027 PARTITION OF ingest.prices FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
CREATE TABLE ingest.prices_2028 PARTITION OF ingest.prices FOR VALUES FROM ('2028-01-01') TO ('2029-01-01');
CREATE TABLE ingest.prices_2029 PARTITION OF ingest.prices FOR VALUES FROM ('2029-01-01') TO ('2030-01-01');
CREATE TABLE ingest.prices_2030 PARTITION OF ingest.prices FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
CREATE TABLE ingest.prices_2031 PARTITION OF ingest.prices FOR VALUES FROM ('2031-01-01') TO ('2032-01-01');
CREATE TABLE ingest.prices_2032 PARTITION OF ingest.prices FOR VALUES FROM ('2032-01-01') TO ('2033-01-01');
CREATE TABLE ingest.prices_2033 PARTITION OF ingest.prices FOR VALUES FROM ('2033-01-01') TO ('2034-01-01');
CREATE TABLE ingest.prices_2034 PARTITION OF ingest.prices FOR VALUES FROM ('2034-01-01') TO ('2035-01-01');
CREATE TABLE ingest.prices_2035 PARTITION OF ingest.prices FOR VALUES FROM ('2035-01-01') TO ('2036-01-01');
CREATE TABLE ingest.prices_later PARTITION OF ingest.prices FOR VALUES FROM ('2036-01-01') TO (MAXVALUE);

CREATE TABLE factors.exposures_1990 PARTITION OF factors.exposures FOR VALUES FROM ('1990-01-01') TO ('1991-01-01');
CREATE TABLE factors.exposures_1991 PARTITION OF factors.exposures FOR VALUES FROM ('1991-01-01') TO ('1992-01-01');
CREATE TABLE factors.exposures_1992 PARTITION OF factors.exposures FOR VALUES FROM ('1992-01-01') TO ('1993-01-01');
CREATE TABLE factors.exposures_1993 PARTITION OF factors.exposures FOR VALUES FROM ('1993-01-01') TO ('1994-01-01');
CREATE TABLE factors.exposures_1994 PARTITION OF factors.exposures FOR VALUES FROM ('1994-01-01') TO ('1995-01-01');
CREATE TABLE factors.exposures_1995 PARTITION OF factors.exposures FOR VALUES FROM ('1995-01-01') TO ('1996-01-01');
CREATE TABLE factors.exposures_1996 PARTITION OF factors.exposures FOR VALUES FROM ('1996-01-01') TO ('1997-01-01');
CREATE TABLE factors.exposures_1997 PARTITION OF factors.exposures FOR VALUES FROM ('1997-01-01') TO ('1998-01-01');
CREATE TABLE factors.exposures_1998 PARTITION OF factors.exposures FOR VALUES FROM ('1998-01-01') TO ('1999-01-01');
CREATE TABLE factors.exposures_1999 PARTITION OF factors.exposures FOR VALUES FROM ('1999-01-01') TO ('2000-01-01');
CREATE TABLE factors.exposures_2000 PARTITION OF factors.exposures FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
CREATE TABLE factors.exposures_2001 PARTITION OF factors.exposures FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
CREATE TABLE factors.exposures_2002 PARTITION OF factors.exposures FOR VALUES FROM ('2002-01-01') TO ('2003-01-01');
CREATE TABLE factors.exposures_2003 PARTITION OF factors.exposures FOR VALUES FROM ('2003-01-01') TO ('2004-01-01');
CREATE TABLE factors.exposures_2004 PARTITION OF factors.exposures FOR VALUES FROM ('2004-01-01') TO ('2005-01-01');
CREATE TABLE factors.exposures_2005 PARTITION OF factors.exposures FOR VALUES FROM ('2005-01-01') TO ('2006-01-01');
CREATE TABLE factors.exposures_2006 PARTITION OF factors.exposures FOR VALUES FROM ('2006-01-01') TO ('2007-01-01');
CREATE TABLE factors.exposures_2007 PARTITION OF factors.exposures FOR VALUES FROM ('2007-01-01') TO ('2008-01-01');
CREATE TABLE factors.exposures_2008 PARTITION OF factors.exposures FOR VALUES FROM ('2008-01-01') TO ('2009-01-01');
CREATE TABLE factors.exposures_2009 PARTITION OF factors.exposures FOR VALUES FROM ('2009-01-01') TO ('2010-01-01');
CREATE TABLE factors.exposures_2010 PARTITION OF factors.exposures FOR VALUES FROM ('2010-01-01') TO ('2011-01-01');
CREATE TABLE factors.exposures_2011 PARTITION OF factors.exposures FOR VALUES FROM ('2011-01-01') TO ('2012-01-01');
CREATE TABLE factors.exposures_2012 PARTITION OF factors.exposures FOR VALUES FROM ('2012-01-01') TO ('2013-01-01');
CREATE TABLE factors.exposures_2013 PARTITION OF factors.exposures FOR VALUES FROM ('2013-01-01') TO ('2014-01-01');
CREATE TABLE factors.exposures_2014 PARTITION OF factors.exposures FOR VALUES FROM ('2014-01-01') TO ('2015-01-01');
CREATE TABLE factors.exposures_2015 PARTITION OF factors.exposures FOR VALUES FROM ('2015-01-01') TO ('2016-01-01');
CREATE TABLE factors.exposures_2016 PARTITION OF factors.exposures FOR VALUES FROM ('2016-01-01') TO ('2017-01-01');
CREATE TABLE factors.exposures_2017 PARTITION OF factors.exposures FOR VALUES FROM ('2017-01-01') TO ('2018-01-01');
CREATE TABLE factors.exposures_2018 PARTITION OF factors.exposures FOR VALUES FROM ('2018-01-01') TO ('2019-01-01');
CREATE TABLE factors.exposures_2019 PARTITION OF factors.exposures FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
CREATE TABLE factors.exposures_2020 PARTITION OF factors.exposures FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE factors.exposures_2021 PARTITION OF factors.exposures FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE factors.exposures_2022 PARTITION OF factors.exposures FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE factors.exposures_2023 PARTITION OF factors.exposures FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE factors.exposures_2024 PARTITION OF factors.exposures FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE factors.exposures_2025 PARTITION OF factors.exposures FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE factors.exposures_2026 PARTITION OF factors.exposures FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE factors.exposures_2027 PARTITION OF factors.exposures FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
CREATE TABLE factors.exposures_2028 PARTITION OF factors.exposures FOR VALUES FROM ('2028-01-01') TO ('2029-01-01');
CREATE TABLE factors.exposures_2029 PARTITION OF factors.exposures FOR VALUES FROM ('2029-01-01') TO ('2030-01-01');
CREATE TABLE factors.exposures_2030 PARTITION OF factors.exposures FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
CREATE TABLE factors.exposures_2031 PARTITION OF factors.exposures FOR VALUES FROM ('2031-01-01') TO ('2032-01-01');
CREATE TABLE factors.exposures_2032 PARTITION OF factors.exposures FOR VALUES FROM ('2032-01-01') TO ('2033-01-01');
CREATE TABLE factors.exposures_2033 PARTITION OF factors.exposures FOR VALUES FROM ('2033-01-01') TO ('2034-01-01');
CREATE TABLE factors.exposures_2034 PARTITION OF factors.exposures FOR VALUES FROM ('2034-01-01') TO ('2035-01-01');
CREATE TABLE factors.exposures_2035 PARTITION OF factors.exposures FOR VALUES FROM ('2035-01-01') TO ('2036-01-01');
CREATE TABLE factors.exposures_later PARTITION OF factors.exposures FOR VALUES FROM ('2036-01-01') TO (MAXVALUE);

CREATE TABLE factors.metrics_1990 PARTITION OF factors.metrics FOR VALUES FROM ('1990-01-01') TO ('1991-01-01');
CREATE TABLE factors.metrics_1991 PARTITION OF factors.metrics FOR VALUES FROM ('1991-01-01') TO ('1992-01-01');
CREATE TABLE factors.metrics_1992 PARTITION OF factors.metrics FOR VALUES FROM ('1992-01-01') TO ('1993-01-01');
CREATE TABLE factors.metrics_1993 PARTITION OF factors.metrics FOR VALUES FROM ('1993-01-01') TO ('1994-01-01');
CREATE TABLE factors.metrics_1994 PARTITION OF factors.metrics FOR VALUES FROM ('1994-01-01') TO ('1995-01-01');
CREATE TABLE factors.metrics_1995 PARTITION OF factors.metrics FOR VALUES FROM ('1995-01-01') TO ('1996-01-01');
CREATE TABLE factors.metrics_1996 PARTITION OF factors.metrics FOR VALUES FROM ('1996-01-01') TO ('1997-01-01');
CREATE TABLE factors.metrics_1997 PARTITION OF factors.metrics FOR VALUES FROM ('1997-01-01') TO ('1998-01-01');
CREATE TABLE factors.metrics_1998 PARTITION OF factors.metrics FOR VALUES FROM ('1998-01-01') TO ('1999-01-01');
CREATE TABLE factors.metrics_1999 PARTITION OF factors.metrics FOR VALUES FROM ('1999-01-01') TO ('2000-01-01');
CREATE TABLE factors.metrics_2000 PARTITION OF factors.metrics FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
CREATE TABLE factors.metrics_2001 PARTITION OF factors.metrics FOR VALUES FROM ('2001-01-01') TO ('2002-01-01');
CREATE TABLE factors.metrics_2002 PARTITION OF factors.metrics FOR VALUES FROM ('2002-01-01') TO ('2003-01-01');
CREATE TABLE factors.metrics_2003 PARTITION OF factors.metrics FOR VALUES FROM ('2003-01-01') TO ('2004-01-01');
CREATE TABLE factors.metrics_2004 PARTITION OF factors.metrics FOR VALUES FROM ('2004-01-01') TO ('2005-01-01');
CREATE TABLE factors.metrics_2005 PARTITION OF factors.metrics FOR VALUES FROM ('2005-01-01') TO ('2006-01-01');
CREATE TABLE factors.metrics_2006 PARTITION OF factors.metrics FOR VALUES FROM ('2006-01-01') TO ('2007-01-01');
CREATE TABLE factors.metrics_2007 PARTITION OF factors.metrics FOR VALUES FROM ('2007-01-01') TO ('2008-01-01');
CREATE TABLE factors.metrics_2008 PARTITION OF factors.metrics FOR VALUES FROM ('2008-01-01') TO ('2009-01-01');
CREATE TABLE factors.metrics_2009 PARTITION OF factors.metrics FOR VALUES FROM ('2009-01-01') TO ('2010-01-01');
CREATE TABLE factors.metrics_2010 PARTITION OF factors.metrics FOR VALUES FROM ('2010-01-01') TO ('2011-01-01');
CREATE TABLE factors.metrics_2011 PARTITION OF factors.metrics FOR VALUES FROM ('2011-01-01') TO ('2012-01-01');
CREATE TABLE factors.metrics_2012 PARTITION OF factors.metrics FOR VALUES FROM ('2012-01-01') TO ('2013-01-01');
CREATE TABLE factors.metrics_2013 PARTITION OF factors.metrics FOR VALUES FROM ('2013-01-01') TO ('2014-01-01');
CREATE TABLE factors.metrics_2014 PARTITION OF factors.metrics FOR VALUES FROM ('2014-01-01') TO ('2015-01-01');
CREATE TABLE factors.metrics_2015 PARTITION OF factors.metrics FOR VALUES FROM ('2015-01-01') TO ('2016-01-01');
CREATE TABLE factors.metrics_2016 PARTITION OF factors.metrics FOR VALUES FROM ('2016-01-01') TO ('2017-01-01');
CREATE TABLE factors.metrics_2017 PARTITION OF factors.metrics FOR VALUES FROM ('2017-01-01') TO ('2018-01-01');
CREATE TABLE factors.metrics_2018 PARTITION OF factors.metrics FOR VALUES FROM ('2018-01-01') TO ('2019-01-01');
CREATE TABLE factors.metrics_2019 PARTITION OF factors.metrics FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
CREATE TABLE factors.metrics_2020 PARTITION OF factors.metrics FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE factors.metrics_2021 PARTITION OF factors.metrics FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE TABLE factors.metrics_2022 PARTITION OF factors.metrics FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE factors.metrics_2023 PARTITION OF factors.metrics FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE factors.metrics_2024 PARTITION OF factors.metrics FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE factors.metrics_2025 PARTITION OF factors.metrics FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE factors.metrics_2026 PARTITION OF factors.metrics FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE factors.metrics_2027 PARTITION OF factors.metrics FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
CREATE TABLE factors.metrics_2028 PARTITION OF factors.metrics FOR VALUES FROM ('2028-01-01') TO ('2029-01-01');
CREATE TABLE factors.metrics_2029 PARTITION OF factors.metrics FOR VALUES FROM ('2029-01-01') TO ('2030-01-01');
CREATE TABLE factors.metrics_2030 PARTITION OF factors.metrics FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
CREATE TABLE factors.metrics_2031 PARTITION OF factors.metrics FOR VALUES FROM ('2031-01-01') TO ('2032-01-01');
CREATE TABLE factors.metrics_2032 PARTITION OF factors.metrics FOR VALUES FROM ('2032-01-01') TO ('2033-01-01');
CREATE TABLE factors.metrics_2033 PARTITION OF factors.metrics FOR VALUES FROM ('2033-01-01') TO ('2034-01-01');
CREATE TABLE factors.metrics_2034 PARTITION OF factors.metrics FOR VALUES FROM ('2034-01-01') TO ('2035-01-01');
CREATE TABLE factors.metrics_2035 PARTITION OF factors.metrics FOR VALUES FROM ('2035-01-01') TO ('2036-01-01');
CREATE TABLE factors.metrics_later PARTITION OF factors.metrics FOR VALUES FROM ('2036-01-01') TO (MAXVALUE);

GRANT USAGE ON SCHEMA bus TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SCHEMA coordinator TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SCHEMA factors TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SCHEMA ingest TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SCHEMA ledger TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SCHEMA risk TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SCHEMA snapshots TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SEQUENCE bus.dead_letters_id_seq TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SEQUENCE bus.outbox_id_seq TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT USAGE ON SEQUENCE coordinator.audit_log_id_seq TO leadline_api;
GRANT USAGE ON SEQUENCE coordinator.notifications_id_seq TO leadline_api;
GRANT USAGE ON SEQUENCE coordinator.price_decisions_id_seq TO leadline_api;
GRANT USAGE ON SEQUENCE ingest.quota_uses_id_seq TO leadline_ingest;
GRANT USAGE ON SEQUENCE ingest.symbols_id_seq TO leadline_ingest;
GRANT USAGE ON SEQUENCE ledger.change TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT SELECT, UPDATE ON TABLE bus.dead_letters TO leadline_api;
GRANT INSERT, SELECT ON TABLE bus.dead_letters TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE bus.dead_letters TO leadline_coordinator;
GRANT SELECT ON TABLE bus.outbox TO leadline_api;
GRANT DELETE, SELECT ON TABLE bus.outbox TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT INSERT, SELECT ON TABLE coordinator.audit_log TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.benchmarks TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.benchmarks TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.closures TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.closures TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.flows TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.flows TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.fund_holdings TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.fund_holdings TO leadline_api, leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.idempotency TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.import_lots TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.import_lots TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.import_mappings TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.import_mappings TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.imports TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.imports TO leadline_api, leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.invitations TO leadline_api, leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.limit_states TO leadline_api, leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.limits TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.lookups TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.lookups TO leadline_api, leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.memberships TO leadline_api, leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.notifications TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.portfolios TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.portfolios TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.positions TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.positions TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.price_decisions TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT INSERT, SELECT ON TABLE coordinator.price_decisions TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.run_units TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.run_units TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.runs TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.runs TO leadline_api, leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.subscriptions TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.symbol_choices TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.symbol_choices TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.tenants TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.tenants TO leadline_api, leadline_coordinator;
GRANT INSERT, SELECT, UPDATE ON TABLE coordinator.tokens TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.trades TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.trades TO leadline_api, leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.users TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE coordinator.versions TO leadline_api, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.versions TO leadline_coordinator;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE coordinator.webhooks TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE factors.exposures TO leadline_api, leadline_coordinator, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE factors.exposures TO leadline_factors;
GRANT SELECT ON TABLE factors.metrics TO leadline_api, leadline_coordinator, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE factors.metrics TO leadline_factors;
GRANT SELECT ON TABLE factors.proxies TO leadline_api, leadline_coordinator, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE factors.proxies TO leadline_factors;
GRANT SELECT ON TABLE ingest.actions TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.actions TO leadline_ingest;
GRANT SELECT ON TABLE ingest.actions_history TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.actions_history TO leadline_ingest;
GRANT SELECT ON TABLE ingest.aliases TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.aliases TO leadline_ingest;
GRANT SELECT ON TABLE ingest.candidates TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.candidates TO leadline_ingest;
GRANT SELECT ON TABLE ingest.chain TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.chain TO leadline_ingest;
GRANT SELECT ON TABLE ingest.gaps TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.gaps TO leadline_ingest;
GRANT SELECT ON TABLE ingest.lookups TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.lookups TO leadline_ingest;
GRANT SELECT ON TABLE ingest.prices TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.prices TO leadline_ingest;
GRANT SELECT ON TABLE ingest.prices_history TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.prices_history TO leadline_ingest;
GRANT SELECT ON TABLE ingest.prices_version TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.prices_version TO leadline_ingest;
GRANT SELECT ON TABLE ingest.profile_schedule TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.profile_schedule TO leadline_ingest;
GRANT SELECT ON TABLE ingest.providers TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.providers TO leadline_ingest;
GRANT SELECT ON TABLE ingest.quarantine TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.quarantine TO leadline_ingest;
GRANT SELECT ON TABLE ingest.quota_uses TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.quota_uses TO leadline_ingest;
GRANT SELECT ON TABLE ingest.statements TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.statements TO leadline_ingest;
GRANT SELECT ON TABLE ingest.symbol_profiles TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.symbol_profiles TO leadline_ingest;
GRANT SELECT ON TABLE ingest.symbols TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.symbols TO leadline_ingest;
GRANT SELECT ON TABLE ingest.yield_years TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.yield_years TO leadline_ingest;
GRANT SELECT ON TABLE ingest.yields TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.yields TO leadline_ingest;
GRANT SELECT ON TABLE ingest.yields_history TO leadline_api, leadline_coordinator, leadline_factors, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ingest.yields_history TO leadline_ingest;
GRANT DELETE, SELECT ON TABLE ledger.failures TO leadline_api;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ledger.failures TO leadline_coordinator;
GRANT DELETE, INSERT, SELECT ON TABLE ledger.failures TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT SELECT ON TABLE ledger.portfolio_changes TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT SELECT, UPDATE ON TABLE ledger.schedule TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ledger.schedule TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE ledger.shortfall_changes TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, SELECT ON TABLE ledger.shortfall_changes TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE ledger.unit_changes TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, SELECT ON TABLE ledger.unit_changes TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE ledger.unit_runs TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ledger.unit_runs TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE ledger.unit_shortfalls TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ledger.unit_shortfalls TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE ledger.units TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE ledger.units TO leadline_api, leadline_coordinator;
GRANT SELECT ON TABLE public.alembic_version TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT SELECT ON TABLE risk.results TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE risk.results TO leadline_risk;
GRANT SELECT ON TABLE risk.results_history TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE risk.results_history TO leadline_risk;
GRANT SELECT ON TABLE risk.scenario_choice TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE risk.scenario_choice TO leadline_risk;
GRANT SELECT ON TABLE risk.scenario_sets TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE risk.scenario_sets TO leadline_risk;
GRANT SELECT ON TABLE risk.stress_shocks TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_snapshots;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE risk.stress_shocks TO leadline_risk;
GRANT SELECT ON TABLE snapshots.holdings TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE snapshots.holdings TO leadline_snapshots;
GRANT SELECT ON TABLE snapshots.holdings_history TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE snapshots.holdings_history TO leadline_snapshots;
GRANT SELECT ON TABLE snapshots.positions TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE snapshots.positions TO leadline_snapshots;
GRANT SELECT ON TABLE snapshots.snapshots TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE snapshots.snapshots TO leadline_snapshots;
GRANT SELECT ON TABLE snapshots.snapshots_history TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk;
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE snapshots.snapshots_history TO leadline_snapshots;
GRANT INSERT (event_id), INSERT (headers), INSERT (key), INSERT (payload), INSERT (topic), INSERT (type), UPDATE (error), UPDATE (failed_at), UPDATE (sent_at) ON TABLE bus.outbox TO leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
GRANT INSERT (event_id), INSERT (headers), INSERT (key), INSERT (payload), INSERT (topic), INSERT (type) ON TABLE bus.outbox TO leadline_api;
GRANT UPDATE (blocked_reason), UPDATE (completed_at), UPDATE (completed_revision), UPDATE (coverage), UPDATE (provisional), UPDATE (quality), UPDATE (reasons) ON TABLE ledger.units TO leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots;
REVOKE EXECUTE ON FUNCTION coordinator.may_join(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION coordinator.may_join(uuid) TO leadline_api;
REVOKE EXECUTE ON FUNCTION coordinator.tell_run(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION coordinator.tell_run(uuid) TO leadline_api, leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ingest.close_day(date,date,date,bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ingest.close_day(date,date,date,bigint) TO leadline_api, leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ingest.open_day(date,date,date,bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ingest.open_day(date,date,date,bigint) TO leadline_api, leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ingest.renew_prices_version() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION ingest.take_returns(date,date,bigint) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION ingest.taken_return(boolean,text,double precision,double precision,double precision,boolean) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION ledger.begin_unseen() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.begin_unseen() TO leadline_api, leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ledger.drop_history(timestamp with time zone,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.drop_history(timestamp with time zone,integer) TO leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ledger.forget_portfolio_changes(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.forget_portfolio_changes(bigint) TO leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ledger.keep_history() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION ledger.note_portfolio_change() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION ledger.note_unit_changes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.order_lock() TO leadline_api, leadline_coordinator, leadline_factors, leadline_ingest, leadline_risk, leadline_snapshots, PUBLIC;
REVOKE EXECUTE ON FUNCTION ledger.release_withheld(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.release_withheld(uuid[]) TO leadline_ingest;
REVOKE EXECUTE ON FUNCTION ledger.require(uuid[],date[],date[],ledger.phase[],bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.require(uuid[],date[],date[],ledger.phase[],bigint) TO leadline_api, leadline_coordinator, leadline_ingest, leadline_risk;
REVOKE EXECUTE ON FUNCTION ledger.thin_results(uuid[],date,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.thin_results(uuid[],date,integer) TO leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ledger.withdraw(uuid,date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.withdraw(uuid,date) TO leadline_api, leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ledger.withdraw_after(uuid[],date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.withdraw_after(uuid[],date) TO leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ledger.withdraw_session(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.withdraw_session(date) TO leadline_api, leadline_coordinator;
REVOKE EXECUTE ON FUNCTION ledger.withhold(uuid[],timestamp with time zone[],ledger.phase[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.withhold(uuid[],timestamp with time zone[],ledger.phase[]) TO leadline_ingest;
