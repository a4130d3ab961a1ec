-- Which objects of an org are kept in step, and in which table.
CREATE TABLE mappings (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- NULL: the integration was deleted, and the table stays as it was.
    integration_id  uuid REFERENCES integrations (id) ON DELETE SET NULL,
    name            text NOT NULL,
    -- API name in the org.
    object          text NOT NULL,
    -- Table of this database.
    table_name      text NOT NULL UNIQUE,
    -- As somebody wrote it, and what came of it when it was held against the org's describe.
    definition      jsonb NOT NULL,
    columns         jsonb NOT NULL,
    state           text NOT NULL DEFAULT 'initial' CHECK (state IN
        ('initial', 'synced', 'resync', 'reload', 'schema_changed', 'paused', 'paused_quota', 'needs_reauth')),
    state_reason    text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (integration_id, name)
);
CREATE INDEX mappings_of_business ON mappings (business_id, id);

-- How far a mapping has been read, and by whom.
CREATE TABLE mapping_checkpoints (
    mapping_id   uuid PRIMARY KEY REFERENCES mappings (id) ON DELETE CASCADE,
    business_id  uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- Everything stamped before this has been seen (NULL: nothing has).
    through      timestamptz,
    -- The scan under way, if any: where it stands, and what `through` becomes when it ends.
    scan_stamp   timestamptz,
    scan_id      text COLLATE "C",
    scan_until   timestamptz,
    -- Grows with every run; a run with an older number can no longer write.
    fence        bigint NOT NULL DEFAULT 0
);

ALTER TABLE runs ADD COLUMN mapping_id uuid REFERENCES mappings (id) ON DELETE CASCADE;
CREATE INDEX runs_of_mapping ON runs (mapping_id, started_at) WHERE mapping_id IS NOT NULL;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['mappings', 'mapping_checkpoints'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY business ON %I TO tieline_app
            USING (business_id = tieline_business()) WITH CHECK (business_id = tieline_business())', name);
        EXECUTE format('CREATE POLICY everybody ON %I TO tieline_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tieline_app, tieline_system', name);
    END LOOP;
END $$;
