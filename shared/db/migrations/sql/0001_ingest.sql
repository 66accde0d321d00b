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
    reason     text NOT NULL CHECK (reason IN ('rate_limited', 'provider_down', 'not_found', 'ambiguous', 'delisted',
                                               'not_yet_listed', 'no_trade')),
    terminal   boolean NOT NULL,
    provider   text NOT NULL,
    checked_at timestamptz NOT NULL,
    retry_at   timestamptz,
    PRIMARY KEY (symbol_id, first),
    CHECK (first <= last)
);
CREATE INDEX gaps_retry ON ingest.gaps (retry_at) WHERE retry_at IS NOT NULL;
