-- What the versions beside this one make of a new file, as SQLite keeps it. Written by a test (opening.rs), not by hand.

CREATE TABLE schema_support (oldest_program INTEGER NOT NULL);

CREATE TABLE businesses (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
, settings TEXT NOT NULL DEFAULT '{}');

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
    created_at      INTEGER NOT NULL, change INTEGER NOT NULL DEFAULT 0, matched INTEGER NOT NULL DEFAULT 0, merged_into TEXT REFERENCES contacts (id) ON DELETE SET NULL, merged_fields TEXT, deletion TEXT CHECK (deletion IN ('deleted', 'merged', 'erased', 'hidden')),
    UNIQUE (business_id, source_type, source_id)
);

CREATE INDEX contacts_recent ON contacts (business_id, last_synced_at);

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
, business_id TEXT REFERENCES businesses (id) ON DELETE CASCADE, mapping_id TEXT REFERENCES mappings (id) ON DELETE CASCADE, bytes INTEGER NOT NULL DEFAULT 0, drift_found INTEGER NOT NULL DEFAULT 0, failed_cells INTEGER NOT NULL DEFAULT 0, retry_at INTEGER, last_change INTEGER);

CREATE INDEX runs_recent ON runs (integration_id, started_at);

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

CREATE TABLE key_canaries (
    service    TEXT PRIMARY KEY,
    wrapped    BLOB NOT NULL,
    sealed     BLOB NOT NULL
);

CREATE TABLE "integrations" (
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
    updated_at      INTEGER NOT NULL, failed_runs INTEGER NOT NULL DEFAULT 0,
    UNIQUE (business_id, name),
    UNIQUE (business_id, id)
);

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
    updated_at      INTEGER NOT NULL, matched INTEGER NOT NULL DEFAULT 0, merged_into TEXT REFERENCES leads (id) ON DELETE SET NULL, merged_fields TEXT,
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
    fence           INTEGER NOT NULL DEFAULT 0, skipped_erased INTEGER NOT NULL DEFAULT 0,
    UNIQUE (business_id, idempotency_key),
    UNIQUE (business_id, id),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);

CREATE INDEX imports_in_order ON imports (business_id, created_at, id);

CREATE INDEX imports_unfinished ON imports (created_at) WHERE state IN ('waiting', 'running');

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

CREATE TRIGGER audit_log_is_only_appended_to BEFORE INSERT ON audit_log
    WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = new.id)
        OR EXISTS (SELECT 1 FROM audit_log WHERE business_id = new.business_id AND position = new.position)
        OR EXISTS (SELECT 1 FROM audit_log WHERE business_id IS NULL AND new.business_id IS NULL AND position = new.position)
    BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;

CREATE TABLE audit_chains (
    -- None: the service's.
    business_id     TEXT UNIQUE REFERENCES businesses (id) ON DELETE CASCADE,
    anchor_position INTEGER NOT NULL DEFAULT 0,
    anchor_digest   BLOB NOT NULL,
    head_position   INTEGER NOT NULL DEFAULT 0,
    head_digest     BLOB NOT NULL
);

CREATE UNIQUE INDEX audit_chain_of_the_service ON audit_chains ((business_id IS NULL)) WHERE business_id IS NULL;

CREATE TABLE rate_limits (
    key      TEXT PRIMARY KEY,
    -- By the database's clock, in microseconds since 1970.
    full_at  INTEGER NOT NULL,
    -- When the last decision was made, and how it fell: a statement tells its own outcome by them.
    asked_at INTEGER NOT NULL,
    allowed  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE alert_channels (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('webhook', 'slack', 'email')),
    -- What lists show of it: the host, or the address.
    shown           TEXT NOT NULL,
    -- Sealed: URL and signing secrets, or the address.
    setting         BLOB NOT NULL,
    enabled         INTEGER NOT NULL DEFAULT 1,
    last_success_at INTEGER,
    last_failure_at INTEGER,
    last_error      TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    UNIQUE (business_id, name),
    UNIQUE (business_id, id)
);

CREATE TABLE alert_rules (
    id             TEXT PRIMARY KEY,
    business_id    TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- No closed list: a newer program may know more.
    kind           TEXT NOT NULL,
    -- None: all of the business's.
    integration_id TEXT,
    settings       TEXT NOT NULL DEFAULT '{}',
    quiet_seconds  INTEGER NOT NULL,
    enabled        INTEGER NOT NULL DEFAULT 1,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    UNIQUE (business_id, id),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);

CREATE INDEX alert_rules_of_kind ON alert_rules (business_id, kind);

