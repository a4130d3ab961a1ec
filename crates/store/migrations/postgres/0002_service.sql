-- All of schema 2. (PostgreSQL begins with it; the versions count as SQLite's do.)
--
-- Every table with rows of tenants has row-level security, forced, with two policies: `tieline_app` sees the business
-- that its transaction names, `tieline_system` sees all. Neither role owns anything.

CREATE TABLE schema_support (oldest_program bigint NOT NULL);
INSERT INTO schema_support VALUES (2);

-- Whom this transaction works for. A setting that an earlier transaction of the session has made is empty, not null.
CREATE FUNCTION tieline_business() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('tieline.business', true), '')::uuid $$;
CREATE FUNCTION tieline_person() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('tieline.person', true), '')::uuid $$;

-- The database's clock, which all nodes share.
CREATE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

CREATE TABLE businesses (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    settings   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL
);

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    -- In lower case.
    email         text NOT NULL UNIQUE,
    name          text NOT NULL,
    -- argon2id, in its own text form. None: signs in elsewhere.
    password_hash text,
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz
);

CREATE TABLE team_members (
    business_id uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role        text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (business_id, user_id)
);
CREATE INDEX team_members_of_user ON team_members (user_id);

-- Of secrets that somebody shows us there are digests only (SHA-256).
CREATE TABLE invitations (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    email       text NOT NULL,
    role        text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    token_hash  bytea NOT NULL UNIQUE,
    invited_by  uuid REFERENCES users (id) ON DELETE SET NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX invitations_of_business ON invitations (business_id);

CREATE TABLE sessions (
    id           uuid PRIMARY KEY,
    token_hash   bytea NOT NULL UNIQUE,
    user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    address      text NOT NULL,
    user_agent   text NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX sessions_expiring ON sessions (expires_at);

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    business_id  uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    name         text NOT NULL,
    -- What of the key is shown in lists.
    prefix       text NOT NULL,
    key_hash     bytea NOT NULL UNIQUE,
    role         text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    created_by   uuid REFERENCES users (id) ON DELETE SET NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    expires_at   timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_of_business ON api_keys (business_id);

-- The key of one integration (or of the business itself), wrapped by a key service.
CREATE TABLE data_keys (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- The integration's id, or the business's.
    owner_id    uuid NOT NULL,
    -- Name of the key that wrapped it.
    service     text NOT NULL,
    wrapped     bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    -- Since when nothing new is sealed with it.
    retired_at  timestamptz
);
CREATE UNIQUE INDEX data_keys_in_use ON data_keys (owner_id) WHERE retired_at IS NULL;
CREATE INDEX data_keys_of_service ON data_keys (service, id);

-- A value that each master key has wrapped: shows at the start whether the key is the one it says it is.
CREATE TABLE key_canaries (
    service    text PRIMARY KEY,
    wrapped    bytea NOT NULL,
    sealed     bytea NOT NULL
);

CREATE TABLE integrations (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    name            text NOT NULL,
    type            text NOT NULL,
    status          text NOT NULL CHECK (status IN ('active', 'inactive', 'error', 'pending')),
    -- Why the status is `error` or `inactive`, for people.
    status_reason   text,
    -- Sealed: bound to this business, this row and this column.
    credentials     bytea,
    -- Instance URL, environment, API version. Nothing secret.
    config          jsonb NOT NULL DEFAULT '{}',
    -- The org that it is connected to, 18 characters. It never changes.
    organization_id text,
    -- Grows when access is taken away: a token that was asked for before is not kept after.
    generation      bigint NOT NULL DEFAULT 1,
    last_sync_at    timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (business_id, name),
    UNIQUE (business_id, id)
);

-- Tokens of integrations, with the lease of whoever renews one (see the crate's `integration_tokens`).
CREATE TABLE integration_tokens (
    business_id    uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id uuid NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    name           text NOT NULL,
    version        bigint NOT NULL DEFAULT 0,
    sealed         bytea,
    fence          bigint NOT NULL,
    owner          text,
    -- By the database's clock, in milliseconds since 1970.
    lease_until    bigint NOT NULL,
    PRIMARY KEY (integration_id, name)
);

CREATE TABLE login_attempts (
    id             uuid PRIMARY KEY,
    business_id    uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    user_id        uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    integration_id uuid NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    -- The integration's, when the login was begun.
    generation     bigint NOT NULL,
    -- Digests of what the org and the browser bring back.
    state_hash     bytea NOT NULL UNIQUE,
    browser_hash   bytea NOT NULL,
    -- Sealed: the PKCE verifier and the nonce.
    sealed         bytea NOT NULL,
    login_url      text NOT NULL,
    redirect_uri   text NOT NULL,
    return_to      text NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL
);
CREATE INDEX login_attempts_expiring ON login_attempts (expires_at);

CREATE TABLE contacts (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id  uuid REFERENCES integrations (id) ON DELETE SET NULL,
    source_type     text NOT NULL CHECK (source_type IN ('salesforce', 'hubspot', 'csv', 'manual')),
    source_id       text COLLATE "C" NOT NULL,
    first_name      text,
    last_name       text,
    name            text,
    email           text,
    phone           text,
    company         text,
    title           text,
    -- The source's other fields under their own names.
    source_metadata jsonb NOT NULL DEFAULT '{}',
    tags            jsonb NOT NULL DEFAULT '[]',
    custom_fields   jsonb NOT NULL DEFAULT '{}',
    -- SystemModstamp of the version held here: an older one never replaces it.
    source_stamp    timestamptz NOT NULL,
    -- A tombstone: the source has deleted the record, and may bring it back.
    deleted         boolean NOT NULL DEFAULT false,
    sync_status     text NOT NULL CHECK (sync_status IN ('synced', 'pending', 'error')),
    last_synced_at  timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    UNIQUE (business_id, source_type, source_id)
);
CREATE INDEX contacts_recent ON contacts (business_id, last_synced_at);

-- How far an object has been read, and by whom.
CREATE TABLE checkpoints (
    integration_id uuid NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    object         text NOT NULL,
    business_id    uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- Everything stamped before this has been seen (NULL: nothing has).
    through        timestamptz,
    -- The scan under way, if any: where it stands, and what `through` becomes when it ends.
    scan_stamp     timestamptz,
    scan_id        text COLLATE "C",
    scan_until     timestamptz,
    -- Grows with every run; a run with an older number can no longer write.
    fence          bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (integration_id, object)
);

CREATE TABLE runs (
    id             uuid PRIMARY KEY,
    business_id    uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id uuid NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    object         text NOT NULL,
    fence          bigint NOT NULL,
    state          text NOT NULL CHECK (state IN ('waiting', 'running', 'success', 'failed', 'cancelled', 'paused_quota')),
    started_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    rows_read      bigint NOT NULL DEFAULT 0,
    inserted       bigint NOT NULL DEFAULT 0,
    updated        bigint NOT NULL DEFAULT 0,
    deleted        bigint NOT NULL DEFAULT 0,
    api_calls      bigint NOT NULL DEFAULT 0,
    error          text
);
CREATE INDEX runs_recent ON runs (integration_id, started_at);

CREATE TABLE leads (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id  uuid REFERENCES integrations (id) ON DELETE SET NULL,
    source_type     text NOT NULL CHECK (source_type IN ('salesforce', 'hubspot', 'csv', 'manual')),
    source_id       text COLLATE "C" NOT NULL,
    first_name      text,
    last_name       text,
    name            text,
    email           text,
    phone           text,
    company         text,
    title           text,
    source_metadata jsonb NOT NULL DEFAULT '{}',
    tags            jsonb NOT NULL DEFAULT '[]',
    custom_fields   jsonb NOT NULL DEFAULT '{}',
    campaign        text,
    -- Name, e-mail and company in lower case, one a line: what is searched, alike in both databases.
    search_text     text NOT NULL DEFAULT '',
    -- The source's stamp of the version held here, if it has any: an older one never replaces it.
    source_stamp    timestamptz,
    sync_status     text NOT NULL CHECK (sync_status IN ('synced', 'pending', 'error')),
    last_synced_at  timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (business_id, source_type, source_id)
);
CREATE INDEX leads_in_order ON leads (business_id, created_at, id);
CREATE INDEX leads_by_campaign ON leads (business_id, campaign, created_at, id);
CREATE INDEX leads_by_email ON leads (business_id, email);

CREATE TABLE imports (
    id              uuid PRIMARY KEY,
    business_id     uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id  uuid NOT NULL,
    -- The caller's: the same key is the same import.
    idempotency_key text,
    -- SHA-256 of what was asked for.
    request_hash    bytea NOT NULL,
    campaign        text,
    tags            jsonb NOT NULL DEFAULT '[]',
    state           text NOT NULL CHECK (state IN ('waiting', 'running', 'success', 'failed', 'cancelled')),
    error           text,
    -- Rows, by what became of them; the rest is pending.
    total           bigint NOT NULL,
    created         bigint NOT NULL DEFAULT 0,
    updated         bigint NOT NULL DEFAULT 0,
    unchanged       bigint NOT NULL DEFAULT 0,
    failed          bigint NOT NULL DEFAULT 0,
    created_by      text,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    -- Who works on it, and until when; the fence refuses whoever came before.
    leased_until    timestamptz,
    fence           bigint NOT NULL DEFAULT 0,
    UNIQUE (business_id, idempotency_key),
    UNIQUE (business_id, id),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX imports_in_order ON imports (business_id, created_at, id);
CREATE INDEX imports_unfinished ON imports (created_at) WHERE state IN ('waiting', 'running');

CREATE TABLE import_rows (
    business_id uuid NOT NULL,
    import_id   uuid NOT NULL,
    position    bigint NOT NULL,
    source_id   text NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('pending', 'created', 'updated', 'unchanged', 'failed')),
    lead_id     uuid,
    error       text,
    PRIMARY KEY (import_id, position),
    FOREIGN KEY (business_id, import_id) REFERENCES imports (business_id, id) ON DELETE CASCADE
);
CREATE INDEX import_rows_left ON import_rows (import_id, position) WHERE outcome = 'pending';

CREATE TABLE integration_logs (
    id             uuid PRIMARY KEY,
    business_id    uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    integration_id uuid,
    event          text NOT NULL,
    level          text NOT NULL CHECK (level IN ('info', 'warning', 'error')),
    message        text NOT NULL,
    detail         jsonb NOT NULL DEFAULT '{}',
    at             timestamptz NOT NULL,
    -- An integration of the same business.
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX integration_logs_in_order ON integration_logs (business_id, at, id);
CREATE INDEX integration_logs_of_one ON integration_logs (integration_id, at, id);

-- Who did what. Each entry holds the digest of the one before it: one that is taken out or changed shows.
CREATE TABLE audit_log (
    id          uuid PRIMARY KEY,
    -- None: it concerns the service, not a business.
    business_id uuid REFERENCES businesses (id) ON DELETE CASCADE,
    position    bigint NOT NULL,
    at          timestamptz NOT NULL,
    actor_type  text NOT NULL CHECK (actor_type IN ('user', 'api_key', 'system', 'anonymous')),
    actor_id    text,
    action      text NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('success', 'failure', 'denied')),
    target_type text,
    target_id   text,
    -- JSON, as text: the digest is over its very bytes, which jsonb would not keep.
    detail      text NOT NULL,
    address     text,
    digest      bytea NOT NULL
);
CREATE UNIQUE INDEX audit_log_in_order ON audit_log (business_id, position);
CREATE UNIQUE INDEX audit_log_of_the_service ON audit_log (position) WHERE business_id IS NULL;

-- Where each chain of the audit log begins and ends. The row is the lock of whoever appends, shows that the newest
-- entries are gone, and keeps the digest of the last entry that was thinned out.
CREATE TABLE audit_chains (
    -- None: the service's.
    business_id     uuid UNIQUE REFERENCES businesses (id) ON DELETE CASCADE,
    anchor_position bigint NOT NULL DEFAULT 0,
    anchor_digest   bytea NOT NULL,
    head_position   bigint NOT NULL DEFAULT 0,
    head_digest     bytea NOT NULL
);
CREATE UNIQUE INDEX audit_chain_of_the_service ON audit_chains ((business_id IS NULL)) WHERE business_id IS NULL;

-- Counters that all nodes share. `full_at`: when the bucket of this client is full again (GCRA).
-- A row is written for every request. Unlogged: no write-ahead log, and no wait for the disk; after a crash of the
-- server all buckets are full. Nothing but the key is indexed, and half of each page is left free, so that a new
-- version of a row stays in its page (HOT) and the old one is pruned there, without a vacuum.
CREATE UNLOGGED TABLE rate_limits (
    key      text PRIMARY KEY,
    -- By the database's clock, in microseconds since 1970.
    full_at  bigint NOT NULL,
    -- When the last decision was made, and how it fell: a statement tells its own outcome by them.
    asked_at bigint NOT NULL,
    allowed  boolean NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0);

-- The tables of tenants.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['team_members', 'invitations', 'api_keys', 'data_keys', 'integrations', 'integration_tokens', 'login_attempts',
        'contacts', 'checkpoints', 'runs', 'leads', 'imports', 'import_rows', 'integration_logs', 'audit_log', 'audit_chains'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY business ON %I TO tieline_app
            USING (business_id = tieline_business()) WITH CHECK (business_id = tieline_business())', name);
        EXECUTE format('CREATE POLICY everybody ON %I TO tieline_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tieline_app, tieline_system', name);
    END LOOP;
END $$;

ALTER TABLE businesses ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY business ON businesses TO tieline_app USING (id = tieline_business()) WITH CHECK (id = tieline_business());
CREATE POLICY everybody ON businesses TO tieline_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON businesses TO tieline_app, tieline_system;

-- A person sees the memberships of their own, and the businesses that they lead to.
CREATE POLICY own ON team_members FOR SELECT TO tieline_app USING (user_id = tieline_person());
CREATE POLICY own ON businesses FOR SELECT TO tieline_app
    USING (id IN (SELECT business_id FROM team_members WHERE user_id = tieline_person()));

-- The audit log is never changed, and thinned out by the service alone.
REVOKE UPDATE, DELETE ON audit_log FROM tieline_app;
REVOKE UPDATE ON audit_log FROM tieline_system;
-- A business moves the end of its chain, and never the beginning.
REVOKE UPDATE, DELETE ON audit_chains FROM tieline_app;
GRANT UPDATE (head_position, head_digest) ON audit_chains TO tieline_app;

-- Nothing of a business is in these.
GRANT SELECT, INSERT, UPDATE, DELETE ON users, sessions, key_canaries, rate_limits TO tieline_app, tieline_system;
GRANT SELECT ON schema_support TO tieline_app, tieline_system;
