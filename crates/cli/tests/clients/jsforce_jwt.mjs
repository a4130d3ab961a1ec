// Logs in with jsforce by JWT bearer, as the files of `tieline setup jwt` say, and calls the API.
//
// JWT_CONFIG names jwt-config.json. The assertion is made by Node's own crypto: nothing of tieline's is between.
import assert from 'node:assert/strict';
import { createSign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const jsforce = modules('jsforce');
const config = JSON.parse(readFileSync(fromEnvironment('JWT_CONFIG'), 'utf8'));

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const claims = {
  iss: config.clientId,
  sub: config.username,
  aud: config.audience,
  exp: Math.floor(Date.now() / 1000) + 120,
};
const message = `${part({ alg: 'RS256' })}.${part(claims)}`;
const signature = createSign('RSA-SHA256').update(message).sign(readFileSync(config.privateKeyFile), 'base64url');

const conn = new jsforce.Connection({ oauth2: { loginUrl: config.loginUrl, clientId: config.clientId } });
await conn.authorize({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: `${message}.${signature}` });
const identity = await conn.identity();
assert.equal(identity.username, config.username);
const found = await conn.query('SELECT Id FROM Contact');
console.log(JSON.stringify({ ok: true, username: identity.username, contacts: found.totalSize }));

function fromEnvironment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}
