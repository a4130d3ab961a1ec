-- The one token of each org, sealed, with the lease on the right to renew it. Times are the database's.
CREATE TABLE tieline_tokens (
    key text PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    owner text,
    lease_until timestamptz,
    sealed bytea
);
