-- factors: symbol facts, once a symbol and session, shared by every portfolio.
-- In the arrays NaN stands for "unknown" (an array of doubles is half the size and ten times the speed of one with nulls);
-- the reason stands in `reasons`, keyed by figure. NaN never leaves the service: the API answers null.

-- Which proxies stood for the factors on that session, and the geometry of the joint set.
CREATE TABLE factors.proxies (
    session       date NOT NULL,
    model_version text NOT NULL,
    price_version bigint NOT NULL,
    proxies       text[] NOT NULL,             -- per factor of the registry, in its order; null element: no proxy
    slopes        double precision[] NOT NULL, -- b_k of the factor on the market over the window; 1 for the market
    sigmas        double precision[] NOT NULL, -- population sd of the residual Z_k; NaN for the market
    computed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (session)
);

CREATE TABLE factors.exposures (
    symbol_id     integer NOT NULL,
    session       date NOT NULL,
    model_version text NOT NULL,
    price_version bigint NOT NULL,             -- highest change number in the window, the proxies' included
    market        double precision[] NOT NULL, -- beta, alpha, r2, stderr, stderr_hac, t_hac
    market_shrunk double precision,
    ir_beta       double precision,
    spreads       double precision[] NOT NULL, -- per spread of the registry: beta, stderr_hac, r2
    joint         double precision[] NOT NULL, -- per factor of the registry: beta
    joint_fit     double precision[] NOT NULL, -- r2, condition number, resid_sd (daily)
    n_obs         smallint[] NOT NULL,         -- market, ir, each spread, joint
    quality       text NOT NULL CHECK (quality IN ('full', 'limited', 'none')),
    flagged       boolean NOT NULL,            -- a beta beyond +-5
    reasons       jsonb NOT NULL DEFAULT '{}', -- figure -> reason
    computed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol_id, session)
) PARTITION BY RANGE (session);

CREATE TABLE factors.metrics (
    symbol_id     integer NOT NULL,
    session       date NOT NULL,
    model_version text NOT NULL,
    price_version bigint NOT NULL,
    price         double precision,
    price_basis   text,
    price_return  double precision[] NOT NULL, -- 1d 1m 3m 6m 12m mtd qtd ytd
    total_return  double precision[] NOT NULL,
    volatility    double precision[] NOT NULL, -- 21 63 252 sessions, annualised
    quality       text NOT NULL CHECK (quality IN ('full', 'limited', 'none')),
    reasons       jsonb NOT NULL DEFAULT '{}',
    computed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (symbol_id, session)
) PARTITION BY RANGE (session);
