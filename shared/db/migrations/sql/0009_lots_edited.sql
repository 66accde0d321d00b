-- When a lot was last edited; null: never. Where a figure says what it rests on, an edited lot is not as old as its first entry.
ALTER TABLE coordinator.positions ADD COLUMN updated_at timestamptz;
