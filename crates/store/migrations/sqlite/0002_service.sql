-- The service: people, businesses, keys, connected orgs, leads. Rows of tenants name their business.

-- Credentials are sealed with data keys from here on, which a program of schema 1 cannot open.
UPDATE schema_support SET oldest_program = 2;

ALTER TABLE businesses ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    -- In lower case.
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    -- argon2id, in its own text form. None: signs in elsewhere.
    password_hash TEXT,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER
);

CREATE TABLE team_members (
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role        TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (business_id, user_id)
);
CREATE INDEX team_members_of_user ON team_members (user_id);

-- Of secrets that somebody shows us there are digests only (SHA-256).
CREATE TABLE invitations (
    id          TEXT PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    email       TEXT NOT NULL,
    role        TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    token_hash  BLOB NOT NULL UNIQUE,
    invited_by  TEXT REFERENCES users (id) ON DELETE SET NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
);
CREATE INDEX invitations_of_business ON invitations (business_id);

CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    token_hash   BLOB NOT NULL UNIQUE,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    address      TEXT NOT NULL,
    user_agent   TEXT NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX sessions_expiring ON sessions (expires_at);

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    business_id  TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    -- What of the key is shown in lists.
    prefix       TEXT NOT NULL,
    key_hash     BLOB NOT NULL UNIQUE,
    role         TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    created_by   TEXT REFERENCES users (id) ON DELETE SET NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    expires_at   INTEGER,
    revoked_at   INTEGER
);
CREATE INDEX api_keys_of_business ON api_keys (business_id);

-- The key of one integration (or of the business itself), wrapped by a key service.
CREATE TABLE data_keys (
    id          TEXT PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- The integration's id, or the business's.
    owner_id    TEXT NOT NULL,
    -- Name of the key that wrapped it.
    service     TEXT NOT NULL,
    wrapped     BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    -- Since when nothing new is sealed with it.
    retired_at  INTEGER
);
CREATE UNIQUE INDEX data_keys_in_use ON data_keys (owner_id) WHERE retired_at IS NULL;
CREATE INDEX data_keys_of_service ON data_keys (service, id);

-- A value that each master key has wrapped: shows at the start whether the key is the one it says it is.
CREATE TABLE key_canaries (
    service    TEXT PRIMARY KEY,
    wrapped    BLOB NOT NULL,
    sealed     BLOB NOT NULL
);

-- From here on `config` is filled at the first login, and `credentials` may be missing before it.
CREATE TABLE new_integrations (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    type            TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'error', 'pending')),
    -- Why the status is `error` or `inactive`, for people.
    status_reason   TEXT,
    -- Sealed: bound to this business, this row and this column.
    credentials     BLOB,
    -- JSON: instance URL, environment, API version. Nothing secret.
    config          TEXT NOT NULL DEFAULT '{}',
    -- The org that it is connected to, 18 characters. It never changes.
    organization_id TEXT,
    -- Grows when access is taken away: a token that was asked for before is not kept after.
    generation      INTEGER NOT NULL DEFAULT 1,
    last_sync_at    INTEGER,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (business_id, name),
    UNIQUE (business_id, id)
);
INSERT INTO new_integrations (id, business_id, name, type, status, credentials, config, organization_id, last_sync_at, created_at, updated_at)
    SELECT id, business_id, name, type, status, credentials, config, config ->> 'organization_id', last_sync_at, created_at, updated_at
    FROM integrations;
DROP TABLE integrations;
ALTER TABLE new_integrations RENAME TO integrations;

-- Tokens of integrations, with the lease of whoever renews one (see the crate's `integration_tokens`).
CREATE TABLE integration_tokens (
    business_id    TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    name           TEXT NOT NULL,
    version        INTEGER NOT NULL DEFAULT 0,
    sealed         BLOB,
    fence          INTEGER NOT NULL,
    owner          TEXT,
    -- By the database's clock, in milliseconds since 1970.
    lease_until    INTEGER NOT NULL,
    PRIMARY KEY (integration_id, name)
);

CREATE TABLE login_attempts (
    id             TEXT PRIMARY KEY,
    business_id    TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    user_id        TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    integration_id TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    -- The integration's, when the login was begun.
    generation     INTEGER NOT NULL,
    -- Digests of what the org and the browser bring back.
    state_hash     BLOB NOT NULL UNIQUE,
    browser_hash   BLOB NOT NULL,
    -- Sealed: the PKCE verifier and the nonce.
    sealed         BLOB NOT NULL,
    login_url      TEXT NOT NULL,
    redirect_uri   TEXT NOT NULL,
    return_to      TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL
);
CREATE INDEX login_attempts_expiring ON login_attempts (expires_at);

-- Rows of a business that no program of schema 1 named.
ALTER TABLE checkpoints ADD COLUMN business_id TEXT REFERENCES businesses (id) ON DELETE CASCADE;
UPDATE checkpoints SET business_id = (SELECT business_id FROM integrations WHERE id = integration_id);
ALTER TABLE runs ADD COLUMN business_id TEXT REFERENCES businesses (id) ON DELETE CASCADE;
UPDATE runs SET business_id = (SELECT business_id FROM integrations WHERE id = integration_id);

CREATE TABLE leads (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id  TEXT REFERENCES integrations (id) ON DELETE SET NULL,
    source_type     TEXT NOT NULL CHECK (source_type IN ('salesforce', 'hubspot', 'csv', 'manual')),
    source_id       TEXT NOT NULL,
    first_name      TEXT,
    last_name       TEXT,
    name            TEXT,
    email           TEXT,
    phone           TEXT,
    company         TEXT,
    title           TEXT,
    source_metadata TEXT NOT NULL DEFAULT '{}',
    tags            TEXT NOT NULL DEFAULT '[]',
    custom_fields   TEXT NOT NULL DEFAULT '{}',
    campaign        TEXT,
    -- Name, e-mail and company in lower case, one a line: what is searched, alike in both databases.
    search_text     TEXT NOT NULL DEFAULT '',
    -- The source's stamp of the version held here, if it has any: an older one never replaces it.
    source_stamp    INTEGER,
    sync_status     TEXT NOT NULL CHECK (sync_status IN ('synced', 'pending', 'error')),
    last_synced_at  INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (business_id, source_type, source_id)
);
CREATE INDEX leads_in_order ON leads (business_id, created_at, id);
CREATE INDEX leads_by_campaign ON leads (business_id, campaign, created_at, id);
CREATE INDEX leads_by_email ON leads (business_id, email);

CREATE TABLE imports (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id  TEXT NOT NULL,
    -- The caller's: the same key is the same import.
    idempotency_key TEXT,
    -- SHA-256 of what was asked for.
    request_hash    BLOB NOT NULL,
    campaign        TEXT,
    tags            TEXT NOT NULL DEFAULT '[]',
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'success', 'failed', 'cancelled')),
    error           TEXT,
    -- Rows, by what became of them; the rest is pending.
    total           INTEGER NOT NULL,
    created         INTEGER NOT NULL DEFAULT 0,
    updated         INTEGER NOT NULL DEFAULT 0,
    unchanged       INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0,
    created_by      TEXT,
    created_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    -- Who works on it, and until when; the fence refuses whoever came before.
    leased_until    INTEGER,
    fence           INTEGER NOT NULL DEFAULT 0,
    UNIQUE (business_id, idempotency_key),
    UNIQUE (business_id, id),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX imports_in_order ON imports (business_id, created_at, id);
