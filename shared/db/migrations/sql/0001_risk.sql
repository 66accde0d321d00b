-- risk: one row a portfolio and session. Figures of holdings, factors and scenarios are arrays, an eighth of what they are as
-- documents; what is one of a kind is a document. The coordinator makes the answers of them.
-- In the arrays of doubles NaN stands for "unknown". F: the factors of the registry in their order; K: `symbols`; C: the scenarios.

-- The scenarios of a computation by a digest of them, since every row of a night has the same: [{id, name, factors: scripted ones}].
CREATE TABLE risk.scenario_sets (
    digest    text PRIMARY KEY,
    scenarios jsonb NOT NULL
);

CREATE TABLE risk.results (
    portfolio_id        uuid NOT NULL,
    session             date NOT NULL,
    revision            bigint NOT NULL,
    model_version       text NOT NULL,
    quality             text NOT NULL CHECK (quality IN ('complete', 'partial')),
    coverage            double precision NOT NULL,
    reasons             jsonb NOT NULL DEFAULT '[]',
    risk                jsonb NOT NULL,     -- volatility, beta, decomposition, VaR, drawdown, concentration, sectors

    -- Holdings, merged by symbol.
    symbols             text[],             -- K, sorted
    weights             double precision[], -- K, of NAV
    exposure_values     double precision[], -- K, signed money
    betas               double precision[], -- K x F, the joint set
    beta_reasons        text[],             -- K, null: the betas are there
    greeks              double precision[], -- K x (implied volatility, delta, gamma, vega, theta); empty without options that have them
    realized_252        double precision[], -- K
    forecast_21         double precision[], -- K
    har                 boolean[],          -- K, whether the forecast is the HAR's; else the EWMA's
    series_reasons      text[],             -- K, null: both of these volatilities are there
    excluded            text[],             -- K, why not among the M members of the correlation matrix; null: a member
    contributions       double precision[], -- M, to the volatility
    contribution_shares double precision[], -- M

    -- Factors.
    proxies             text[],             -- F, null: none
    exposures           double precision[], -- (F joint, then 7 reported) x (beta, money, covered weight)
    exposure_limited    boolean[],          -- F + 7, whether a short history is among the betas
    exposure_reasons    text[],             -- F + 7, null: the beta is there
    model_factors       text[],             -- A, those with a full window
    factor_shares       double precision[], -- A, of the model's variance
    factor_correlations double precision[], -- upper triangle of A x A with its diagonal, row by row

    -- Correlations of the M members.
    correlations        double precision[], -- upper triangle without its diagonal, row by row
    correlation_n_obs   smallint[],         -- upper triangle with its diagonal, row by row
    clusters            smallint[],         -- M, from 0: the first member of the cluster
    shrinkage           double precision,
    mean_correlation    double precision,   -- of absolute values

    -- Stress.
    scenario_set        text,
    stress_reasons      text[],             -- C, null: computed
    stress_shocks       double precision[], -- C x F: returns of the proxies, scripted or implied
    stress_capped       smallint[],         -- from 0: the positions in `stress_shocks` that were capped
    stress_direct       double precision[], -- C x (money, fraction of NAV, F by factor, K by symbol)
    stress_propagated   double precision[], -- the same
    uncovered_value     double precision,

    -- Scorecard: its inputs. It is added up when it is read, so that it never lags behind sessions that are mended later.
    forecasts           double precision[], -- volatility and variance by HAR, variance by EWMA, VaR 95 historical and normal
    realized_return     double precision,   -- of the session, with the weights at the close before it
    computed_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (portfolio_id, session)
) WITH (fillfactor = 90);
-- Noise of doubles does not compress; trying to costs more than writing it.
ALTER TABLE risk.results
    ALTER betas SET STORAGE EXTERNAL, ALTER correlations SET STORAGE EXTERNAL, ALTER stress_shocks SET STORAGE EXTERNAL,
    ALTER stress_direct SET STORAGE EXTERNAL, ALTER stress_propagated SET STORAGE EXTERNAL;

CREATE TABLE risk.results_history (LIKE risk.results INCLUDING STORAGE, replaced_at timestamptz NOT NULL);
CREATE INDEX results_history_key ON risk.results_history (portfolio_id, session, revision);
CREATE TRIGGER keep_history AFTER UPDATE OR DELETE ON risk.results
    FOR EACH ROW EXECUTE FUNCTION ledger.keep_history('results_history');
