-- Records for whoever is outside: a number that orders changes, and webhooks that follow it.
--
-- Tables of mappings have a column `_change` from now on. None is changed here: no program that makes mappings was
-- released before this.

-- Webhooks are sealed with the business's data key, which a program before would take for unused; and it would write contacts
-- without a number, which readers would miss.
UPDATE schema_support SET oldest_program = 9;

-- Number of the last step that changed a row.
ALTER TABLE mapping_checkpoints ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE checkpoints ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
-- The last number that the run has used (NULL: it has changed nothing).
ALTER TABLE runs ADD COLUMN last_change INTEGER;

-- 0: written before there were numbers.
ALTER TABLE contacts ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
CREATE INDEX contacts_feed ON contacts (integration_id, change, source_id);

CREATE TABLE record_webhooks (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    mapping_id      TEXT NOT NULL REFERENCES mappings (id) ON DELETE CASCADE,
    -- What lists show of it: the host.
    shown           TEXT NOT NULL,
    -- Sealed: URL and signing secrets.
    setting         BLOB NOT NULL,
    -- Columns that are sent (NULL: all of them).
    fields          TEXT,
    include_records INTEGER NOT NULL DEFAULT 0,
    enabled         INTEGER NOT NULL DEFAULT 1,
    -- Why the service has switched it off (NULL: it has not).
    disabled_reason TEXT,
    -- Everything before this place, (change, id), was taken by the receiver.
    position_change INTEGER NOT NULL,
    position_id     TEXT NOT NULL DEFAULT '',
    -- Where the message ends that is being sent: every attempt has the same end (NULL: none is).
    sending_change  INTEGER,
    sending_id      TEXT,
    -- How often somebody has set the position: part of the messages' ids.
    rewinds         INTEGER NOT NULL DEFAULT 0,
    -- Attempts at this message.
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- NULL: at once.
    next_attempt_at INTEGER,
    -- Grows with each claim and change; a worker with an older number notes nothing.
    fence           INTEGER NOT NULL DEFAULT 0,
    leased_until    INTEGER,
    last_success_at INTEGER,
    last_failure_at INTEGER,
    last_error      TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX record_webhooks_of_business ON record_webhooks (business_id, created_at);
CREATE INDEX record_webhooks_of_mapping ON record_webhooks (mapping_id);
