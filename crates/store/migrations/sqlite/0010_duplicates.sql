-- Duplicates among the contacts and among the leads of a business.

-- How rows are matched; a business without a row has the defaults.
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

-- What rows are found by.
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

-- Two rows that may be one person, and what was decided about them.
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

-- Whether the row's keys are those of its fields; the row that it is a part of; and which fields are shown of which other.
ALTER TABLE contacts ADD COLUMN matched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contacts ADD COLUMN merged_into TEXT REFERENCES contacts (id) ON DELETE SET NULL;
ALTER TABLE contacts ADD COLUMN merged_fields TEXT;
CREATE INDEX contacts_unmatched ON contacts (business_id, id) WHERE NOT matched;
CREATE INDEX contacts_merged ON contacts (merged_into) WHERE merged_into IS NOT NULL;
ALTER TABLE leads ADD COLUMN matched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE leads ADD COLUMN merged_into TEXT REFERENCES leads (id) ON DELETE SET NULL;
ALTER TABLE leads ADD COLUMN merged_fields TEXT;
CREATE INDEX leads_unmatched ON leads (business_id, id) WHERE NOT matched;
CREATE INDEX leads_merged ON leads (merged_into) WHERE merged_into IS NOT NULL;
