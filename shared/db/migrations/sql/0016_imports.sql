-- What files said of a portfolio: so that an import can be corrected, taken back, and continued.

CREATE TABLE coordinator.imports (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),     -- in order of import
    portfolio_id uuid NOT NULL REFERENCES coordinator.portfolios,
    filename     text,
    kind         text NOT NULL CHECK (kind IN ('positions', 'trades')),
    preset       text,                                  -- the layout it was read by; null: Leadline's own columns
    dialect      text NOT NULL,
    rows         integer NOT NULL,
    imported_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_at    timestamptz
);
CREATE INDEX imports_of_portfolio ON coordinator.imports (portfolio_id, id);

-- A lot, as one file states it. A lot that several files state is what they say together, the later over the earlier; one that
-- none states any more is gone.
CREATE TABLE coordinator.import_lots (
    import_id   uuid NOT NULL REFERENCES coordinator.imports,
    position_id uuid NOT NULL REFERENCES coordinator.positions,
    stated      jsonb NOT NULL,
    PRIMARY KEY (import_id, position_id)
);
CREATE INDEX import_lots_of_position ON coordinator.import_lots (position_id);

-- Trades as brokers list them. Lots follow from all of a portfolio's, first in, first out.
CREATE TABLE coordinator.trades (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    portfolio_id uuid NOT NULL REFERENCES coordinator.portfolios,
    import_id    uuid NOT NULL REFERENCES coordinator.imports,
    row          integer NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('buy', 'sell', 'short', 'cover', 'expire', 'split')),
    symbol       text NOT NULL,
    day          date NOT NULL,
    time         text NOT NULL DEFAULT '',               -- HHMMSS; orders the trades of one day
    sequence     integer NOT NULL,                       -- in the file, oldest first
    quantity     numeric(28, 10) NOT NULL CHECK (quantity > 0),
    price        numeric(28, 10) CHECK (price >= 0),
    broker_id    text,
    name         text,
    trade_key    text NOT NULL                           -- the broker's id, else content and occurrence
);
-- A trade that two files list is in both: taking one back leaves it to the other.
CREATE UNIQUE INDEX trades_once ON coordinator.trades (import_id, trade_key);
CREATE INDEX trades_of_portfolio ON coordinator.trades (portfolio_id, day);

-- How a user's own files are read, by name.
CREATE TABLE coordinator.import_mappings (
    name     text PRIMARY KEY,
    settings jsonb NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Lots that follow from trades are not edited by files of positions, and go when their trades go.
ALTER TABLE coordinator.positions ADD COLUMN from_trades boolean NOT NULL DEFAULT false;

-- What was received for nothing enters at 0.
ALTER TABLE coordinator.positions DROP CONSTRAINT IF EXISTS positions_entry_price_check;
ALTER TABLE coordinator.positions ADD CONSTRAINT positions_entry_price_check CHECK (entry_price >= 0);

GRANT SELECT ON coordinator.imports, coordinator.import_lots, coordinator.trades, coordinator.import_mappings
    TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT, UPDATE, DELETE ON coordinator.imports, coordinator.import_lots, coordinator.trades, coordinator.import_mappings
    TO leadline_coordinator;
