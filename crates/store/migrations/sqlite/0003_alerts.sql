-- Alerts: what is wrong (notifications), who is to be told of it (channels, rules), and what is still to be sent.

-- Channels are sealed with the business's data key, which a program of schema 2 would take for unused.
UPDATE schema_support SET oldest_program = 3;

-- Runs that have failed since one that did not.
ALTER TABLE integrations ADD COLUMN failed_runs INTEGER NOT NULL DEFAULT 0;

CREATE TABLE alert_channels (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('webhook', 'slack', 'email')),
    -- What lists show of it: the host, or the address.
    shown           TEXT NOT NULL,
    -- Sealed: URL and signing secrets, or the address.
    setting         BLOB NOT NULL,
    enabled         INTEGER NOT NULL DEFAULT 1,
    last_success_at INTEGER,
    last_failure_at INTEGER,
    last_error      TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (business_id, name),
    UNIQUE (business_id, id)
);

CREATE TABLE alert_rules (
    id             TEXT PRIMARY KEY,
    business_id    TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- No closed list: a newer program may know more.
    kind           TEXT NOT NULL,
    -- None: all of the business's.
    integration_id TEXT,
    settings       TEXT NOT NULL DEFAULT '{}',
    quiet_seconds  INTEGER NOT NULL,
    enabled        INTEGER NOT NULL DEFAULT 1,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    UNIQUE (business_id, id),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX alert_rules_of_kind ON alert_rules (business_id, kind);

CREATE TABLE alert_rule_channels (
    business_id TEXT NOT NULL,
    rule_id     TEXT NOT NULL,
    channel_id  TEXT NOT NULL,
    PRIMARY KEY (rule_id, channel_id),
    FOREIGN KEY (business_id, rule_id) REFERENCES alert_rules (business_id, id) ON DELETE CASCADE,
    FOREIGN KEY (business_id, channel_id) REFERENCES alert_channels (business_id, id) ON DELETE CASCADE
);
CREATE INDEX alert_rule_channels_of_channel ON alert_rule_channels (channel_id);

CREATE TABLE notifications (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- Kind, integration and step: what is the same condition.
    dedup_key       TEXT NOT NULL,
    kind            TEXT NOT NULL,
    integration_id  TEXT,
    severity        TEXT NOT NULL CHECK (severity IN ('warning', 'error')),
    title           TEXT NOT NULL,
    detail          TEXT NOT NULL,
    hint            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved')),
    -- How often it was found.
    count           INTEGER NOT NULL DEFAULT 1,
    opened_at       INTEGER NOT NULL,
    last_at         INTEGER NOT NULL,
    acknowledged_by TEXT,
    acknowledged_at INTEGER,
    resolved_at     INTEGER,
    UNIQUE (business_id, id),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);
-- One that is open for each condition: however many find it at once, it is one.
CREATE UNIQUE INDEX notifications_open ON notifications (business_id, dedup_key) WHERE state <> 'resolved';
CREATE INDEX notifications_in_order ON notifications (business_id, opened_at, id);
CREATE INDEX notifications_by_key ON notifications (business_id, dedup_key, resolved_at);
CREATE INDEX notifications_of_integration ON notifications (integration_id);
CREATE INDEX notifications_ended ON notifications (resolved_at) WHERE state = 'resolved';

-- What is to be sent, and what was: one row for each channel and message.
CREATE TABLE alert_deliveries (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    channel_id      TEXT NOT NULL,
    -- None: it says how many were folded into it.
    notification_id TEXT,
    event           TEXT NOT NULL CHECK (event IN ('opened', 'reminder', 'resolved', 'summary')),
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed', 'folded', 'superseded')),
    -- The notification as it was then: every attempt sends the same.
    payload         TEXT NOT NULL DEFAULT '{}',
    folded          INTEGER NOT NULL DEFAULT 0,
    -- Attempts begun. The number of the newest is the fence of whoever makes it.
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    leased_until    INTEGER,
    status          INTEGER,
    error           TEXT,
    created_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    FOREIGN KEY (business_id, channel_id) REFERENCES alert_channels (business_id, id) ON DELETE CASCADE,
    FOREIGN KEY (business_id, notification_id) REFERENCES notifications (business_id, id) ON DELETE CASCADE
);
CREATE INDEX alert_deliveries_due ON alert_deliveries (next_attempt_at, id) WHERE state = 'waiting';
CREATE INDEX alert_deliveries_under_way ON alert_deliveries (channel_id, leased_until) WHERE state = 'waiting';
CREATE INDEX alert_deliveries_of_notification ON alert_deliveries (notification_id, channel_id, created_at);
CREATE INDEX alert_deliveries_of_channel ON alert_deliveries (channel_id, created_at);
-- One that still grows for each channel.
CREATE UNIQUE INDEX alert_summaries ON alert_deliveries (channel_id) WHERE event = 'summary' AND state = 'waiting' AND attempts = 0;

-- When each periodic look was made last: whichever node moves the row makes it.
CREATE TABLE alert_checks (
    name   TEXT PRIMARY KEY,
    ran_at INTEGER NOT NULL
) WITHOUT ROWID;
