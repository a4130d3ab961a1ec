-- Signing in with an OpenID provider, and passwords that are set anew.

-- Who somebody is at a provider. The provider's e-mail is what it told last, for people to read: nothing is found by it.
CREATE TABLE user_identities (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    issuer       text NOT NULL,
    subject      text NOT NULL,
    email        text,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    UNIQUE (issuer, subject)
);
CREATE INDEX user_identities_of_user ON user_identities (user_id);

-- Sign-ins under way. Nothing of them is secret here: verifier and nonce follow from what the browser keeps.
CREATE TABLE sign_in_attempts (
    -- Digests of what the provider and the browser bring back.
    state_hash      bytea PRIMARY KEY,
    browser_hash    bytea NOT NULL,
    issuer          text NOT NULL,
    -- Whom the identity is to be linked to: somebody who is signed in.
    user_id         uuid REFERENCES users (id) ON DELETE CASCADE,
    -- Of the invitation that is to be taken up.
    invitation_hash bytea,
    return_to       text NOT NULL,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL
);
CREATE INDEX sign_in_attempts_expiring ON sign_in_attempts (expires_at);

-- One for each user: a second link ends the first.
CREATE TABLE password_resets (
    user_id    uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Nothing of a business is in these.
GRANT SELECT, INSERT, UPDATE, DELETE ON user_identities, sign_in_attempts, password_resets TO tieline_app, tieline_system;
