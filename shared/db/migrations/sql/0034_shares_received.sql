-- Shares that a broker books without money (stock dividends, spin-offs) are trades too.
ALTER TABLE coordinator.trades DROP CONSTRAINT trades_kind_check;
ALTER TABLE coordinator.trades ADD CONSTRAINT trades_kind_check
    CHECK (kind IN ('buy', 'sell', 'short', 'cover', 'expire', 'split', 'receive'));

-- One more way a basis came about: the user's word, with a price that is far from the close of its day.
ALTER TABLE coordinator.positions DROP CONSTRAINT positions_basis_reason_check;
ALTER TABLE coordinator.positions ADD CONSTRAINT positions_basis_reason_check
    CHECK (basis_reason IN ('stated', 'stated_mismatch', 'compared', 'ambiguous', 'mismatch', 'no_close'));

-- Lots that were believed unseen are compared at the next turn. Those entered on a day without a session are left to the next edit:
-- which session was before it, the calendar knows, and not the database.
UPDATE coordinator.positions SET basis_awaits = entry_session
WHERE basis_reason = 'stated' AND NOT basis_assumed AND basis_awaits IS NULL AND deleted_at IS NULL
  AND entry_session = entry_date AND investment_class = 'PUBLIC'
  AND coalesce(investment_subtype, '') NOT IN ('CASH', 'MONEY_MARKET');
