-- snapshots: the equity roll-forward. Money is exact: numeric(20, 4), or ten-thousandths in a bigint inside arrays.

CREATE TABLE snapshots.snapshots (
    portfolio_id      uuid NOT NULL,
    session           date NOT NULL,
    revision          bigint NOT NULL,
    model_version     text NOT NULL,
    nav               numeric(20, 4) NOT NULL,
    cash              numeric(20, 4) NOT NULL,
    long_value        numeric(20, 4) NOT NULL,
    short_value       numeric(20, 4) NOT NULL CHECK (short_value <= 0),
    gross_exposure    numeric(20, 4) NOT NULL,
    net_exposure      numeric(20, 4) NOT NULL,
    daily_pnl         numeric(20, 4) NOT NULL,
    daily_return      double precision,
    cumulative_pnl    numeric(20, 4) NOT NULL,
    realized_pnl      numeric(20, 4) NOT NULL,
    unrealized_pnl    numeric(20, 4) NOT NULL,
    dividends         numeric(20, 4) NOT NULL,
    flow              numeric(20, 4) NOT NULL,
    cumulative_flow   numeric(20, 4) NOT NULL,
    mtd_return        double precision,
    ytd_return        double precision,
    cumulative_return double precision,
    peak_index        double precision,       -- highest value of the return index so far, at least 1: drawdown's state
    drawdown          double precision,
    xirr              double precision,
    positions         integer NOT NULL,
    long_positions    integer NOT NULL,
    short_positions   integer NOT NULL,
    coverage          double precision NOT NULL,
    quality           text NOT NULL CHECK (quality IN ('complete', 'partial')),
    reasons           jsonb NOT NULL DEFAULT '[]',
    computed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (portfolio_id, session),
    CONSTRAINT exposures_add_up CHECK (gross_exposure = long_value - short_value AND net_exposure = long_value + short_value),
    CONSTRAINT nav_is_cash_and_holdings CHECK (nav = cash + net_exposure)
) WITH (fillfactor = 90);

-- All lots of a portfolio on a session in one row of parallel arrays: a night of 300,000 lots is 10,000 rows.
-- Closed lots stay with quantity 0. The row is the chain's whole state: the next session is computed from it.
CREATE TABLE snapshots.holdings (
    portfolio_id  uuid NOT NULL,
    session       date NOT NULL,
    revision      bigint NOT NULL,
    position_ids  uuid[] NOT NULL,
    symbols       text[] NOT NULL,
    quantity      double precision[] NOT NULL,   -- after splits, signed; 0 once closed
    price         double precision[] NOT NULL,   -- last price used
    price_session date[] NOT NULL,               -- the session that price is from
    price_basis   text[] NOT NULL,               -- close | adj_close | chained | file | stated
    stale         smallint[] NOT NULL,           -- sessions since that price
    market_value  bigint[] NOT NULL,             -- signed, ten-thousandths
    daily_pnl     bigint[] NOT NULL,
    cumulative_pnl bigint[] NOT NULL,
    realized_pnl  bigint[] NOT NULL,
    dividends     bigint[] NOT NULL,
    reason        text[] NOT NULL,               -- '' or the reason why the lot fell short
    PRIMARY KEY (portfolio_id, session)
) WITH (fillfactor = 90);

-- The same, a row a lot, in money: the part of the contract that other services and people read.
CREATE VIEW snapshots.positions AS
SELECT h.portfolio_id, h.session, h.revision, l.position_id, l.symbol, l.quantity, l.price, l.price_session, l.price_basis, l.stale,
       l.market_value / 10000.0::numeric(20, 4) AS market_value, l.daily_pnl / 10000.0::numeric(20, 4) AS daily_pnl,
       l.cumulative_pnl / 10000.0::numeric(20, 4) AS cumulative_pnl, l.realized_pnl / 10000.0::numeric(20, 4) AS realized_pnl,
       (l.cumulative_pnl - l.realized_pnl - l.dividends) / 10000.0::numeric(20, 4) AS unrealized_pnl,
       l.dividends / 10000.0::numeric(20, 4) AS dividends, nullif(l.reason, '') AS reason
FROM snapshots.holdings h
CROSS JOIN LATERAL unnest(h.position_ids, h.symbols, h.quantity, h.price, h.price_session, h.price_basis, h.stale, h.market_value,
                          h.daily_pnl, h.cumulative_pnl, h.realized_pnl, h.dividends, h.reason)
    AS l (position_id, symbol, quantity, price, price_session, price_basis, stale, market_value,
          daily_pnl, cumulative_pnl, realized_pnl, dividends, reason);

CREATE TABLE snapshots.snapshots_history (LIKE snapshots.snapshots, replaced_at timestamptz NOT NULL);
CREATE INDEX snapshots_history_key ON snapshots.snapshots_history (portfolio_id, session, revision);
CREATE TABLE snapshots.holdings_history (LIKE snapshots.holdings, replaced_at timestamptz NOT NULL);
CREATE INDEX holdings_history_key ON snapshots.holdings_history (portfolio_id, session, revision);
CREATE TRIGGER keep_history AFTER UPDATE OR DELETE ON snapshots.snapshots
    FOR EACH ROW EXECUTE FUNCTION ledger.keep_history('snapshots_history');
CREATE TRIGGER keep_history AFTER UPDATE OR DELETE ON snapshots.holdings
    FOR EACH ROW EXECUTE FUNCTION ledger.keep_history('holdings_history');
