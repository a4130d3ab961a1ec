// Logs in with jsforce 3 in the ways that it knows: user name and password, client credentials, a code from the login
// page, a refresh token; then it ends what it got.
//
// The login page is walked through by plain requests. Prints one line of JSON if everything was as on Salesforce.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const jsforce = modules('jsforce');
const oauth2 = {
  loginUrl: fromEnvironment('SF_LOGIN_URL'),
  clientId: fromEnvironment('SF_CLIENT_ID'),
  clientSecret: fromEnvironment('SF_CLIENT_SECRET'),
  redirectUri: 'http://localhost:1717/OauthRedirect',
};
const username = fromEnvironment('ORG_USERNAME');
const password = fromEnvironment('ORG_PASSWORD');
const logins = [];

const byPassword = new jsforce.Connection({ oauth2 });
const user = await byPassword.login(username, password);
assert.match(user.id, /^005/);
await works('password', byPassword);
await assert.rejects(new jsforce.Connection({ oauth2 }).login(username, 'wrong'), /authentication failure/);

const byItself = new jsforce.Connection({ oauth2 });
await byItself.authorize({ grant_type: 'client_credentials' });
await works('client_credentials', byItself);

// jsforce makes a verifier that is longer than Salesforce allows, so it goes without PKCE here, as a confidential client.
const byCode = new jsforce.Connection({ oauth2 });
const url = byCode.oauth2.getAuthorizationUrl({ scope: 'api refresh_token id', state: 'kept' });
const callback = await signIn(url);
assert.equal(callback.searchParams.get('state'), 'kept');
await byCode.authorize(callback.searchParams.get('code'));
assert.match(byCode.refreshToken, /^5Aep861/);
await works('authorization_code', byCode);
await assert.rejects(
  new jsforce.Connection({ oauth2 }).authorize(callback.searchParams.get('code')),
  /invalid authorization code/,
);

const byRefresh = await byCode.oauth2.refreshToken(byCode.refreshToken);
assert.equal(byRefresh.refresh_token, undefined, 'this app does not rotate');
const again = new jsforce.Connection({ instanceUrl: byRefresh.instance_url, accessToken: byRefresh.access_token, version: '67.0' });
await works('refresh_token', again);

// Ending the refresh token ends the access tokens that came from it.
await byCode.oauth2.revokeToken(byCode.refreshToken);
await assert.rejects(again.limits(), /INVALID_SESSION_ID|Session expired/);
await assert.rejects(byCode.oauth2.revokeToken('unknown'), /invalid token|invalid_token/);
console.log(JSON.stringify({ ok: true, logins }));

async function works(name, conn) {
  const found = await conn.query('SELECT Id FROM Contact LIMIT 1');
  assert.equal(found.totalSize, 1, name);
  logins.push(name);
}

/** What a person does at the login page of an app that is approved already. */
async function signIn(url) {
  const page = await (await fetch(url)).text();
  const form = /name="form" value="([^"]+)"/.exec(page)[1];
  const sent = await post(new URL('/login', url), { form, username, password });
  const cookie = sent.headers.get('set-cookie').split(';')[0];
  const back = await fetch(new URL(sent.headers.get('location'), url), { headers: { cookie }, redirect: 'manual' });
  return new URL(back.headers.get('location'));
}

function post(url, fields) {
  return fetch(url, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' });
}

function fromEnvironment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}
