-- No number that can not be is stored, whatever let it through: NaN and infinity compare as larger than any price.
-- NOT VALID: what stands there from before is not looked at, and cannot be changed into such a number either.
ALTER TABLE ingest.prices ADD CONSTRAINT prices_are_finite CHECK (
    open > 0 AND open < 'Infinity' AND high > 0 AND high < 'Infinity' AND low > 0 AND low < 'Infinity'
    AND close > 0 AND close < 'Infinity' AND adj_close > 0 AND adj_close < 'Infinity'
    AND volume >= 0 AND volume < 'Infinity' AND total_return >= -1 AND total_return < 'Infinity') NOT VALID;
ALTER TABLE ingest.actions ADD CONSTRAINT actions_are_finite CHECK (value > 0 AND value < 'Infinity') NOT VALID;

-- Two more reasons: what has a price in another currency has none here; and a plan may end before the range does.
ALTER TABLE ingest.gaps DROP CONSTRAINT gaps_reason_check;
ALTER TABLE ingest.gaps ADD CONSTRAINT gaps_reason_check CHECK (
    reason IN ('rate_limited', 'provider_down', 'quarantined', 'not_found', 'ambiguous', 'delisted', 'not_yet_listed', 'no_trade',
               'foreign_currency', 'plan_limit'));
