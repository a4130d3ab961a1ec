-- Personal data: erasure, retention, what runs once a day.

-- A program that does not know who was erased would bring them back.
UPDATE schema_support SET oldest_program = 4;

-- The key of a business's digests of persons who were erased.
CREATE TABLE erasure_keys (
    business_id uuid PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    -- Sealed: 32 bytes at random.
    sealed      bytea NOT NULL,
    created_at  timestamptz NOT NULL
);

-- Each request to erase somebody, as long as it stands. Nothing here says who it was.
CREATE TABLE erasures (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- How many rows went, by kind.
    removed     jsonb NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX erasures_in_order ON erasures (business_id, created_at, id);

-- What keeps a person from coming back.
CREATE TABLE erased_persons (
    business_id uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- HMAC-SHA256 of a source id or an e-mail address, in hexadecimal.
    digest      text COLLATE "C" NOT NULL,
    erasure_id  uuid NOT NULL REFERENCES erasures (id) ON DELETE CASCADE,
    -- None: the digest is an e-mail address's.
    source_type text CHECK (source_type IN ('salesforce', 'hubspot', 'csv', 'manual')),
    PRIMARY KEY (business_id, digest, erasure_id)
);
CREATE INDEX erased_persons_of_erasure ON erased_persons (erasure_id);

-- For how many days things are kept; a business without a row has the defaults.
CREATE TABLE retention (
    business_id  uuid PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    log_days     bigint NOT NULL,
    audit_days   bigint NOT NULL,
    import_days  bigint NOT NULL,
    -- None: for ever.
    lead_days    bigint,
    contact_days bigint,
    updated_at   timestamptz NOT NULL
);

-- Work that one node at a time does for the whole database, once in a while.
CREATE TABLE chores (
    name         text PRIMARY KEY,
    due_at       timestamptz NOT NULL,
    -- Who has it, and until when; the fence refuses whoever came before.
    leased_until timestamptz,
    fence        bigint NOT NULL DEFAULT 0
);

ALTER TABLE imports ADD COLUMN skipped_erased bigint NOT NULL DEFAULT 0;

-- One outcome more. The source id of somebody who was erased is empty.
ALTER TABLE import_rows DROP CONSTRAINT import_rows_outcome_check;
ALTER TABLE import_rows ADD CONSTRAINT import_rows_outcome_check
    CHECK (outcome IN ('pending', 'created', 'updated', 'unchanged', 'failed', 'skipped_erased'));

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['erasure_keys', 'erasures', 'erased_persons', 'retention'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY business ON %I TO tieline_app
            USING (business_id = tieline_business()) WITH CHECK (business_id = tieline_business())', name);
        EXECUTE format('CREATE POLICY everybody ON %I TO tieline_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tieline_app, tieline_system', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON chores TO tieline_app, tieline_system;
