-- Access tokens of the HTTP interface. Of a secret only its digest is here: 256 random bits need no slow one. Rows stay when a
-- token is revoked: once there was one, calls need one.
CREATE TABLE coordinator.tokens (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    role         text NOT NULL CHECK (role IN ('reader', 'editor', 'operator')),
    digest       bytea NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,             -- null: until it is revoked
    last_used_at timestamptz,             -- to the hour; null: never
    revoked_at   timestamptz
);
CREATE UNIQUE INDEX tokens_name ON coordinator.tokens (name) WHERE revoked_at IS NULL;
-- No other service has a use for them.
GRANT SELECT, INSERT, UPDATE ON coordinator.tokens TO leadline_coordinator;
