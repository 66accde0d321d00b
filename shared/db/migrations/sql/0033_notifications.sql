-- Limits on figures, and who is told when one is breached or kept again. A message is decided in the transaction that finds the
-- change, and sent afterwards: neither a death nor a receiver that is down loses or doubles one.
CREATE TABLE coordinator.limits (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    portfolio_id uuid REFERENCES coordinator.portfolios ON DELETE CASCADE, -- null: every portfolio
    figure       text NOT NULL CHECK (length(figure) BETWEEN 1 AND 200),
    op           text NOT NULL CHECK (op IN ('>', '>=', '<', '<=')),
    value        double precision NOT NULL CHECK (value = value AND abs(value) < 'infinity'),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What a limit's figure was when it was last looked at. An unknown figure leaves the state as it was: it proves nothing.
CREATE TABLE coordinator.limit_states (
    limit_id     uuid NOT NULL REFERENCES coordinator.limits ON DELETE CASCADE,
    portfolio_id uuid NOT NULL REFERENCES coordinator.portfolios ON DELETE CASCADE,
    state        text NOT NULL CHECK (state IN ('kept', 'breached')),
    since        timestamptz NOT NULL DEFAULT clock_timestamp(), -- of the state
    value        double precision,        -- null: unknown
    detail       text,                    -- why it is unknown
    session      date,                    -- null: a figure of the moment
    seen         text NOT NULL,           -- which results it was read from; the same are not read again
    PRIMARY KEY (limit_id, portfolio_id)
);

-- The secret signs and so cannot be a digest.
CREATE TABLE coordinator.webhooks (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    url        text NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
    secret     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What a webhook was last told of a limit and portfolio; without a row: that it is kept.
CREATE TABLE coordinator.subscriptions (
    webhook_id   uuid NOT NULL REFERENCES coordinator.webhooks ON DELETE CASCADE,
    limit_id     uuid NOT NULL REFERENCES coordinator.limits ON DELETE CASCADE,
    portfolio_id uuid NOT NULL REFERENCES coordinator.portfolios ON DELETE CASCADE,
    state        text NOT NULL CHECK (state IN ('kept', 'breached')),
    PRIMARY KEY (webhook_id, limit_id, portfolio_id)
);

CREATE TABLE coordinator.notifications (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order in which a webhook gets them
    delivery     uuid NOT NULL DEFAULT gen_random_uuid(),         -- the receiver knows a repetition by it
    webhook_id   uuid NOT NULL REFERENCES coordinator.webhooks ON DELETE CASCADE,
    event        text NOT NULL CHECK (event IN ('limit.breached', 'limit.kept', 'test')),
    body         jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts     integer NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL DEFAULT clock_timestamp(),  -- of the next attempt; ahead while one is under way
    last_error   text,
    delivered_at timestamptz,
    gave_up_at   timestamptz
);
CREATE INDEX notifications_open ON coordinator.notifications (webhook_id, id) WHERE delivered_at IS NULL AND gave_up_at IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON coordinator.limits, coordinator.limit_states, coordinator.webhooks, coordinator.subscriptions,
    coordinator.notifications TO leadline_coordinator;
