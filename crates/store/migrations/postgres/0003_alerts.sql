-- Alerts: what is wrong (notifications), who is to be told of it (channels, rules), and what is still to be sent.

-- Channels are sealed with the business's data key, which a program of schema 2 would take for unused.
UPDATE schema_support SET oldest_program = 3;

-- Runs that have failed since one that did not.
ALTER TABLE integrations ADD COLUMN failed_runs bigint NOT NULL DEFAULT 0;

CREATE TABLE alert_channels (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    name            text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('webhook', 'slack', 'email')),
    -- What lists show of it: the host, or the address.
    shown           text NOT NULL,
    -- Sealed: URL and signing secrets, or the address.
    setting         bytea NOT NULL,
    enabled         boolean NOT NULL DEFAULT true,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_error      text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (business_id, name),
    UNIQUE (business_id, id)
);

CREATE TABLE alert_rules (
    id             uuid PRIMARY KEY,
    business_id    uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- No closed list: a newer program may know more.
    kind           text NOT NULL,
    -- None: all of the business's.
    integration_id uuid,
    settings       jsonb NOT NULL DEFAULT '{}',
    quiet_seconds  bigint NOT NULL,
    enabled        boolean NOT NULL DEFAULT true,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    UNIQUE (business_id, id),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX alert_rules_of_kind ON alert_rules (business_id, kind);

CREATE TABLE alert_rule_channels (
    business_id uuid NOT NULL,
    rule_id     uuid NOT NULL,
    channel_id  uuid NOT NULL,
    PRIMARY KEY (rule_id, channel_id),
    FOREIGN KEY (business_id, rule_id) REFERENCES alert_rules (business_id, id) ON DELETE CASCADE,
    FOREIGN KEY (business_id, channel_id) REFERENCES alert_channels (business_id, id) ON DELETE CASCADE
);
CREATE INDEX alert_rule_channels_of_channel ON alert_rule_channels (channel_id);

CREATE TABLE notifications (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- Kind, integration and step: what is the same condition.
    dedup_key       text NOT NULL,
    kind            text NOT NULL,
    integration_id  uuid,
    severity        text NOT NULL CHECK (severity IN ('warning', 'error')),
    title           text NOT NULL,
    detail          text NOT NULL,
    hint            text NOT NULL,
    state           text NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved')),
    -- How often it was found.
    count           bigint NOT NULL DEFAULT 1,
    opened_at       timestamptz NOT NULL,
    last_at         timestamptz NOT NULL,
    acknowledged_by text,
    acknowledged_at timestamptz,
    resolved_at     timestamptz,
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
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    channel_id      uuid NOT NULL,
    -- None: it says how many were folded into it.
    notification_id uuid,
    event           text NOT NULL CHECK (event IN ('opened', 'reminder', 'resolved', 'summary')),
    state           text NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed', 'folded', 'superseded')),
    -- The notification as it was then: every attempt sends the same.
    payload         jsonb NOT NULL DEFAULT '{}',
    folded          bigint NOT NULL DEFAULT 0,
    -- Attempts begun. The number of the newest is the fence of whoever makes it.
    attempts        bigint NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    leased_until    timestamptz,
    status          bigint,
    error           text,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz,
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
    name   text PRIMARY KEY,
    ran_at timestamptz NOT NULL
);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['alert_channels', 'alert_rules', 'alert_rule_channels', 'notifications', 'alert_deliveries'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY business ON %I TO tieline_app
            USING (business_id = tieline_business()) WITH CHECK (business_id = tieline_business())', name);
        EXECUTE format('CREATE POLICY everybody ON %I TO tieline_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tieline_app, tieline_system', name);
    END LOOP;
END $$;

-- Nothing of a business is in it, and the service alone asks for it.
GRANT SELECT, INSERT, UPDATE, DELETE ON alert_checks TO tieline_system;
