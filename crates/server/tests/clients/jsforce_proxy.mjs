// Works on an org through tieline's proxy with jsforce 3: the proxy is the instance, an API key the access token.
// Prints `ok` if everything was as on Salesforce; otherwise it fails.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(process.env.TIELINE_TEST_NODE_MODULES, 'tieline.cjs'));
const jsforce = modules('jsforce');
const expected = Number(process.env.EXPECT_CONTACTS);

const conn = new jsforce.Connection({
  instanceUrl: process.env.PROXY_URL,
  accessToken: process.env.PROXY_KEY,
  version: '67.0',
});

const all = await conn
  .query('SELECT Id, LastName FROM Contact ORDER BY Id')
  .run({ autoFetch: true, maxFetch: 10_000, headers: { 'Sforce-Query-Options': 'batchSize=200' } });
assert.equal(all.records.length, expected);
assert.equal((await conn.describe('Contact')).name, 'Contact');
assert.ok((await conn.limits()).DailyApiRequests.Max > 0);

const made = await conn.sobject('Contact').create({ LastName: 'Proxy' });
assert.equal(made.success, true);
assert.equal((await conn.sobject('Contact').update({ Id: made.id, FirstName: 'Ada' })).success, true);
assert.equal((await conn.sobject('Contact').retrieve(made.id)).FirstName, 'Ada');
assert.equal((await conn.sobject('Contact').destroy(made.id)).success, true);
await assert.rejects(conn.sobject('Contact').retrieve(made.id), (error) => error.errorCode === 'NOT_FOUND');
await assert.rejects(conn.query('SELECT'), (error) => error.errorCode === 'MALFORMED_QUERY');

// The older Bulk API. `bulk2` makes its URLs of the host alone and leaves out what stands in instanceUrl after it.
conn.bulk.pollInterval = 100;
conn.bulk.pollTimeout = 30_000;
const loaded = await conn.bulk.load('Contact', 'insert', [{ LastName: 'Bulk1' }, { LastName: 'Bulk2' }]);
assert.equal(loaded.filter((row) => row.success).length, 2, JSON.stringify(loaded));
console.log('ok');
