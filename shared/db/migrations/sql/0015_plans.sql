-- How many years back a key's plan reaches, as its vendor's refusals showed; null: nobody was refused. Learnt anew after a week.
ALTER TABLE ingest.providers
    ADD COLUMN plan_years integer CHECK (plan_years > 0),
    ADD COLUMN plan_learnt_at timestamptz,
    ADD CONSTRAINT providers_plan_check CHECK ((plan_years IS NULL) = (plan_learnt_at IS NULL));

-- A session that its vendor has not published yet.
ALTER TABLE ingest.gaps DROP CONSTRAINT IF EXISTS gaps_reason_check;
ALTER TABLE ingest.gaps ADD CONSTRAINT gaps_reason_check CHECK (
    reason IN ('rate_limited', 'provider_down', 'late', 'quarantined', 'not_found', 'ambiguous', 'delisted', 'not_yet_listed', 'no_trade',
               'foreign_currency', 'plan_limit'));