CREATE TABLE alert_rule_channels (
    business_id TEXT NOT NULL,
    rule_id     TEXT NOT NULL,
    channel_id  TEXT NOT NULL,
    PRIMARY KEY (rule_id, channel_id),
    FOREIGN KEY (business_id, rule_id) REFERENCES alert_rules (business_id, id) ON DELETE CASCADE,
    FOREIGN KEY (business_id, channel_id) REFERENCES alert_channels (business_id, id) ON DELETE CASCADE
);

CREATE INDEX alert_rule_channels_of_channel ON alert_rule_channels (channel_id);

CREATE TABLE notifications (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- Kind, integration and step: what is the same condition.
    dedup_key       TEXT NOT NULL,
    kind            TEXT NOT NULL,
    integration_id  TEXT,
    severity        TEXT NOT NULL CHECK (severity IN ('warning', 'error')),
    title           TEXT NOT NULL,
    detail          TEXT NOT NULL,
    hint            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved')),
    -- How often it was found.
    count           INTEGER NOT NULL DEFAULT 1,
    opened_at       INTEGER NOT NULL,
    last_at         INTEGER NOT NULL,
    acknowledged_by TEXT,
    acknowledged_at INTEGER,
    resolved_at     INTEGER,
    UNIQUE (business_id, id),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX notifications_open ON notifications (business_id, dedup_key) WHERE state <> 'resolved';

CREATE INDEX notifications_in_order ON notifications (business_id, opened_at, id);

CREATE INDEX notifications_by_key ON notifications (business_id, dedup_key, resolved_at);

CREATE INDEX notifications_of_integration ON notifications (integration_id);

CREATE INDEX notifications_ended ON notifications (resolved_at) WHERE state = 'resolved';

CREATE TABLE alert_deliveries (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    channel_id      TEXT NOT NULL,
    -- None: it says how many were folded into it.
    notification_id TEXT,
    event           TEXT NOT NULL CHECK (event IN ('opened', 'reminder', 'resolved', 'summary')),
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed', 'folded', 'superseded')),
    -- The notification as it was then: every attempt sends the same.
    payload         TEXT NOT NULL DEFAULT '{}',
    folded          INTEGER NOT NULL DEFAULT 0,
    -- Attempts begun. The number of the newest is the fence of whoever makes it.
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    leased_until    INTEGER,
    status          INTEGER,
    error           TEXT,
    created_at      INTEGER NOT NULL,
    ended_at        INTEGER,
    FOREIGN KEY (business_id, channel_id) REFERENCES alert_channels (business_id, id) ON DELETE CASCADE,
    FOREIGN KEY (business_id, notification_id) REFERENCES notifications (business_id, id) ON DELETE CASCADE
);

CREATE INDEX alert_deliveries_due ON alert_deliveries (next_attempt_at, id) WHERE state = 'waiting';

CREATE INDEX alert_deliveries_under_way ON alert_deliveries (channel_id, leased_until) WHERE state = 'waiting';

CREATE INDEX alert_deliveries_of_notification ON alert_deliveries (notification_id, channel_id, created_at);

CREATE INDEX alert_deliveries_of_channel ON alert_deliveries (channel_id, created_at);

CREATE UNIQUE INDEX alert_summaries ON alert_deliveries (channel_id) WHERE event = 'summary' AND state = 'waiting' AND attempts = 0;

CREATE TABLE alert_checks (
    name   TEXT PRIMARY KEY,
    ran_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE erasure_keys (
    business_id TEXT PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    -- Sealed: 32 bytes at random.
    sealed      BLOB NOT NULL,
    created_at  INTEGER NOT NULL
);

CREATE TABLE erasures (
    id          TEXT PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- JSON: how many rows went, by kind.
    removed     TEXT NOT NULL,
    created_at  INTEGER NOT NULL
);

CREATE INDEX erasures_in_order ON erasures (business_id, created_at, id);

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

CREATE TABLE chores (
    name         TEXT PRIMARY KEY,
    due_at       INTEGER NOT NULL,
    -- Who has it, and until when; the fence refuses whoever came before.
    leased_until INTEGER,
    fence        INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE "import_rows" (
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

CREATE INDEX import_rows_left ON import_rows (import_id, position) WHERE outcome = 'pending';

CREATE TABLE user_identities (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    issuer       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    email        TEXT,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    UNIQUE (issuer, subject)
);

CREATE INDEX user_identities_of_user ON user_identities (user_id);

CREATE TABLE sign_in_attempts (
    -- Digests of what the provider and the browser bring back.
    state_hash      BLOB PRIMARY KEY,
    browser_hash    BLOB NOT NULL,
    issuer          TEXT NOT NULL,
    -- Whom the identity is to be linked to: somebody who is signed in.
    user_id         TEXT REFERENCES users (id) ON DELETE CASCADE,
    -- Of the invitation that is to be taken up.
    invitation_hash BLOB,
    return_to       TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL
);

CREATE INDEX sign_in_attempts_expiring ON sign_in_attempts (expires_at);

CREATE TABLE password_resets (
    user_id    TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

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
    updated_at      INTEGER NOT NULL, plan TEXT, target TEXT NOT NULL DEFAULT 'table' CHECK (target IN ('table', 'contacts')), held_records INTEGER, held_of INTEGER, held_at INTEGER,
    UNIQUE (integration_id, name)
) STRICT;

CREATE INDEX mappings_of_business ON mappings (business_id, id);

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
, verified_through INTEGER, progress TEXT NOT NULL DEFAULT '{}', changes INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX runs_of_mapping ON runs (mapping_id, started_at) WHERE mapping_id IS NOT NULL;

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

CREATE TABLE sync_work (
    -- The mapping's id; of an integration's contacts, the integration's. So there is one of each.
    id             TEXT PRIMARY KEY,
    business_id    TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    kind           TEXT NOT NULL CHECK (kind IN ('contacts', 'mapping')),
    integration_id TEXT NOT NULL,
    mapping_id     TEXT REFERENCES mappings (id) ON DELETE CASCADE,
    -- 'every 900', 'cron 0 6 * * *', 'continuous', 'on request'. NULL: as often as the service is told.
    pace           TEXT,
    -- Within the business: the greater comes first.
    priority       INTEGER NOT NULL DEFAULT 0,
    -- The next tick. Whoever takes one moves it on with the same statement (NULL: there are none).
    due_at         INTEGER,
    -- What failed, or has no API calls left, is not tried before this.
    retry_at       INTEGER,
    -- Requests so far; up to which one the work was taken up; and up to which one it was done.
    requested      INTEGER NOT NULL DEFAULT 0,
    taken          INTEGER NOT NULL DEFAULT 0,
    served         INTEGER NOT NULL DEFAULT 0,
    -- When somebody may take it: follows from the columns around it (NULL: never by itself).
    ready_at       INTEGER,
    -- Who has it, and until when; the fence refuses whoever came before.
    owner          TEXT,
    leased_until   INTEGER,
    fence          INTEGER NOT NULL DEFAULT 0,
    -- Times in a row that it has failed.
    failures       INTEGER NOT NULL DEFAULT 0,
    started_at     INTEGER,
    ended_at       INTEGER,
    outcome        TEXT CHECK (outcome IN ('done', 'failed', 'paused_quota')),
    error          TEXT, asked_verify INTEGER NOT NULL DEFAULT 0, asked_compare INTEGER NOT NULL DEFAULT 0, asked_reload INTEGER NOT NULL DEFAULT 0, asked_allow_gone INTEGER NOT NULL DEFAULT 0, failing TEXT CHECK (failing IN ('auth', 'sync')), failing_reason TEXT, failing_since INTEGER, failed_runs INTEGER NOT NULL DEFAULT 0,
    CHECK (CASE kind WHEN 'mapping' THEN id = mapping_id ELSE mapping_id IS NULL AND id = integration_id END),
    FOREIGN KEY (business_id, integration_id) REFERENCES integrations (business_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX sync_work_ready ON sync_work (ready_at, business_id);

CREATE INDEX sync_work_of_business ON sync_work (business_id, ready_at);

CREATE INDEX sync_work_leased ON sync_work (business_id, leased_until) WHERE leased_until IS NOT NULL;

CREATE INDEX sync_work_of_integration ON sync_work (integration_id);

CREATE INDEX sync_work_of_mapping ON sync_work (mapping_id) WHERE mapping_id IS NOT NULL;

CREATE TABLE sync_turns (
    business_id TEXT PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    taken_at    INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX runs_active_of_mapping ON runs (mapping_id) WHERE state = 'running' AND mapping_id IS NOT NULL;

CREATE UNIQUE INDEX runs_active_of_object ON runs (integration_id, object) WHERE state = 'running' AND mapping_id IS NULL;

CREATE INDEX contacts_feed ON contacts (integration_id, change, source_id);

CREATE TABLE record_webhooks (
    id              TEXT PRIMARY KEY,
    business_id     TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    mapping_id      TEXT NOT NULL REFERENCES mappings (id) ON DELETE CASCADE,
    -- What lists show of it: the host.
    shown           TEXT NOT NULL,
    -- Sealed: URL and signing secrets.
    setting         BLOB NOT NULL,
    -- Columns that are sent (NULL: all of them).
    fields          TEXT,
    include_records INTEGER NOT NULL DEFAULT 0,
    enabled         INTEGER NOT NULL DEFAULT 1,
    -- Why the service has switched it off (NULL: it has not).
    disabled_reason TEXT,
    -- Everything before this place, (change, id), was taken by the receiver.
    position_change INTEGER NOT NULL,
    position_id     TEXT NOT NULL DEFAULT '',
    -- Where the message ends that is being sent: every attempt has the same end (NULL: none is).
    sending_change  INTEGER,
    sending_id      TEXT,
    -- How often somebody has set the position: part of the messages' ids.
    rewinds         INTEGER NOT NULL DEFAULT 0,
    -- Attempts at this message.
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- NULL: at once.
    next_attempt_at INTEGER,
    -- Grows with each claim and change; a worker with an older number notes nothing.
    fence           INTEGER NOT NULL DEFAULT 0,
    leased_until    INTEGER,
    last_success_at INTEGER,
    last_failure_at INTEGER,
    last_error      TEXT,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;

CREATE INDEX record_webhooks_of_business ON record_webhooks (business_id, created_at);

CREATE INDEX record_webhooks_of_mapping ON record_webhooks (mapping_id);

CREATE TABLE match_rules (
    business_id    TEXT PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    -- JSON: the rules, in their order.
    rules          TEXT NOT NULL,
    -- Whose numbers are written without a country: DE, US, …
    default_region TEXT,
    -- Whether dots and what follows a plus are nothing in addresses of providers that say so.
    provider_rules INTEGER NOT NULL DEFAULT 0,
    -- JSON: how far all rows have been looked at anew, by kind of row; NULL: to the end.
    rescan         TEXT,
    updated_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE match_keys (
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- email, phone, name_company, or external_id with the name of its field.
    kind        TEXT NOT NULL,
    -- HMAC-SHA256 under the business's own key, its first half in hexadecimal.
    digest      TEXT NOT NULL,
    contact_id  TEXT REFERENCES contacts (id) ON DELETE CASCADE,
    lead_id     TEXT REFERENCES leads (id) ON DELETE CASCADE,
    CHECK ((contact_id IS NULL) <> (lead_id IS NULL))
) STRICT;

CREATE INDEX match_keys_alike ON match_keys (business_id, digest);

CREATE INDEX match_keys_of_contact ON match_keys (contact_id) WHERE contact_id IS NOT NULL;

CREATE INDEX match_keys_of_lead ON match_keys (lead_id) WHERE lead_id IS NOT NULL;

CREATE TABLE duplicates (
    id          TEXT PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- Two contacts or two leads; the lesser id first.
    contact_a   TEXT REFERENCES contacts (id) ON DELETE CASCADE,
    contact_b   TEXT REFERENCES contacts (id) ON DELETE CASCADE,
    lead_a      TEXT REFERENCES leads (id) ON DELETE CASCADE,
    lead_b      TEXT REFERENCES leads (id) ON DELETE CASCADE,
    -- Name of the rule that found them.
    rule        TEXT NOT NULL,
    -- JSON: the keys that agree, `kind:digest` each.
    agreed      TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('open', 'dismissed', 'merged')),
    -- Of a merge: the row that stayed, the one that went into it, and which fields are the latter's.
    kept_id     TEXT,
    merged_id   TEXT,
    fields      TEXT,
    -- The kept row's `merged_fields` before the merge and after it.
    before      TEXT,
    after       TEXT,
    -- Of two leads: the merge of their contacts, which they followed.
    cause       TEXT,
    -- user:…, api_key:…, rule:…, salesforce, local or system.
    decided_by  TEXT,
    decided_at  INTEGER,
    created_at  INTEGER NOT NULL,
    UNIQUE (contact_a, contact_b),
    UNIQUE (lead_a, lead_b),
    CHECK ((contact_a IS NULL) = (contact_b IS NULL) AND (lead_a IS NULL) = (lead_b IS NULL)
        AND (contact_a IS NULL) <> (lead_a IS NULL))
) STRICT;

CREATE INDEX duplicates_in_order ON duplicates (business_id, created_at, id);

CREATE INDEX duplicates_of_contact ON duplicates (contact_b) WHERE contact_b IS NOT NULL;

CREATE INDEX duplicates_of_lead ON duplicates (lead_b) WHERE lead_b IS NOT NULL;

CREATE INDEX contacts_unmatched ON contacts (business_id, id) WHERE NOT matched;

CREATE INDEX contacts_merged ON contacts (merged_into) WHERE merged_into IS NOT NULL;

CREATE INDEX leads_unmatched ON leads (business_id, id) WHERE NOT matched;

CREATE INDEX leads_merged ON leads (merged_into) WHERE merged_into IS NOT NULL;

CREATE INDEX contacts_gone ON contacts (business_id) WHERE deleted OR merged_into IS NOT NULL;

INSERT INTO schema_support VALUES (11);
