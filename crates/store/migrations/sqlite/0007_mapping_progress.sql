-- What the engine keeps of a mapping beside its checkpoint, and what a run counts beside rows.
ALTER TABLE mapping_checkpoints ADD COLUMN verified_through INTEGER;
-- JSON: see `mappings/progress.rs`.
ALTER TABLE mapping_checkpoints ADD COLUMN progress TEXT NOT NULL DEFAULT '{}';

-- What came of the definition when it was held against the org's describe: the engine's, as JSON.
ALTER TABLE mappings ADD COLUMN plan TEXT;

ALTER TABLE runs ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
-- Differences that no cursor could see, found by comparing, and repaired.
ALTER TABLE runs ADD COLUMN drift_found INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN failed_cells INTEGER NOT NULL DEFAULT 0;
-- When a run that ran out of the org's API calls is tried again.
ALTER TABLE runs ADD COLUMN retry_at INTEGER;

-- Values that did not fit their columns: the newest of each cell.
CREATE TABLE row_errors (
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    mapping_id  TEXT NOT NULL REFERENCES mappings (id) ON DELETE CASCADE,
    record_id   TEXT NOT NULL,
    column_name TEXT NOT NULL,
    run_id      TEXT NOT NULL,
    reason      TEXT NOT NULL,
    -- Shortened.
    value       TEXT,
    at          INTEGER NOT NULL,
    PRIMARY KEY (mapping_id, record_id, column_name)
) STRICT;
CREATE INDEX row_errors_recent ON row_errors (business_id, mapping_id, at);
