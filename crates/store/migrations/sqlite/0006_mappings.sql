-- Which objects of an org are kept in step, and in which table.
CREATE TABLE mappings (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- NULL: the integration was deleted, and the table stays as it was.
    integration_id  TEXT REFERENCES integrations (id) ON DELETE SET NULL,
    name            TEXT NOT NULL,
    -- API name in the org.
    object          TEXT NOT NULL,
    -- Table of this database.
    table_name      TEXT NOT NULL UNIQUE,
    -- As somebody wrote it, and what came of it when it was held against the org's describe.
    definition      TEXT NOT NULL,
    columns         TEXT NOT NULL,
    state           TEXT NOT NULL DEFAULT 'initial' CHECK (state IN
        ('initial', 'synced', 'resync', 'reload', 'schema_changed', 'paused', 'paused_quota', 'needs_reauth')),
    state_reason    TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (integration_id, name)
) STRICT;
CREATE INDEX mappings_of_business ON mappings (business_id, id);

-- How far a mapping has been read, and by whom.
CREATE TABLE mapping_checkpoints (
    mapping_id   TEXT PRIMARY KEY REFERENCES mappings (id) ON DELETE CASCADE,
    business_id  TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- Everything stamped before this has been seen (NULL: nothing has).
    through      INTEGER,
    -- The scan under way, if any: where it stands, and what `through` becomes when it ends.
    scan_stamp   INTEGER,
    scan_id      TEXT,
    scan_until   INTEGER,
    -- Grows with every run; a run with an older number can no longer write.
    fence        INTEGER NOT NULL DEFAULT 0
) STRICT;

ALTER TABLE runs ADD COLUMN mapping_id TEXT REFERENCES mappings (id) ON DELETE CASCADE;
CREATE INDEX runs_of_mapping ON runs (mapping_id, started_at) WHERE mapping_id IS NOT NULL;
