-- risk: one row a portfolio and session; each document is the body of one answer, without its envelope.

CREATE TABLE risk.results (
    portfolio_id  uuid NOT NULL,
    session       date NOT NULL,
    revision      bigint NOT NULL,
    model_version text NOT NULL,
    quality       text NOT NULL CHECK (quality IN ('complete', 'partial')),
    coverage      double precision NOT NULL,
    reasons       jsonb NOT NULL DEFAULT '[]',
    exposures     jsonb NOT NULL,   -- factor exposures, portfolio and positions
    risk          jsonb NOT NULL,   -- volatility, beta, decomposition, VaR, drawdown, concentration, sectors
    correlations  jsonb,
    stress        jsonb,
    computed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (portfolio_id, session)
) WITH (fillfactor = 90);
CREATE TABLE risk.results_history (LIKE risk.results, replaced_at timestamptz NOT NULL);
CREATE INDEX results_history_key ON risk.results_history (portfolio_id, session, revision);
CREATE TRIGGER keep_history AFTER UPDATE OR DELETE ON risk.results
    FOR EACH ROW EXECUTE FUNCTION ledger.keep_history('results_history');
