-- Times are milliseconds since 1970 (UTC); ids of our own are UUIDs (v7) in text.

-- Which programs may open this database: those that know at least schema `oldest_program`.
CREATE TABLE schema_support (oldest_program INTEGER NOT NULL);
INSERT INTO schema_support VALUES (1);

CREATE TABLE businesses (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE integrations (
    id           TEXT PRIMARY KEY,
    business_id  TEXT NOT NULL REFERENCES businesses (id),
    name         TEXT NOT NULL,
    type         TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'error', 'pending')),
    -- Sealed: bound to this business and this row.
    credentials  BLOB NOT NULL,
    -- JSON: instance URL, organization id, environment, API version. Nothing secret.
    config       TEXT NOT NULL DEFAULT '{}',
    last_sync_at INTEGER,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (business_id, name)
);

CREATE TABLE contacts (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id),
    integration_id  TEXT REFERENCES integrations (id),
    source_type     TEXT NOT NULL CHECK (source_type IN ('salesforce', 'hubspot', 'csv', 'manual')),
    source_id       TEXT NOT NULL,
    first_name      TEXT,
    last_name       TEXT,
    name            TEXT,
    email           TEXT,
    phone           TEXT,
    company         TEXT,
    title           TEXT,
    -- JSON: the source's other fields under their own names.
    source_metadata TEXT NOT NULL DEFAULT '{}',
    tags            TEXT NOT NULL DEFAULT '[]',
    custom_fields   TEXT NOT NULL DEFAULT '{}',
    -- SystemModstamp of the version held here: an older one never replaces it.
    source_stamp    INTEGER NOT NULL,
    -- A tombstone: the source has deleted the record, and may bring it back.
    deleted         INTEGER NOT NULL DEFAULT 0,
    sync_status     TEXT NOT NULL CHECK (sync_status IN ('synced', 'pending', 'error')),
    last_synced_at  INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (business_id, source_type, source_id)
);
CREATE INDEX contacts_recent ON contacts (business_id, last_synced_at);

-- How far an object has been read, and by whom.
CREATE TABLE checkpoints (
    integration_id TEXT NOT NULL REFERENCES integrations (id),
    object         TEXT NOT NULL,
    -- Everything stamped before this has been seen (NULL: nothing has).
    through        INTEGER,
    -- The scan under way, if any: where it stands, and what `through` becomes when it ends.
    scan_stamp     INTEGER,
    scan_id        TEXT,
    scan_until     INTEGER,
    -- Grows with every run; a run with an older number can no longer write.
    fence          INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (integration_id, object)
);

CREATE TABLE runs (
    id             TEXT PRIMARY KEY,
    integration_id TEXT NOT NULL REFERENCES integrations (id),
    object         TEXT NOT NULL,
    fence          INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'success', 'failed', 'cancelled', 'paused_quota')),
    started_at     INTEGER NOT NULL,
    finished_at    INTEGER,
    rows_read      INTEGER NOT NULL DEFAULT 0,
    inserted       INTEGER NOT NULL DEFAULT 0,
    updated        INTEGER NOT NULL DEFAULT 0,
    deleted        INTEGER NOT NULL DEFAULT 0,
    api_calls      INTEGER NOT NULL DEFAULT 0,
    error          TEXT
);
CREATE INDEX runs_recent ON runs (integration_id, started_at);