CREATE INDEX imports_unfinished ON imports (created_at) WHERE state IN ('waiting', 'running');

CREATE TABLE import_rows (
    business_id TEXT NOT NULL,
    import_id   TEXT NOT NULL,
    position    INTEGER NOT NULL,
    source_id   TEXT NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('pending', 'created', 'updated', 'unchanged', 'failed')),
    lead_id     TEXT,
    error       TEXT,
    PRIMARY KEY (import_id, position),
    FOREIGN KEY (business_id, import_id) REFERENCES imports (business_id, id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX import_rows_left ON import_rows (import_id, position) WHERE outcome = 'pending';

CREATE TABLE integration_logs (
    id             TEXT PRIMARY KEY,
    business_id    TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id TEXT,
    event          TEXT NOT NULL,
    level          TEXT NOT NULL CHECK (level IN ('info', 'warning', 'error')),
    message        TEXT NOT NULL,
    detail         TEXT NOT NULL DEFAULT '{}',
    at             INTEGER NOT NULL,
    -- An integration of the same business.
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX integration_logs_in_order ON integration_logs (business_id, at, id);
CREATE INDEX integration_logs_of_one ON integration_logs (integration_id, at, id);

-- Who did what. Each entry holds the digest of the one before it: one that is taken out or changed shows.
CREATE TABLE audit_log (
    id          TEXT PRIMARY KEY,
    -- None: it concerns the service, not a business.
    business_id TEXT REFERENCES businesses (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    actor_type  TEXT NOT NULL CHECK (actor_type IN ('user', 'api_key', 'system', 'anonymous')),
    actor_id    TEXT,
    action      TEXT NOT NULL,
    outcome     TEXT NOT NULL CHECK (outcome IN ('success', 'failure', 'denied')),
    target_type TEXT,
    target_id   TEXT,
    -- JSON.
    detail      TEXT NOT NULL,
    address     TEXT,
    digest      BLOB NOT NULL
);
CREATE UNIQUE INDEX audit_log_in_order ON audit_log (business_id, position);
CREATE UNIQUE INDEX audit_log_of_the_service ON audit_log (position) WHERE business_id IS NULL;
CREATE TRIGGER audit_log_is_never_changed BEFORE UPDATE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
-- INSERT OR REPLACE would take the row before out, and ask no trigger that watches over deletion.
CREATE TRIGGER audit_log_is_only_appended_to BEFORE INSERT ON audit_log
    WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = new.id)
        OR EXISTS (SELECT 1 FROM audit_log WHERE business_id = new.business_id AND position = new.position)
        OR EXISTS (SELECT 1 FROM audit_log WHERE business_id IS NULL AND new.business_id IS NULL AND position = new.position)
    BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;

-- Where each chain of the audit log begins and ends. The row is the lock of whoever appends, shows that the newest
-- entries are gone, and keeps the digest of the last entry that was thinned out.
CREATE TABLE audit_chains (
    -- None: the service's.
    business_id     TEXT UNIQUE REFERENCES businesses (id) ON DELETE CASCADE,
    anchor_position INTEGER NOT NULL DEFAULT 0,
    anchor_digest   BLOB NOT NULL,
    head_position   INTEGER NOT NULL DEFAULT 0,
    head_digest     BLOB NOT NULL
);
CREATE UNIQUE INDEX audit_chain_of_the_service ON audit_chains ((business_id IS NULL)) WHERE business_id IS NULL;

-- Counters of clients. `full_at`: when the bucket of this client is full again (GCRA).
CREATE TABLE rate_limits (
    key      TEXT PRIMARY KEY,
    -- By the database's clock, in microseconds since 1970.
    full_at  INTEGER NOT NULL,
    -- When the last decision was made, and how it fell: a statement tells its own outcome by them.
    asked_at INTEGER NOT NULL,
    allowed  INTEGER NOT NULL
) WITHOUT ROWID;
