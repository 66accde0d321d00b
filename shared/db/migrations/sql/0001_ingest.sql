-- ingest: the symbol universe, prices as traded, corporate actions, and the reason for every price that is not there.

CREATE TABLE ingest.symbols (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol       text NOT NULL UNIQUE,
    asset_type   text NOT NULL DEFAULT 'unknown',
    name         text,
    sector       text,
    industry     text,
    sector_as_of date,
    currency     text NOT NULL DEFAULT 'USD',
    -- Every session in [covered_from, covered_to] is known: priced, or absent by a row of ingest.gaps.
    covered_from date,
    covered_to   date,
    -- Who is fetching it now; expires by the database's clock.
    claim_owner  text,
    claim_until  timestamptz,
    -- Everything up to here was asked for anew when a person wanted it (`rerun --phase ingest --what all`).
    refreshed_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT coverage_is_whole CHECK ((covered_from IS NULL) = (covered_to IS NULL)),
    CONSTRAINT claim_is_whole CHECK ((claim_owner IS NULL) = (claim_until IS NULL))
);

CREATE TABLE ingest.prices (
    symbol_id    integer NOT NULL,
    session      date NOT NULL,
    open         double precision,
    high         double precision,
    low          double precision,
    close        double precision,      -- as traded; null where the source gives only an adjusted one
    adj_close    double precision,      -- on the vintage first fetched, carried on by ratios; levels of two symbols do not compare
    volume       double precision,
    total_return double precision,      -- from the previous session, decimal; null where either end is missing
    return_basis text CHECK (return_basis IN ('adjusted', 'price_only', 'actions')),
    basis        text NOT NULL CHECK (basis IN ('as_traded', 'file')),
    provider     text NOT NULL,
    fetched_at   timestamptz NOT NULL,
    change       bigint NOT NULL,       -- price version: from ledger.change, under ledger.order_lock()
    PRIMARY KEY (symbol_id, session),
    CONSTRAINT has_a_price CHECK (close > 0 OR adj_close > 0)
) PARTITION BY RANGE (session);

