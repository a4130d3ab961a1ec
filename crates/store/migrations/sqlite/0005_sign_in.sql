-- Signing in with an OpenID provider, and passwords that are set anew.

-- Who somebody is at a provider. The provider's e-mail is what it told last, for people to read: nothing is found by it.
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

-- Sign-ins under way. Nothing of them is secret here: verifier and nonce follow from what the browser keeps.
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

-- One for each user: a second link ends the first.
CREATE TABLE password_resets (
    user_id    TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);
