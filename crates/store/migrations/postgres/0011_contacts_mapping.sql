-- The contacts of an integration are a mapping like others: built in, and written into the table `contacts`.

-- A program before would read the contacts by a checkpoint that is gone, and would not know a mapping without a table of its own.
UPDATE schema_support SET oldest_program = 11;

-- Where a mapping's rows go: into the table `table_name`, which is its own; or into `contacts`, with a `table_name` that no table has.
ALTER TABLE mappings ADD COLUMN target text NOT NULL DEFAULT 'table' CHECK (target IN ('table', 'contacts'));
-- How the record went, as in the tables of mappings (NULL: it is there).
ALTER TABLE contacts ADD COLUMN deletion text CHECK (deletion IN ('deleted', 'merged', 'erased', 'hidden'));

-- Rows are nobody's but the system's from here on.
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO tieline_app, tieline_system', current_schema()); END $$;
SET LOCAL ROLE tieline_system;

UPDATE contacts SET deletion = CASE WHEN source_metadata ->> 'MasterRecordId' IS NULL THEN 'deleted' ELSE 'merged' END
    WHERE deleted;

-- Its name is the program's now.
UPDATE mappings SET name = name || '_mapping' WHERE name IN ('contact', 'contacts');

-- It has the integration's id. What the rows have so far are these columns; others are filled.
INSERT INTO mappings (id, business_id, integration_id, name, object, table_name, target, definition, columns, state, created_at, updated_at)
SELECT i.id, i.business_id, i.id, 'contacts', 'Contact', 'contacts ' || i.id::text, 'contacts', '{"name":"contacts","object":"Contact"}'::jsonb,
    CASE WHEN c.through IS NULL AND c.scan_stamp IS NULL THEN '[]' ELSE '[{"name":"first_name","kind":"text"},{"name":"last_name","kind":"text"},{"name":"name","kind":"text"},{"name":"email","kind":"text"},{"name":"phone","kind":"text"},{"name":"title","kind":"text"},{"name":"company","kind":"text"},{"name":"AccountId","kind":"text"},{"name":"Birthdate","kind":"date"},{"name":"CreatedDate","kind":"date_time"},{"name":"Department","kind":"text"},{"name":"Description","kind":"text"},{"name":"LastModifiedDate","kind":"date_time"},{"name":"LeadSource","kind":"text"},{"name":"MailingCity","kind":"text"},{"name":"MailingCountry","kind":"text"},{"name":"MailingPostalCode","kind":"text"},{"name":"MailingState","kind":"text"},{"name":"MailingStreet","kind":"text"},{"name":"MasterRecordId","kind":"text"},{"name":"MobilePhone","kind":"text"},{"name":"OwnerId","kind":"text"}]' END::jsonb,
    CASE WHEN c.through IS NULL THEN 'initial' ELSE 'synced' END, i.created_at, i.updated_at
FROM integrations AS i LEFT JOIN checkpoints AS c ON c.integration_id = i.id AND c.object = 'Contact';

-- Numbers go on growing, of changes and of fences.
INSERT INTO mapping_checkpoints (mapping_id, business_id, through, scan_stamp, scan_id, scan_until, fence, changes)
SELECT i.id, i.business_id, c.through, c.scan_stamp, c.scan_id, c.scan_until, coalesce(c.fence, 0), coalesce(c.changes, 0)
FROM integrations AS i LEFT JOIN checkpoints AS c ON c.integration_id = i.id AND c.object = 'Contact';

UPDATE runs SET mapping_id = integration_id WHERE mapping_id IS NULL AND object = 'Contact';

RESET ROLE;
DROP TABLE checkpoints;
