// Loads and exports contacts with both Bulk APIs of jsforce 3, the way a program that somebody wrote for Salesforce
// does.
//
// Prints one line of JSON if everything was as on Salesforce; otherwise it fails with exit code 1.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const jsforce = modules('jsforce');

const expectedContacts = Number(fromEnvironment('EXPECT_CONTACTS'));
assert.ok(Number.isSafeInteger(expectedContacts), 'EXPECT_CONTACTS is not a whole number');

const conn = new jsforce.Connection({
  instanceUrl: fromEnvironment('SF_INSTANCE_URL'),
  accessToken: fromEnvironment('SF_ACCESS_TOKEN'),
  version: '67.0',
});
conn.bulk2.pollInterval = 50;
conn.bulk2.pollTimeout = 60_000;
conn.bulk.pollInterval = 50;
conn.bulk.pollTimeout = 60_000;

// Bulk API 2.0: a query whose rows are all on one page, since jsforce 3.10 breaks at the second.
const exported = await records(await conn.bulk2.query('SELECT Id, LastName, Account.Name, SystemModstamp FROM Contact'));
assert.equal(exported.length, expectedContacts, 'exported contacts');
assert.equal(new Set(exported.map((record) => record.Id)).size, expectedContacts, 'distinct ids');
for (const record of exported) {
  assert.deepEqual(Object.keys(record), ['Id', 'LastName', 'Account.Name', 'SystemModstamp']);
  assert.match(record.Id, /^003[0-9A-Za-z]{15}$/);
  assert.match(record.SystemModstamp, /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/);
}

const names = ['plain', ' spaces ', 'a "quote", a comma', 'two\nlines', '👩‍🚀 Zoë', 'שלום'];
const inserted = await load('insert', [
  ...names.map((LastName, n) => ({ LastName, Email: `b${n}@example.com`, Title: null, DoNotCall: true })),
  { LastName: '', Email: 'nobody@example.com', Title: null, DoNotCall: false },
]);
assert.equal(inserted.successfulResults.length, names.length, 'inserted');
assert.equal(inserted.failedResults.length, 1, 'refused');
assert.equal(
  inserted.failedResults[0].sf__Error,
  'REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --',
);
assert.equal(inserted.unprocessedRecords.length, 0, 'unprocessed');
const ids = inserted.successfulResults.map((result) => result.sf__Id);
assert.deepEqual(inserted.successfulResults.map((result) => result.sf__Created), names.map(() => 'true'));
assert.deepEqual(inserted.successfulResults.map((result) => result.LastName), names, 'names in the results');
assert.deepEqual((await read(ids)).map((record) => record.LastName), names, 'names in the org');

const updated = await load('update', [
  { Id: ids[0], LastName: 'changed' },
  { Id: '003000000000000AAA', LastName: 'nobody' },
]);
assert.deepEqual(updated.successfulResults.map((result) => [result.sf__Id, result.sf__Created]), [[ids[0], 'false']]);
assert.match(updated.failedResults[0].sf__Error, /^INVALID_CROSS_REFERENCE_KEY:/);
const upserted = await load('upsert', [
  { Email: 'b1@example.com', LastName: 'upserted' },
  { Email: 'new@example.com', LastName: 'new' },
], { externalIdFieldName: 'Email' });
assert.deepEqual(upserted.successfulResults.map((result) => result.sf__Created), ['false', 'true']);
ids.push(upserted.successfulResults[1].sf__Id);
assert.deepEqual(
  (await read(ids)).map((record) => record.LastName),
  ['changed', 'upserted', ...names.slice(2), 'new'],
  'names after update and upsert',
);
const deleted = await load('delete', ids.map((Id) => ({ Id })));
assert.equal(deleted.successfulResults.length, ids.length, 'deleted');
assert.equal((await read(ids)).length, 0, 'a deleted contact is still there');

// A job that cannot be: jsforce throws what the job says.
await assert.rejects(load('insert', [{ Nmae: 'x' }]), /InvalidBatch : Field name not found : Nmae/);
await assert.rejects(conn.bulk2.query('SELECT MailingAddress FROM Contact'), { errorCode: 'API_ERROR' });

// The first Bulk API.
const loaded = await conn.bulk.load('Contact', 'insert', [
  ...names.map((LastName) => ({ LastName, Phone: 'v1' })),
  { LastName: '', Phone: 'v1' },
]);
assert.deepEqual(loaded.map((result) => result.success), [...names.map(() => true), false]);
assert.deepEqual(loaded.at(-1).errors, ['REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --']);
const found = await records(await conn.bulk.query("SELECT Id, LastName FROM Contact WHERE Phone = 'v1' ORDER BY Id"));
assert.deepEqual(found.map((record) => record.LastName), names, 'names by the first Bulk API');
const gone = await conn.bulk.load('Contact', 'delete', found.map(({ Id }) => ({ Id })));
assert.ok(gone.every((result) => result.success && !result.created), 'deleted by the first Bulk API');

const stranger = new jsforce.Connection({
  instanceUrl: fromEnvironment('SF_INSTANCE_URL'),
  accessToken: '00D000000000000!expired',
  version: '67.0',
});
await assert.rejects(async () => stranger.bulk.load('Contact', 'insert', [{ LastName: 'x' }]), { errorCode: 'InvalidSessionId' });
await assert.rejects(stranger.bulk2.query('SELECT Id FROM Contact'), { errorCode: 'INVALID_SESSION_ID' });

console.log(JSON.stringify({ contacts: exported.length, ok: true }));

/** A whole job of Bulk API 2.0. */
function load(operation, input, options = {}) {
  return conn.bulk2.loadAndWaitForResults({ object: 'Contact', operation, input, pollInterval: 50, ...options });
}

/** All records of a stream. */
async function records(stream) {
  return stream.toArray();
}

/** Contacts in the order of their ids. */
async function read(wanted) {
  const list = wanted.map((id) => `'${id}'`).join(',');
  return (await conn.query(`SELECT Id, LastName FROM Contact WHERE Id IN (${list}) ORDER BY Id`)).records;
}

/** The value of an environment variable that has to be there. */
function fromEnvironment(variable) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set`);
  return value;
}
