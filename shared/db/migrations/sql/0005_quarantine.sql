-- What an operator decided about a price that was held back. Ingest reads it at its next look, as it does symbol_choices; the
-- newest decision about a (symbol, session) stands, the earlier ones are kept.
CREATE TABLE coordinator.price_decisions (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol     text NOT NULL,
    session    date NOT NULL,
    decision   text NOT NULL CHECK (decision IN ('release', 'reject')),
    reason     text NOT NULL,
    decided_by text NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX price_decisions_of ON coordinator.price_decisions (symbol, session, id DESC);
GRANT SELECT ON coordinator.price_decisions TO leadline_coordinator, leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;
GRANT INSERT ON coordinator.price_decisions TO leadline_coordinator;

-- The newest decision that ingest has taken up. Another one than the newest there is: the price is asked for at once.
ALTER TABLE ingest.quarantine ADD COLUMN decision bigint;
