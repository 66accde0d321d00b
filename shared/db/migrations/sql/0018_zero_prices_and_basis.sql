-- A share that was given, or spun off without a cost of its own, is entered at 0; what expired or was cancelled leaves at 0.
ALTER TABLE coordinator.positions DROP CONSTRAINT positions_entry_price_check;
ALTER TABLE coordinator.positions ADD CONSTRAINT positions_entry_price_check CHECK (entry_price >= 0);
ALTER TABLE coordinator.positions ADD CONSTRAINT positions_exit_price_check CHECK (exit_price >= 0);

-- One more way a basis came about: both readings fit the day, and as traded was taken.
ALTER TABLE coordinator.positions DROP CONSTRAINT positions_basis_reason_check;
ALTER TABLE coordinator.positions ADD CONSTRAINT positions_basis_reason_check
    CHECK (basis_reason IN ('stated', 'compared', 'ambiguous', 'mismatch', 'no_close'));
