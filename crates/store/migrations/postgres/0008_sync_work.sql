-- What is to be synced, when next, and who is at it: one row for each mapping, and one for the contacts of each integration.
CREATE TABLE sync_work (
    -- The mapping's id; of an integration's contacts, the integration's. So there is one of each.
    id             uuid PRIMARY KEY,
    business_id    uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    kind           text NOT NULL CHECK (kind IN ('contacts', 'mapping')),
    integration_id uuid NOT NULL,
    mapping_id     uuid REFERENCES mappings (id) ON DELETE CASCADE,
    -- 'every 900', 'cron 0 6 * * *', 'continuous', 'on request'. NULL: as often as the service is told.
    pace           text,
    -- Within the business: the greater comes first.
    priority       bigint NOT NULL DEFAULT 0,
    -- The next tick. Whoever takes one moves it on with the same statement (NULL: there are none).
    due_at         timestamptz,
    -- What failed, or has no API calls left, is not tried before this.
    retry_at       timestamptz,
    -- Requests so far; up to which one the work was taken up; and up to which one it was done.
    requested      bigint NOT NULL DEFAULT 0,
    taken          bigint NOT NULL DEFAULT 0,
    served         bigint NOT NULL DEFAULT 0,
    -- When somebody may take it: follows from the columns around it (NULL: never by itself).
    ready_at       timestamptz,
    -- Who has it, and until when; the fence refuses whoever came before.
    owner          text,
    leased_until   timestamptz,
    fence          bigint NOT NULL DEFAULT 0,
    -- Times in a row that it has failed.
    failures       bigint NOT NULL DEFAULT 0,
    started_at     timestamptz,
    ended_at       timestamptz,
    outcome        text CHECK (outcome IN ('done', 'failed', 'paused_quota')),
    error          text,
    CHECK (CASE kind WHEN 'mapping' THEN id = mapping_id ELSE mapping_id IS NULL AND id = integration_id END),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX sync_work_ready ON sync_work (ready_at, business_id);
CREATE INDEX sync_work_of_business ON sync_work (business_id, ready_at);
CREATE INDEX sync_work_leased ON sync_work (business_id, leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX sync_work_of_integration ON sync_work (integration_id);
CREATE INDEX sync_work_of_mapping ON sync_work (mapping_id) WHERE mapping_id IS NOT NULL;

-- Whose turn it is: the business whose work was taken longest ago. Whoever takes work holds its row.
CREATE TABLE sync_turns (
    business_id uuid PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    taken_at    timestamptz NOT NULL
);

-- One run at a time.
CREATE UNIQUE INDEX runs_active_of_mapping ON runs (mapping_id) WHERE state = 'running' AND mapping_id IS NOT NULL;
CREATE UNIQUE INDEX runs_active_of_object ON runs (integration_id, object) WHERE state = 'running' AND mapping_id IS NULL;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sync_work', 'sync_turns'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY business ON %I TO tieline_app
            USING (business_id = tieline_business()) WITH CHECK (business_id = tieline_business())', name);
        EXECUTE format('CREATE POLICY everybody ON %I TO tieline_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tieline_app, tieline_system', name);
    END LOOP;
END $$;
