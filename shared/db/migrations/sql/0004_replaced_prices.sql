-- What the user had said the symbol is when its prices were fetched (coordinator.symbol_choices.chosen); null: nothing. Another
-- choice in force than this one: the prices are another security's, and are replaced as a set.
ALTER TABLE ingest.symbols ADD COLUMN chosen text;

-- Change number of that replacement. Nothing of an earlier number is true of the symbol any more, although the rows that said so are
-- gone: facts computed from an earlier price version are computed anew.
ALTER TABLE ingest.symbols ADD COLUMN replaced bigint;
