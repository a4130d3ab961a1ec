-- What the engine keeps of a mapping beside its checkpoint, and what a run counts beside rows.
ALTER TABLE mapping_checkpoints ADD COLUMN verified_through timestamptz;
-- See `mappings/progress.rs`.
ALTER TABLE mapping_checkpoints ADD COLUMN progress jsonb NOT NULL DEFAULT '{}';

-- What came of the definition when it was held against the org's describe: the engine's.
ALTER TABLE mappings ADD COLUMN plan jsonb;

ALTER TABLE runs ADD COLUMN bytes bigint NOT NULL DEFAULT 0;
-- Differences that no cursor could see, found by comparing, and repaired.
ALTER TABLE runs ADD COLUMN drift_found bigint NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN failed_cells bigint NOT NULL DEFAULT 0;
-- When a run that ran out of the org's API calls is tried again.
ALTER TABLE runs ADD COLUMN retry_at timestamptz;

-- Values that did not fit their columns: the newest of each cell.
CREATE TABLE row_errors (
    business_id uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    mapping_id  uuid NOT NULL REFERENCES mappings (id) ON DELETE CASCADE,
    record_id   text COLLATE "C" NOT NULL,
    column_name text NOT NULL,
    run_id      uuid NOT NULL,
    reason      text NOT NULL,
    -- Shortened.
    value       text,
    at          timestamptz NOT NULL,
    PRIMARY KEY (mapping_id, record_id, column_name)
);
CREATE INDEX row_errors_recent ON row_errors (business_id, mapping_id, at);

DO $$
BEGIN
    ALTER TABLE row_errors ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY business ON row_errors TO tieline_app
        USING (business_id = tieline_business()) WITH CHECK (business_id = tieline_business());
    CREATE POLICY everybody ON row_errors TO tieline_system USING (true) WITH CHECK (true);
    GRANT SELECT, INSERT, UPDATE, DELETE ON row_errors TO tieline_app, tieline_system;
END $$;
