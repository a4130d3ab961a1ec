-- How many contacts there are is how many rows, which an index tells, less those that do not count, which are few.
CREATE INDEX contacts_gone ON contacts (business_id) WHERE deleted OR merged_into IS NOT NULL;
