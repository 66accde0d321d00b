-- A kept trade is what the newest of its imports says. Until now it was what the oldest says, whose words the others take over, so that
-- no lot changes.
UPDATE coordinator.trades t
SET kind = f.kind, symbol = f.symbol, day = f.day, time = f.time, quantity = f.quantity, price = f.price, price_basis = f.price_basis
FROM (
    SELECT DISTINCT ON (x.portfolio_id, x.trade_key) x.*
    FROM coordinator.trades x JOIN coordinator.imports i ON i.id = x.import_id AND i.undone_at IS NULL
    ORDER BY x.portfolio_id, x.trade_key, x.import_id
) f
WHERE t.portfolio_id = f.portfolio_id AND t.trade_key = f.trade_key AND t.import_id > f.import_id
  AND (t.kind, t.symbol, t.day, t.time, t.quantity, t.price, t.price_basis)
      IS DISTINCT FROM (f.kind, f.symbol, f.day, f.time, f.quantity, f.price, f.price_basis);

-- A fill that closes a position and goes on to open the other side.
ALTER TABLE coordinator.trades ADD COLUMN IF NOT EXISTS opens_rest boolean NOT NULL DEFAULT false;
