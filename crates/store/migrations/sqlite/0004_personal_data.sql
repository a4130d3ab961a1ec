-- Personal data: erasure, retention, what runs once a day.

-- A program that does not know who was erased would bring them back.
UPDATE schema_support SET oldest_program = 4;

-- The key of a business's digests of persons who were erased.
CREATE TABLE erasure_keys (
    business_id TEXT PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    -- Sealed: 32 bytes at random.
    sealed      BLOB NOT NULL,
    created_at  INTEGER NOT NULL
);

-- Each request to erase somebody, as long as it stands. Nothing here says who it was.
CREATE TABLE erasures (
    id          TEXT PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- JSON: how many rows went, by kind.
    removed     TEXT NOT NULL,
    created_at  INTEGER NOT NULL
);
CREATE INDEX erasures_in_order ON erasures (business_id, created_at, id);

-- What keeps a person from coming back.
CREATE TABLE erased_persons (
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- HMAC-SHA256 of a source id or an e-mail address, in hexadecimal.
    digest      TEXT NOT NULL,
    erasure_id  TEXT NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    -- None: the digest is an e-mail address's.
    source_type TEXT CHECK (source_type IN ('salesforce', 'hubspot', 'csv', 'manual')),
    PRIMARY KEY (business_id, digest, erasure_id)
) WITHOUT ROWID;
CREATE INDEX erased_persons_of_erasure ON erased_persons (erasure_id);

-- For how many days things are kept; a business without a row has the defaults.
CREATE TABLE retention (
    business_id  TEXT PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    log_days     INTEGER NOT NULL,
    audit_days   INTEGER NOT NULL,
    import_days  INTEGER NOT NULL,
    -- None: for ever.
    lead_days    INTEGER,
    contact_days INTEGER,
    updated_at   INTEGER NOT NULL
);

-- Work that one node at a time does for the whole database, once in a while.
CREATE TABLE chores (
    name         TEXT PRIMARY KEY,
    due_at       INTEGER NOT NULL,
    -- Who has it, and until when; the fence refuses whoever came before.
    leased_until INTEGER,
    fence        INTEGER NOT NULL DEFAULT 0
);

ALTER TABLE imports ADD COLUMN skipped_erased INTEGER NOT NULL DEFAULT 0;

-- One outcome more.
CREATE TABLE new_import_rows (
    business_id TEXT NOT NULL,
    import_id   TEXT NOT NULL,
    position    INTEGER NOT NULL,
    -- Empty: of somebody who was erased.
    source_id   TEXT NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('pending', 'created', 'updated', 'unchanged', 'failed', 'skipped_erased')),
    lead_id     TEXT,
    error       TEXT,
    PRIMARY KEY (import_id, position),
    FOREIGN KEY (business_id, import_id) REFERENCES imports (business_id, id) ON DELETE CASCADE
) WITHOUT ROWID;
INSERT INTO new_import_rows (business_id, import_id, position, source_id, outcome, lead_id, error)
    SELECT business_id, import_id, position, source_id, outcome, lead_id, error FROM import_rows;
DROP TABLE import_rows;
ALTER TABLE new_import_rows RENAME TO import_rows;
CREATE INDEX import_rows_left ON import_rows (import_id, position) WHERE outcome = 'pending';
