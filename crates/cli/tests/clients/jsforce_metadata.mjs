// Uses jsforce's Metadata API on an org: describe, create, read, list, deploy by SOAP and by REST, retrieve.
//
// Prints one line of JSON if everything was as on Salesforce.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const jsforce = modules('jsforce');
const conn = new jsforce.Connection({
  instanceUrl: fromEnvironment('SF_INSTANCE_URL'),
  accessToken: fromEnvironment('SF_ACCESS_TOKEN'),
  version: '67.0',
});
conn.metadata.pollInterval = 50;

const described = await conn.metadata.describe('67.0');
const eca = described.metadataObjects.find((type) => type.xmlName === 'ExternalClientApplication');
assert.deepEqual([eca.directoryName, eca.suffix], ['externalClientApps', 'eca']);

const created = await conn.metadata.create('PermissionSet', { fullName: 'Made_By_Jsforce', label: 'Made & kept' });
assert.equal(created.success, true, JSON.stringify(created));
const read = await conn.metadata.read('PermissionSet', 'Made_By_Jsforce');
assert.equal(read.label, 'Made & kept');
const listed = await conn.metadata.list([{ type: 'PermissionSet' }], '67.0');
assert.equal([listed].flat().find((one) => one.fullName === 'Made_By_Jsforce').type, 'PermissionSet');
const rows = await conn.query("SELECT Id, Label FROM PermissionSet WHERE Name = 'Made_By_Jsforce'");
assert.equal(rows.records[0].Label, 'Made & kept');

const zip = Buffer.from(fromEnvironment('PACKAGE_ZIP'), 'base64');
const outcomes = {};
for (const [name, deploy] of [
  ['soap', () => conn.metadata.deploy(zip, { checkOnly: true, singlePackage: true })],
  ['rest', () => conn.metadata.deployRest(zip, { checkOnly: true, singlePackage: true })],
]) {
  const done = await deploy().complete(true);
  assert.equal(done.status, 'Succeeded', JSON.stringify(done));
  outcomes[name] = [done.details.componentSuccesses].flat().length;
}

const retrieved = await conn.metadata
  .retrieve({ unpackaged: { types: [{ members: ['*'], name: 'PermissionSet' }], version: '67.0' }, apiVersion: '67.0', singlePackage: true })
  .complete();
assert.equal(retrieved.success, true);
assert.ok(Buffer.from(retrieved.zipFile, 'base64').includes('permissionsets/Made_By_Jsforce.permissionset'));

const gone = await conn.metadata.delete('PermissionSet', 'Made_By_Jsforce');
assert.equal(gone.success, true);
const expired = new jsforce.Connection({ instanceUrl: conn.instanceUrl, accessToken: '00Dx!dead', version: '67.0' });
await assert.rejects(expired.metadata.describe('67.0'), /INVALID_SESSION_ID/);
console.log(JSON.stringify({ ok: true, outcomes }));

function fromEnvironment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}
