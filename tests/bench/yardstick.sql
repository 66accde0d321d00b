-- What commit 232be82 wrote a night and an onboarding into: the columns, indexes, storage and fill factors of its tables, frozen.
-- It stays as it is when the product learns to write less. Without checks and triggers: nothing here is work but the writing.
CREATE SCHEMA yardstick;

CREATE TABLE yardstick.results (
    portfolio_id uuid NOT NULL, session date NOT NULL, revision bigint NOT NULL, model_version text NOT NULL, quality text NOT NULL,
    coverage double precision NOT NULL, reasons jsonb NOT NULL, risk jsonb NOT NULL,
    symbols text[], weights double precision[], exposure_values double precision[], betas double precision[], beta_reasons text[],
    greeks double precision[], realized_252 double precision[], forecast_21 double precision[], har boolean[], series_reasons text[],
    excluded text[], contributions double precision[], contribution_shares double precision[],
    proxies text[], exposures double precision[], exposure_limited boolean[], exposure_reasons text[], model_factors text[],
    factor_shares double precision[], factor_correlations double precision[],
    correlations double precision[], correlation_n_obs smallint[], clusters smallint[], shrinkage double precision,
    mean_correlation double precision,
    scenario_set text, stress_reasons text[], stress_shocks double precision[], stress_capped smallint[],
    stress_direct double precision[], stress_propagated double precision[], uncovered_value double precision,
    forecasts double precision[], realized_return double precision, computed_at timestamptz NOT NULL,
    tilts double precision[], duration_as_of date,
    PRIMARY KEY (portfolio_id, session)
) WITH (fillfactor = 90);
ALTER TABLE yardstick.results
    ALTER betas SET STORAGE EXTERNAL, ALTER correlations SET STORAGE EXTERNAL, ALTER stress_shocks SET STORAGE EXTERNAL,
    ALTER stress_direct SET STORAGE EXTERNAL, ALTER stress_propagated SET STORAGE EXTERNAL;

CREATE TABLE yardstick.holdings (
    portfolio_id uuid NOT NULL, session date NOT NULL, revision bigint NOT NULL, position_ids uuid[] NOT NULL, symbols text[] NOT NULL,
    quantity double precision[] NOT NULL, price double precision[] NOT NULL, price_session date[] NOT NULL, price_basis text[] NOT NULL,
    stale smallint[] NOT NULL, market_value bigint[] NOT NULL, daily_pnl bigint[] NOT NULL, cumulative_pnl bigint[] NOT NULL,
    realized_pnl bigint[] NOT NULL, dividends bigint[] NOT NULL, reason text[] NOT NULL,
    PRIMARY KEY (portfolio_id, session)
) WITH (fillfactor = 90);

CREATE TABLE yardstick.snapshots (
    portfolio_id uuid NOT NULL, session date NOT NULL, revision bigint NOT NULL, model_version text NOT NULL,
    nav numeric(20, 4) NOT NULL, cash numeric(20, 4) NOT NULL, long_value numeric(20, 4) NOT NULL, short_value numeric(20, 4) NOT NULL,
    gross_exposure numeric(20, 4) NOT NULL, net_exposure numeric(20, 4) NOT NULL, daily_pnl numeric(20, 4) NOT NULL,
    daily_return double precision, cumulative_pnl numeric(20, 4) NOT NULL, realized_pnl numeric(20, 4) NOT NULL,
    unrealized_pnl numeric(20, 4) NOT NULL, dividends numeric(20, 4) NOT NULL, flow numeric(20, 4) NOT NULL,
    cumulative_flow numeric(20, 4) NOT NULL, mtd_return double precision, ytd_return double precision, cumulative_return double precision,
    peak_index double precision, drawdown double precision, xirr double precision, positions integer NOT NULL,
    long_positions integer NOT NULL, short_positions integer NOT NULL, coverage double precision NOT NULL, quality text NOT NULL,
    reasons jsonb NOT NULL, computed_at timestamptz NOT NULL,
    PRIMARY KEY (portfolio_id, session)
) WITH (fillfactor = 90);

CREATE TABLE yardstick.exposures (
    symbol_id integer NOT NULL, session date NOT NULL, model_version text NOT NULL, price_version bigint NOT NULL,
    market double precision[] NOT NULL, market_shrunk double precision, ir_beta double precision, spreads double precision[] NOT NULL,
    joint double precision[] NOT NULL, joint_fit double precision[] NOT NULL, n_obs smallint[] NOT NULL, quality text NOT NULL,
    flagged boolean NOT NULL, reasons jsonb NOT NULL, computed_at timestamptz NOT NULL,
    PRIMARY KEY (symbol_id, session)
);

CREATE TABLE yardstick.metrics (
    symbol_id integer NOT NULL, session date NOT NULL, model_version text NOT NULL, price_version bigint NOT NULL,
    price double precision, price_basis text, price_return double precision[] NOT NULL, total_return double precision[] NOT NULL,
    volatility double precision[] NOT NULL, quality text NOT NULL, reasons jsonb NOT NULL, computed_at timestamptz NOT NULL,
    PRIMARY KEY (symbol_id, session)
);

CREATE TABLE yardstick.units (
    portfolio_id uuid NOT NULL, session date NOT NULL, phase text NOT NULL, required_revision bigint NOT NULL,
    completed_revision bigint NOT NULL DEFAULT 0, quality text, coverage double precision, reasons jsonb NOT NULL DEFAULT '[]',
    blocked_reason text, completed_at timestamptz, required_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (portfolio_id, session, phase)
) WITH (fillfactor = 85);
CREATE INDEX units_missing ON yardstick.units (portfolio_id, phase, session)
    WHERE completed_revision < required_revision AND blocked_reason IS NULL;
CREATE INDEX units_blocked ON yardstick.units (portfolio_id, phase, session) WHERE blocked_reason IS NOT NULL;
CREATE INDEX units_partial ON yardstick.units (portfolio_id, phase, session) WHERE quality = 'partial';

-- Random content, which no compression makes smaller.
CREATE FUNCTION yardstick.floats(n integer) RETURNS double precision[] LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(array_agg(random()), '{}') FROM generate_series(1, n) $$;
CREATE FUNCTION yardstick.cents(n integer) RETURNS bigint[] LANGUAGE sql VOLATILE AS $$
    SELECT array_agg((1e9 * random())::bigint) FROM generate_series(1, n) $$;
CREATE FUNCTION yardstick.smalls(n integer) RETURNS smallint[] LANGUAGE sql VOLATILE AS $$
    SELECT array_agg((500 * random())::smallint) FROM generate_series(1, n) $$;
CREATE FUNCTION yardstick.names(n integer) RETURNS text[] LANGUAGE sql VOLATILE AS $$
    SELECT array_agg('S' || lpad((999 * random())::integer::text, 3, '0')) FROM generate_series(1, n) $$;
CREATE FUNCTION yardstick.flags(n integer) RETURNS boolean[] LANGUAGE sql VOLATILE AS $$
    SELECT array_agg(random() > 0.5) FROM generate_series(1, n) $$;
CREATE FUNCTION yardstick.document(n integer) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT to_jsonb(left(string_agg(md5(random()::text), ''), n)) FROM generate_series(1, 1 + n / 32) $$;
CREATE FUNCTION yardstick.money() RETURNS numeric LANGUAGE sql VOLATILE AS $$ SELECT round((1e6 * random())::numeric, 4) $$;
