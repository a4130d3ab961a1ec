-- Records for whoever is outside: a number that orders changes, and webhooks that follow it.
--
-- Tables of mappings have a column `_change` from now on. None is changed here: no program that makes mappings was
-- released before this.

-- Webhooks are sealed with the business's data key, which a program before would take for unused; and it would write contacts
-- without a number, which readers would miss.
UPDATE schema_support SET oldest_program = 9;

-- Number of the last step that changed a row.
ALTER TABLE mapping_checkpoints ADD COLUMN changes bigint NOT NULL DEFAULT 0;
ALTER TABLE checkpoints ADD COLUMN changes bigint NOT NULL DEFAULT 0;
-- The last number that the run has used (NULL: it has changed nothing).
ALTER TABLE runs ADD COLUMN last_change bigint;

-- 0: written before there were numbers.
ALTER TABLE contacts ADD COLUMN change bigint NOT NULL DEFAULT 0;
CREATE INDEX contacts_feed ON contacts (integration_id, change, source_id);

CREATE TABLE record_webhooks (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    mapping_id      uuid NOT NULL REFERENCES mappings (id) ON DELETE CASCADE,
    -- What lists show of it: the host.
    shown           text NOT NULL,
    -- Sealed: URL and signing secrets.
    setting         bytea NOT NULL,
    -- Columns that are sent (NULL: all of them).
    fields          jsonb,
    include_records boolean NOT NULL DEFAULT false,
    enabled         boolean NOT NULL DEFAULT true,
    -- Why the service has switched it off (NULL: it has not).
    disabled_reason text,
    -- Everything before this place, (change, id), was taken by the receiver.
    position_change bigint NOT NULL,
    position_id     text COLLATE "C" NOT NULL DEFAULT '',
    -- Where the message ends that is being sent: every attempt has the same end (NULL: none is).
    sending_change  bigint,
    sending_id      text COLLATE "C",
    -- How often somebody has set the position: part of the messages' ids.
    rewinds         bigint NOT NULL DEFAULT 0,
    -- Attempts at this message.
    attempts        bigint NOT NULL DEFAULT 0,
    -- NULL: at once.
    next_attempt_at timestamptz,
    -- Grows with each claim and change; a worker with an older number notes nothing.
    fence           bigint NOT NULL DEFAULT 0,
    leased_until    timestamptz,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error      text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX record_webhooks_of_business ON record_webhooks (business_id, created_at);
CREATE INDEX record_webhooks_of_mapping ON record_webhooks (mapping_id);

ALTER TABLE record_webhooks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY business ON record_webhooks TO tieline_app
    USING (business_id = tieline_business()) WITH CHECK (business_id = tieline_business());
CREATE POLICY everybody ON record_webhooks TO tieline_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON record_webhooks TO tieline_app, tieline_system;
