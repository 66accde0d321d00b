-- bus: what is to be published, and what could not be read. Every role inserts; any relay sends any row.

CREATE TABLE bus.outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id    uuid NOT NULL UNIQUE,
    topic       text NOT NULL,
    key         text,
    type        text NOT NULL,
    payload     text NOT NULL,
    headers     jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at     timestamptz,
    failed_at   timestamptz,
    error       text,
    -- A payload over the broker's comfortable size is a bug of the producer: refuse it where the stack trace is.
    CONSTRAINT payload_is_small CHECK (octet_length(payload) <= 65536),
    CONSTRAINT sent_or_failed CHECK (sent_at IS NULL OR failed_at IS NULL)
);
-- The relay's only question. Empty when all is well, whatever the table's size.
CREATE INDEX outbox_unsent ON bus.outbox (id) WHERE sent_at IS NULL AND failed_at IS NULL;
CREATE INDEX outbox_sent_at ON bus.outbox (sent_at) WHERE sent_at IS NOT NULL;

CREATE TABLE bus.dead_letters (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer       text NOT NULL,
    topic          text NOT NULL,
    partition      integer NOT NULL,
    "offset"       bigint NOT NULL,
    key            bytea,
    headers        jsonb NOT NULL DEFAULT '{}',
    body           bytea,
    body_hash      text NOT NULL,
    reason         text NOT NULL,
    error          text NOT NULL,
    received_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at    timestamptz,
    replay_event_id uuid,
    purged_at      timestamptz,
    resolved_at    timestamptz,      -- blocked units that were completed after all
    -- A person mended it before replaying: what came is kept.
    edited_at        timestamptz,
    original_headers jsonb,
    original_body    bytea,
    -- A redelivered poison message is the same dead letter. The hash is part of the key because a broker that
    -- lost its log numbers again from zero.
    UNIQUE (consumer, topic, partition, "offset", body_hash)
);
CREATE INDEX dead_letters_open ON bus.dead_letters (id) WHERE replayed_at IS NULL AND purged_at IS NULL AND resolved_at IS NULL;
