-- What quantity and price of a trade mean, as stated with its file: lots are matched anew long after the import. Null: as traded.
ALTER TABLE coordinator.trades ADD COLUMN IF NOT EXISTS price_basis text CHECK (price_basis IN ('as_traded', 'split_adjusted'));