-- What a correction replaced. `known_until` is when we stopped believing it.
CREATE TABLE ingest.prices_history (LIKE ingest.prices, known_until timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX prices_history_key ON ingest.prices_history (symbol_id, session);

CREATE TABLE ingest.actions (
    symbol_id  integer NOT NULL REFERENCES ingest.symbols,
    ex_session date NOT NULL,           -- a non-session ex-date rolls to the next session
    type       text NOT NULL CHECK (type IN ('split', 'dividend')),
    value      double precision NOT NULL CHECK (value > 0),  -- new shares per old; cash per share as paid
    ex_date    date NOT NULL,
    provider   text NOT NULL,
    fetched_at timestamptz NOT NULL,
    change     bigint NOT NULL,
    PRIMARY KEY (symbol_id, ex_session, type)
);

-- Sessions without a price, as ranges of consecutive sessions, with the reason. A null retry_at is terminal.
CREATE TABLE ingest.gaps (
    symbol_id  integer NOT NULL REFERENCES ingest.symbols,
    first      date NOT NULL,
    last       date NOT NULL,
    reason     text NOT NULL CHECK (reason IN ('rate_limited', 'provider_down', 'quarantined', 'not_found', 'ambiguous',
                                               'delisted', 'not_yet_listed', 'no_trade')),
    terminal   boolean NOT NULL,
    provider   text NOT NULL,
    checked_at timestamptz NOT NULL,
    retry_at   timestamptz,
    PRIMARY KEY (symbol_id, first),
    CHECK (first <= last)
);
CREATE INDEX gaps_retry ON ingest.gaps (retry_at) WHERE retry_at IS NOT NULL;

-- What vendors said of a company, by the day it was true of: never overwritten by what they say later. Whoever reads for a
-- session takes the newest row dated on or before it.
CREATE TABLE ingest.symbol_profiles (
    symbol_id  integer NOT NULL REFERENCES ingest.symbols,
    as_of      date NOT NULL,
    provider   text NOT NULL,
    beta       double precision,        -- the vendor's own; ours is in factors.exposures and never stands in for it
    sector     text,                    -- as the vendor spells it
    industry   text,
    name       text,
    market_cap double precision,
    pe         double precision,
    fetched_at timestamptz NOT NULL,
    PRIMARY KEY (symbol_id, as_of, provider)
);

-- How each provider is doing, for all replicas: limits it told us, and the circuit breaker.
CREATE TABLE ingest.providers (
    provider        text NOT NULL,
    account         text NOT NULL,          -- hash of who is counted by the vendor; never the key
    failures        integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    closed_until    timestamptz,            -- not asked before
    closed_by       text CHECK (closed_by IN ('rate_limited', 'provider_down', 'auth')),
    probe_until     timestamptz,            -- half open: somebody is trying, until then nobody else does
    last_fault      text,
    last_fault_at   timestamptz,
    last_success_at timestamptz,
    PRIMARY KEY (provider, account)
);

-- Calls taken of a quota. While they are being made `at` is the end of the lease, afterwards when the last one had ended:
-- a call never counts as older than it is.
CREATE TABLE ingest.quota_uses (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    calls   integer NOT NULL CHECK (calls > 0),
    at      timestamptz NOT NULL
);
CREATE INDEX quota_uses_account ON ingest.quota_uses (account, at);

-- Take up to p_wanted calls of every window at once, or at least p_least, or none and the time to come back.
-- p_share: what part of each window this purpose may use up. One statement for the caller; a function, because in one plain
-- statement the count would be of a snapshot taken before the lock was waited for.
CREATE FUNCTION ingest.take_calls(
    p_provider text, p_account text, p_wanted integer, p_least integer, p_share double precision,
    p_limits integer[], p_seconds double precision[], p_trip integer, p_lease interval
) RETURNS TABLE (use_id bigint, granted integer, retry_at timestamptz, reason text, fault text)
LANGUAGE plpgsql AS $$
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
END $$;

-- The providers enabled now, in their order, as the ingest service started with them: what an estimate before onboarding knows.
CREATE TABLE ingest.chain (
    rank        integer PRIMARY KEY,
    provider    text NOT NULL,
    account     text,                       -- null: no network, no quota
    limits      integer[] NOT NULL,
    seconds     double precision[] NOT NULL,
    calls_each  double precision NOT NULL,  -- for a symbol's prices
    calls_fifty double precision NOT NULL   -- and for every fifty symbols
);

-- What a correction of an action replaced, and actions a source took back.
CREATE TABLE ingest.actions_history (LIKE ingest.actions, known_until timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION ingest.keep_action() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ingest.actions_history SELECT OLD.*, clock_timestamp();
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER keep_action BEFORE UPDATE OR DELETE ON ingest.actions FOR EACH ROW EXECUTE FUNCTION ingest.keep_action();

-- Prices that jumped beyond five standard deviations on a day without an action, and were not stored: until a second provider
-- says the same, or an operator sets released_at.
CREATE TABLE ingest.quarantine (
    symbol_id   integer NOT NULL REFERENCES ingest.symbols,
    session     date NOT NULL,
    provider    text NOT NULL,
    return      double precision NOT NULL,   -- decimal, from the session before
    sigma       double precision NOT NULL,   -- of daily returns before it
    second      text,                        -- who was asked, and
    second_return double precision,          -- what it said; null: nobody could answer
    found_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_at timestamptz,
    released_by text,                        -- `confirmed` or an operator's name
    PRIMARY KEY (symbol_id, session)
);

-- What a symbol of the user's is called at the vendors: renames they told us of (FB is META). A question is asked under the
-- target if its last session lies in [valid_from, valid_to]; a symbol that is used again ends at valid_to. What users said
-- stands in coordinator.symbol_choices and wins.
CREATE TABLE ingest.aliases (
    symbol     text NOT NULL,
    target     text NOT NULL CHECK (target <> symbol),
    valid_from date NOT NULL DEFAULT '-infinity',
    valid_to   date NOT NULL DEFAULT 'infinity',
    renamed_on date,
    provider   text NOT NULL,
    found_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol, valid_from),
    CHECK (valid_from <= valid_to)
);

-- What an ambiguous symbol may mean; the user is asked.
CREATE TABLE ingest.candidates (
    symbol_id  integer NOT NULL REFERENCES ingest.symbols,
    candidate  text NOT NULL,
    exchange   text NOT NULL DEFAULT '',
    name       text,
    asset_type text NOT NULL DEFAULT 'unknown',
    currency   text,
    found_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol_id, candidate, exchange)
);

-- Quarterly statements as a vendor gave them, under our names (providers/vendor.py, ITEMS). Doubles: no column is too narrow.
CREATE TABLE ingest.statements (
    symbol_id  integer NOT NULL REFERENCES ingest.symbols,
    provider   text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('income', 'balance', 'cash_flow')),
    period_end date NOT NULL,
    figures    jsonb NOT NULL,
    currency   text,
    filed_on   date,
    fetched_at timestamptz NOT NULL,
    PRIMARY KEY (symbol_id, provider, kind, period_end)
);

-- When a symbol's profile and statements are asked for next: three days after earnings.
CREATE TABLE ingest.profile_schedule (
    symbol_id  integer PRIMARY KEY REFERENCES ingest.symbols,
    next_at    timestamptz NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
