-- Duplicates among the contacts and among the leads of a business.

-- How rows are matched; a business without a row has the defaults.
CREATE TABLE match_rules (
    business_id    uuid PRIMARY KEY REFERENCES businesses (id) ON DELETE CASCADE,
    -- the rules, in their order.
    rules          jsonb NOT NULL,
    -- Whose numbers are written without a country: DE, US, …
    default_region text,
    -- Whether dots and what follows a plus are nothing in addresses of providers that say so.
    provider_rules boolean NOT NULL DEFAULT false,
    -- how far all rows have been looked at anew, by kind of row; NULL: to the end.
    rescan         jsonb,
    updated_at     timestamptz NOT NULL
);

-- What rows are found by.
CREATE TABLE match_keys (
    business_id uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- email, phone, name_company, or external_id with the name of its field.
    kind        text NOT NULL,
    -- HMAC-SHA256 under the business's own key, its first half in hexadecimal.
    digest      text COLLATE "C" NOT NULL,
    contact_id  uuid REFERENCES contacts (id) ON DELETE CASCADE,
    lead_id     uuid REFERENCES leads (id) ON DELETE CASCADE,
    CHECK ((contact_id IS NULL) <> (lead_id IS NULL))
);
CREATE INDEX match_keys_alike ON match_keys (business_id, digest);
CREATE INDEX match_keys_of_contact ON match_keys (contact_id) WHERE contact_id IS NOT NULL;
CREATE INDEX match_keys_of_lead ON match_keys (lead_id) WHERE lead_id IS NOT NULL;

-- Two rows that may be one person, and what was decided about them.
CREATE TABLE duplicates (
    id          uuid PRIMARY KEY,
    business_id uuid NOT NULL REFERENCES businesses (id) ON DELETE CASCADE,
    -- Two contacts or two leads; the lesser id first.
    contact_a   uuid REFERENCES contacts (id) ON DELETE CASCADE,
    contact_b   uuid REFERENCES contacts (id) ON DELETE CASCADE,
    lead_a      uuid REFERENCES leads (id) ON DELETE CASCADE,
    lead_b      uuid REFERENCES leads (id) ON DELETE CASCADE,
    -- Name of the rule that found them.
    rule        text NOT NULL,
    -- the keys that agree, `kind:digest` each.
    agreed      jsonb NOT NULL,
    state       text NOT NULL CHECK (state IN ('open', 'dismissed', 'merged')),
    -- Of a merge: the row that stayed, the one that went into it, and which fields are the latter's.
    kept_id     uuid,
    merged_id   uuid,
    fields      jsonb,
    -- The kept row's `merged_fields` before the merge and after it.
    before      jsonb,
    after       jsonb,
    -- Of two leads: the merge of their contacts, which they followed.
    cause       uuid,
    -- user:…, api_key:…, rule:…, salesforce, local or system.
    decided_by  text,
    decided_at  timestamptz,
    created_at  timestamptz NOT NULL,
    UNIQUE (contact_a, contact_b),
    UNIQUE (lead_a, lead_b),
    CHECK ((contact_a IS NULL) = (contact_b IS NULL) AND (lead_a IS NULL) = (lead_b IS NULL)
        AND (contact_a IS NULL) <> (lead_a IS NULL))
);
CREATE INDEX duplicates_in_order ON duplicates (business_id, created_at, id);
CREATE INDEX duplicates_of_contact ON duplicates (contact_b) WHERE contact_b IS NOT NULL;
CREATE INDEX duplicates_of_lead ON duplicates (lead_b) WHERE lead_b IS NOT NULL;

-- Whether the row's keys are those of its fields; the row that it is a part of; and which fields are shown of which other.
ALTER TABLE contacts ADD COLUMN matched boolean NOT NULL DEFAULT false;
ALTER TABLE contacts ADD COLUMN merged_into uuid REFERENCES contacts (id) ON DELETE SET NULL;
ALTER TABLE contacts ADD COLUMN merged_fields jsonb;
CREATE INDEX contacts_unmatched ON contacts (business_id, id) WHERE NOT matched;
CREATE INDEX contacts_merged ON contacts (merged_into) WHERE merged_into IS NOT NULL;
ALTER TABLE leads ADD COLUMN matched boolean NOT NULL DEFAULT false;
ALTER TABLE leads ADD COLUMN merged_into uuid REFERENCES leads (id) ON DELETE SET NULL;
ALTER TABLE leads ADD COLUMN merged_fields jsonb;
CREATE INDEX leads_unmatched ON leads (business_id, id) WHERE NOT matched;
CREATE INDEX leads_merged ON leads (merged_into) WHERE merged_into IS NOT NULL;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['match_rules', 'match_keys', 'duplicates'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY business ON %I TO tieline_app
            USING (business_id = tieline_business()) WITH CHECK (business_id = tieline_business())', name);
        EXECUTE format('CREATE POLICY everybody ON %I TO tieline_system USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tieline_app, tieline_system', name);
    END LOOP;
END $$;
