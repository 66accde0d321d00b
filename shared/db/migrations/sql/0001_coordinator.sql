-- coordinator: the user's own data, and the runs that were asked for.

CREATE TABLE coordinator.portfolios (
    id             uuid PRIMARY KEY DEFAULT uuidv7(),
    name           text NOT NULL,
    account_type   text NOT NULL,
    currency       text NOT NULL DEFAULT 'USD',
    equity_balance numeric(20, 4) NOT NULL CHECK (equity_balance > 0),
    first_session  date,             -- of the earliest entry; null without positions
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    deleted_at     timestamptz
);
CREATE INDEX portfolios_active ON coordinator.portfolios (id) WHERE deleted_at IS NULL;

-- One row a lot. Prices and quantities are as traded on their dates; `stated_*` keeps what the user wrote.
CREATE TABLE coordinator.positions (
    id               uuid PRIMARY KEY DEFAULT uuidv7(),
    portfolio_id     uuid NOT NULL REFERENCES coordinator.portfolios,
    symbol           text NOT NULL,            -- normalised
    quantity         numeric(28, 10) NOT NULL CHECK (quantity <> 0),
    entry_date       date NOT NULL,
    entry_session    date NOT NULL,            -- first session >= entry_date
    entry_price      numeric(28, 10) NOT NULL CHECK (entry_price > 0),
    exit_date        date,
    exit_session     date,
    exit_price       numeric(28, 10),
    investment_class text NOT NULL CHECK (investment_class IN ('PUBLIC', 'OPTIONS', 'PRIVATE')),
    investment_subtype text,
    underlying_symbol  text,
    strike_price       numeric(28, 10),
    expiration_date    date,
    option_type        text CHECK (option_type IN ('CALL', 'PUT')),
    name             text,
    sector           text,
    price_basis      text NOT NULL DEFAULT 'as_traded' CHECK (price_basis IN ('as_traded', 'split_adjusted', 'adjusted')),
    -- Decided before a close of the entry day was known. Nothing is computed from it until it is settled.
    basis_assumed    boolean NOT NULL DEFAULT false,
    -- Who or what decided: the user; the day's closes; closes that are far from the price; nobody, for there is no close.
    -- Null: not decided yet, or nothing to decide.
    basis_reason     text CHECK (basis_reason IN ('stated', 'compared', 'mismatch', 'no_close')),
    -- The session whose closes decide, until they have. A close that arrives there after all is compared then.
    basis_awaits     date,
    stated_quantity    numeric(28, 10) NOT NULL,
    stated_entry_price numeric(28, 10) NOT NULL,
    stated_exit_price  numeric(28, 10),
    content_key      text,                     -- row content and occurrence: the same file again changes nothing
    created_at       timestamptz NOT NULL DEFAULT now(),
    deleted_at       timestamptz,
    CONSTRAINT assumed_awaits CHECK (NOT basis_assumed OR basis_awaits IS NOT NULL),
    CONSTRAINT exit_is_whole CHECK ((exit_date IS NULL) = (exit_session IS NULL) AND (exit_date IS NULL) = (exit_price IS NULL)),
    CONSTRAINT exit_after_entry CHECK (exit_date IS NULL OR exit_date >= entry_date)
);
CREATE INDEX positions_of_portfolio ON coordinator.positions (portfolio_id) WHERE deleted_at IS NULL;
CREATE INDEX positions_awaiting ON coordinator.positions (portfolio_id) WHERE deleted_at IS NULL AND basis_awaits IS NOT NULL;
CREATE INDEX positions_of_symbol ON coordinator.positions (symbol) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX positions_content ON coordinator.positions (portfolio_id, content_key)
    WHERE deleted_at IS NULL AND content_key IS NOT NULL;

CREATE TABLE coordinator.flows (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    portfolio_id uuid NOT NULL REFERENCES coordinator.portfolios,
    date         date NOT NULL,
    session      date NOT NULL,                -- first session >= date
    amount       numeric(20, 4) NOT NULL CHECK (amount <> 0),   -- positive is money in
    note         text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    deleted_at   timestamptz
);
CREATE INDEX flows_of_portfolio ON coordinator.flows (portfolio_id, session) WHERE deleted_at IS NULL;

-- A run is a trigger somebody pulled. Its status is derived from the units, never stored.
CREATE TABLE coordinator.runs (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    source       text NOT NULL CHECK (source IN ('onboarding', 'cron', 'settings', 'admin', 'reconciler', 'cli')),
    what         text NOT NULL CHECK (what IN ('missing', 'failed', 'all')),
    scope        jsonb NOT NULL,
    scope_key    text NOT NULL,                -- equal scopes coalesce while unfinished
    requested_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX runs_by_scope ON coordinator.runs (source, what, scope_key, requested_at DESC);
CREATE INDEX runs_by_time ON coordinator.runs (requested_at DESC);

-- The unit keys of a run, as runs of consecutive sessions, with the revision then required.
CREATE TABLE coordinator.run_units (
    run_id            uuid NOT NULL REFERENCES coordinator.runs ON DELETE CASCADE,
    portfolio_id      uuid NOT NULL,
    phase             ledger.phase NOT NULL,
    first             date NOT NULL,
    last              date NOT NULL,
    units             integer NOT NULL CHECK (units > 0),
    required_revision bigint NOT NULL,
    PRIMARY KEY (run_id, portfolio_id, phase, first)
);

-- What ran last: a new code unblocks what the old one could not do, a new model restates what the old one said.
CREATE TABLE coordinator.versions (
    name    text PRIMARY KEY CHECK (name IN ('code', 'model')),
    version text NOT NULL,
    since   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE coordinator.idempotency (
    key          text NOT NULL,
    endpoint     text NOT NULL,
    request_hash text NOT NULL,
    status       integer NOT NULL,
    response     jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, endpoint)
);

-- What a user answered to "which security do you mean": the symbol vendors are asked for, while valid.
CREATE TABLE coordinator.symbol_choices (
    symbol     text NOT NULL,
    chosen     text NOT NULL,
    valid_from date NOT NULL DEFAULT '-infinity',
    valid_to   date NOT NULL DEFAULT 'infinity',
    chosen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol, valid_from),
    CHECK (valid_from <= valid_to)
);
