-- Tenants, the accounts that act for them, and whose each portfolio is. Facts of the market belong to nobody and stay as they were.
-- What was there before belongs to the first tenant, whose operators operate the installation (docs/decisions/0072): where nobody
-- creates a second one, nothing changes.
CREATE TABLE coordinator.tenants (
    id               uuid PRIMARY KEY DEFAULT uuidv7(),
    name             text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at        timestamptz,         -- nobody of it is let in any more; its portfolios stay
    -- null: the server's own limits alone
    max_portfolios   integer CHECK (max_portfolios >= 0),
    max_lots         integer CHECK (max_lots >= 0),
    max_streams      integer CHECK (max_streams >= 0),
    calls_per_second double precision CHECK (calls_per_second > 0)
);
INSERT INTO coordinator.tenants (id, name) VALUES ('00000000-0000-4000-8000-000000000001', 'house');

-- People, and programs.
CREATE TABLE coordinator.users (
    id          uuid PRIMARY KEY DEFAULT uuidv7(),
    kind        text NOT NULL CHECK (kind IN ('person', 'service')),
    issuer      text,                     -- who vouches for the person (OpenID Connect), and what it calls the person
    subject     text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at timestamptz,
    UNIQUE (issuer, subject),
    CHECK ((issuer IS NULL) = (subject IS NULL))
);

-- In which role a user acts for a tenant, and what the tenant calls them; of one that is removed the row goes.
CREATE TABLE coordinator.memberships (
    user_id       uuid NOT NULL REFERENCES coordinator.users ON DELETE CASCADE,
    tenant_id     uuid NOT NULL REFERENCES coordinator.tenants,
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    role          text NOT NULL CHECK (role IN ('reader', 'editor', 'operator')),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(), -- sessions that began before it are of an earlier membership
    signed_out_at timestamptz,            -- sessions that began before it are over
    PRIMARY KEY (user_id, tenant_id)
);
CREATE INDEX memberships_of_tenant ON coordinator.memberships (tenant_id);

-- A link that makes whoever opens it a member, once. Of its secret only the digest is here.
CREATE TABLE coordinator.invitations (
    id          uuid PRIMARY KEY DEFAULT uuidv7(),
    tenant_id   uuid NOT NULL REFERENCES coordinator.tenants,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    role        text NOT NULL CHECK (role IN ('reader', 'editor', 'operator')),
    digest      bytea NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    accepted_at timestamptz,
    accepted_by uuid REFERENCES coordinator.users,
    revoked_at  timestamptz
);

-- Who changed what: a row in the transaction of the change. Ids alone; nothing changes or removes a row.
CREATE TABLE coordinator.audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant_id  uuid NOT NULL,
    user_id    uuid,                      -- null: the server's own token, or none where none is needed
    token_id   uuid,
    request_id uuid NOT NULL UNIQUE,      -- a request that commits several transactions is one row
    method     text NOT NULL,
    path       text NOT NULL
);
CREATE INDEX audit_log_of_tenant ON coordinator.audit_log (tenant_id, id DESC);

GRANT SELECT, INSERT, UPDATE, DELETE ON coordinator.tenants, coordinator.users, coordinator.memberships, coordinator.invitations
    TO leadline_coordinator;
GRANT SELECT, INSERT ON coordinator.audit_log TO leadline_coordinator;
REVOKE UPDATE, DELETE ON coordinator.audit_log FROM leadline_api;
-- Whose a portfolio is, events tell: every service reads it.
GRANT SELECT ON coordinator.tenants TO leadline_ingest, leadline_factors, leadline_snapshots, leadline_risk;

ALTER TABLE coordinator.portfolios
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001' REFERENCES coordinator.tenants;
CREATE INDEX portfolios_of_tenant ON coordinator.portfolios (tenant_id, id);

-- Tokens are of an account and a tenant. Each of those there are gets an account of its own.
ALTER TABLE coordinator.tokens
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001' REFERENCES coordinator.tenants,
    ADD COLUMN user_id uuid REFERENCES coordinator.users;
INSERT INTO coordinator.users (id, kind) SELECT id, 'service' FROM coordinator.tokens WHERE revoked_at IS NULL;
INSERT INTO coordinator.memberships (user_id, tenant_id, name, role)
SELECT id, tenant_id, name, role FROM coordinator.tokens WHERE revoked_at IS NULL;
UPDATE coordinator.tokens SET user_id = id WHERE revoked_at IS NULL;
DROP INDEX coordinator.tokens_name;
CREATE UNIQUE INDEX tokens_name ON coordinator.tokens (tenant_id, name) WHERE revoked_at IS NULL;

-- What users write beside portfolios. Names are taken within a tenant, so that none can be guessed in another.
ALTER TABLE coordinator.limits
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001' REFERENCES coordinator.tenants;
ALTER TABLE coordinator.webhooks
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001' REFERENCES coordinator.tenants;
ALTER TABLE coordinator.webhooks DROP CONSTRAINT webhooks_name_key, ADD CONSTRAINT webhooks_name_key UNIQUE (tenant_id, name);
ALTER TABLE coordinator.import_mappings
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001' REFERENCES coordinator.tenants;
ALTER TABLE coordinator.import_mappings DROP CONSTRAINT import_mappings_pkey, ADD PRIMARY KEY (tenant_id, name);
ALTER TABLE coordinator.idempotency
    ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-4000-8000-000000000001' REFERENCES coordinator.tenants;
ALTER TABLE coordinator.idempotency DROP CONSTRAINT idempotency_pkey, ADD PRIMARY KEY (tenant_id, key, endpoint);

-- The tenant of all portfolios of a run's scope; null: several, or no scope, which is the installation's own.
ALTER TABLE coordinator.runs ADD COLUMN tenant_id uuid REFERENCES coordinator.tenants;
UPDATE coordinator.runs SET tenant_id = '00000000-0000-4000-8000-000000000001' WHERE jsonb_typeof(scope -> 'portfolio_ids') = 'array';
CREATE INDEX runs_of_tenant ON coordinator.runs (tenant_id, id DESC);
