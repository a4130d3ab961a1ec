-- Mappings by the API: what is asked of a run, what fails, and what is held.

-- What somebody has asked for beside what is due. Whoever begins the run moves it to what the engine keeps of the mapping.
ALTER TABLE sync_work ADD COLUMN asked_verify INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_work ADD COLUMN asked_compare INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_work ADD COLUMN asked_reload INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sync_work ADD COLUMN asked_allow_gone INTEGER NOT NULL DEFAULT 0;

-- Whether it fails: 'auth' (somebody must log in), 'sync'. NULL: it does not, as far as is known.
ALTER TABLE sync_work ADD COLUMN failing TEXT CHECK (failing IN ('auth', 'sync'));
ALTER TABLE sync_work ADD COLUMN failing_reason TEXT;
ALTER TABLE sync_work ADD COLUMN failing_since INTEGER;
-- Runs that have failed since one that did not.
ALTER TABLE sync_work ADD COLUMN failed_runs INTEGER NOT NULL DEFAULT 0;

-- Records that a paused mapping's comparison did not find, of how many (NULL: nothing is held).
ALTER TABLE mappings ADD COLUMN held_records INTEGER;
ALTER TABLE mappings ADD COLUMN held_of INTEGER;
ALTER TABLE mappings ADD COLUMN held_at INTEGER;
