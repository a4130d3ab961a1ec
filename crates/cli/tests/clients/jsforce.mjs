// Works on an org with jsforce 3, the way a program that somebody wrote for Salesforce does: it begins with an access
// token that has run out, reads every Contact, and writes one of its own.
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
  oauth2: {
    loginUrl: fromEnvironment('SF_LOGIN_URL'),
    clientId: fromEnvironment('SF_CLIENT_ID'),
    clientSecret: fromEnvironment('SF_CLIENT_SECRET'),
  },
  instanceUrl: fromEnvironment('SF_INSTANCE_URL'),
  refreshToken: fromEnvironment('SF_REFRESH_TOKEN'),
  accessToken: '00D000000000000!expired',
  version: '67.0',
});

let refreshes = 0;
conn.on('refresh', (accessToken) => {
  assert.ok(accessToken, 'a refresh gave no access token');
  refreshes += 1;
});

// Reading: the first request is refused, jsforce refreshes by itself and asks again.
const all = await conn
  .query('SELECT Id, LastName, SystemModstamp FROM Contact ORDER BY Id')
  .run({ autoFetch: true, maxFetch: 1_000_000 });
assert.equal(refreshes, 1, 'the expired token was not refreshed exactly once');
assert.equal(all.done, true, 'the query did not run to its end');
assert.equal(all.totalSize, expectedContacts, 'totalSize is not the number of contacts');
assert.equal(new Set(all.records.map((record) => record.Id)).size, expectedContacts, 'distinct ids');
assert.equal(all.records.length, expectedContacts, 'a contact came twice');
for (const record of all.records) {
  assert.match(record.Id, /^003[0-9A-Za-z]{15}$/);
  assert.ok(record.LastName, `${record.Id} has no LastName`);
  assert.match(record.SystemModstamp, /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}\+0000$/);
}

// Describing.
const describe = await conn.describe('Contact');
assert.equal(describe.name, 'Contact');
const lastName = describe.fields.find((field) => field.name === 'LastName');
assert.equal(lastName?.createable, true, 'LastName is not createable');
const global = await conn.describeGlobal();
assert.ok(global.sobjects.some((object) => object.name === 'Contact'), 'describeGlobal has no Contact');

// Who and how much.
const identity = await conn.identity();
assert.match(identity.user_id, /^005[0-9A-Za-z]{15}$/);
assert.match(identity.organization_id, /^00D[0-9A-Za-z]{15}$/);
const limits = await conn.limits();
assert.ok(limits.DailyApiRequests.Max > 0, 'limits has no DailyApiRequests');

// Writing: a name with an emoji that is joined from two and an accent, and one that is written from right to left.
const contact = conn.sobject('Contact');
const name = { FirstName: '👩‍🚀 Zoë', LastName: 'שלום' };
const created = await contact.create(name);
assert.equal(created.success, true);
assert.deepEqual(created.errors, []);
assert.match(created.id, /^003[0-9A-Za-z]{15}$/);

const fresh = await contact.retrieve(created.id);
assert.equal(fresh.Id, created.id);
assert.equal(fresh.FirstName, name.FirstName);
assert.equal(fresh.LastName, name.LastName);
assert.equal(fresh.IsDeleted, false);

const updated = await contact.update({ Id: created.id, LastName: `${name.LastName} 2` });
assert.equal(updated.success, true);
const changed = await contact.retrieve(created.id);
assert.equal(changed.FirstName, name.FirstName, 'the update touched another field');
assert.equal(changed.LastName, `${name.LastName} 2`);
assert.ok(changed.SystemModstamp >= fresh.SystemModstamp, 'SystemModstamp went back');

const destroyed = await contact.destroy(created.id);
assert.equal(destroyed.success, true);
await assert.rejects(contact.retrieve(created.id), { errorCode: 'NOT_FOUND' });

const soql = `SELECT Id, IsDeleted FROM Contact WHERE Id = '${created.id}'`;
const live = await conn.query(soql).run({ autoFetch: true });
assert.equal(live.totalSize, 0, 'a deleted contact is still in a query');
const scanned = await conn.query(soql).run({ autoFetch: true, scanAll: true });
assert.equal(scanned.totalSize, 1, 'a deleted contact is not in a scan of all');
assert.equal(scanned.records[0].IsDeleted, true);

console.log(JSON.stringify({ contacts: all.records.length, refreshes, created: created.id, ok: true }));

/** The value of an environment variable that has to be there. */
function fromEnvironment(variable) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set`);
  return value;
}
