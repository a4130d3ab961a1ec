// The package with the real jsforce against a local org; `cargo xtask test` runs it on Node 22 and Node 20, alone and
// beside a broker.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { test } from 'node:test';

import { JWTConnectionManager, SalesforceConnectionManager, TielineError, useDispatcher } from 'tieline';

const env = (name) => process.env[name] ?? assert.fail(`${name} is not set`);
const control = async (method, path, body) => {
  const answer = await fetch(`${env('CONTROL_URL')}/${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json().catch(() => undefined);
};
const ledger = () => control('GET', 'ledger');
const requests = async () => Object.values((await ledger()).token_requests).reduce((sum, count) => sum + count, 0);
const contacts = async (conn) => (await conn.query('SELECT Id FROM Contact')).totalSize;

const app = { clientId: env('SF_CLIENT_ID'), loginUrl: env('SF_LOGIN_URL'), version: '67.0' };
const jwt = { ...app, username: env('SF_USERNAME'), privateKey: env('SF_PRIVATE_KEY'), reuse: 'until_refused' };
const refresh = { ...app, clientSecret: env('SF_CLIENT_SECRET'), reuse: 'until_refused' };

test('however many ask, there is one login and one connection', async () => {
  const manager = JWTConnectionManager.getInstance();
  const before = await requests();
  const all = await Promise.all(Array.from({ length: 50 }, () => manager.getConnection(jwt)));
  assert.ok(all.every((conn) => conn === all[0]));
  assert.equal(await contacts(all[0]), 3);
  assert.equal(await requests(), before + 1);
  const { size, requests: made } = manager.getCacheStats();
  assert.deepEqual([size, made], [1, 1]);
});

test('a refused token is replaced once for all calls, and both events are told', async () => {
  const manager = JWTConnectionManager.getInstance();
  const conn = await manager.getConnection(jwt);
  const told = [];
  conn.on('refresh', (token) => told.push(token));
  manager.on('refresh', ({ connection }) => told.push(connection));
  const old = conn.accessToken;
  await control('POST', 'tokens/revoke', { all: true });
  const before = await requests();
  const found = await Promise.all(Array.from({ length: 20 }, () => contacts(conn)));
  assert.ok(found.every((count) => count === 3));
  assert.equal(await requests(), before + 1);
  assert.notEqual(conn.accessToken, old);
  assert.deepEqual(new Set(told), new Set([conn, conn.accessToken]));
  assert.ok(manager.getCacheStats().refusals >= 1);
  manager.removeAllListeners();
});

test('a token whose time is over is replaced when the connection is asked for', async () => {
  const manager = JWTConnectionManager.getInstance();
  const conn = await manager.getConnection({ ...jwt, reuse: 0.05 });
  const old = conn.accessToken;
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(manager.clearExpiredTokens(), 1);
  assert.equal(await manager.getConnection({ ...jwt, reuse: 0.05 }), conn, 'the same object');
  assert.notEqual(conn.accessToken, old, 'with another token');
});

test('refresh tokens that rotate are told, followed, and never used twice', async () => {
  await control('PUT', 'app', { rotation: true });
  const manager = SalesforceConnectionManager.getInstance();
  const rotated = [];
  manager.on('rotated', ({ refreshToken }) => rotated.push(refreshToken));
  const brief = { ...refresh, reuse: 0.05 };
  const first = await manager.getConnection(brief, env('SF_REFRESH_TOKEN'));
  assert.equal(await contacts(first), 3);
  for (let round = 1; round <= 3; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 80));
    // Somebody who kept the newest one, and somebody who did not, get the same connection.
    const [newest, oldest] = await Promise.all([
      manager.getConnection(brief, rotated.at(-1)),
      manager.getConnection(brief, env('SF_REFRESH_TOKEN')),
    ]);
    assert.equal(newest, first);
    assert.equal(oldest, first);
    assert.deepEqual(await Promise.all([contacts(newest), contacts(oldest)]), [3, 3]);
    assert.equal(rotated.length, round + 1);
  }
  assert.equal((await ledger()).spent_refresh_tokens_replayed, 0);
  assert.equal(manager.getCacheStats().size, 1);
  await control('PUT', 'app', { rotation: false });
});

test('an answer that was lost is asked about, and a spent refresh token is never sent again', async () => {
  const manager = SalesforceConnectionManager.getInstance();
  const lose = () => control('POST', 'faults', { path: '/services/oauth2/token', cut: 0, times: 1 });
  // The app does not rotate: the org says that the token lives, and it is sent again.
  const conn = await manager.getConnection({ ...refresh, version: '66.0' }, env('SF_REFRESH_TOKEN'));
  await control('POST', 'tokens/revoke', { all: true });
  await lose();
  await assert.rejects(contacts(conn), /cannot be reached/);
  assert.equal(await contacts(conn), 3);
  // It rotates, and the new token was in the answer that was lost.
  await control('PUT', 'app', { rotation: true });
  await control('POST', 'tokens/revoke', { all: true });
  await lose();
  await assert.rejects(contacts(conn), /cannot be reached/);
  for (let attempt = 0; attempt < 3; attempt += 1) await assert.rejects(contacts(conn), /may be spent/);
  assert.ok(manager.clearAllConnections() > 0);
  await assert.rejects(manager.getConnection(refresh, env('SF_REFRESH_TOKEN')), { code: 'reauth_required' });
  assert.equal((await ledger()).spent_refresh_tokens_replayed, 0);
  await control('PUT', 'app', { rotation: false });
});

test('a call that is refused with every token does not log in for ever', async () => {
  const conn = await JWTConnectionManager.getInstance().getConnection({ ...jwt, reuse: 3_600 });
  const body = [{ message: 'Session expired or invalid', errorCode: 'INVALID_SESSION_ID' }];
  await control('POST', 'faults', { path: '/services/data/v67.0/limits', status: 401, body, times: 1_000 });
  const before = await requests();
  await assert.rejects(conn.request('/services/data/v67.0/limits'), /refuses even the token/);
  assert.ok((await requests()) - before <= 2, `${(await requests()) - before} logins`);
  await control('DELETE', 'faults');
  assert.equal(await contacts(conn), 3);
});

test('a listener that throws leaves nobody waiting', async () => {
  const conn = await JWTConnectionManager.getInstance().getConnection({ ...jwt, reuse: 7_200 });
  conn.once('refresh', () => {
    throw new Error('a listener of somebody');
  });
  await control('POST', 'tokens/revoke', { all: true });
  await assert.rejects(contacts(conn), /a listener of somebody/);
  assert.equal(await contacts(conn), 3);
});

test('another login under the same key is another connection, and half of one is none', async () => {
  const manager = SalesforceConnectionManager.getInstance();
  const jwts = JWTConnectionManager.getInstance();
  const conn = await jwts.getConnection(jwt);
  assert.notEqual(await jwts.getConnection({ ...jwt, version: '60.0' }), conn);
  assert.equal((await jwts.getConnection({ ...jwt, version: '60.0' })).version, '60.0');
  await assert.rejects(manager.getConnection(refresh, undefined, 'k'), { code: 'configuration' });
  await assert.rejects(jwts.getConnection({ ...jwt, privateKey: '' }), { code: 'configuration' });
  const elsewhere = await jwts.getConnection({ ...jwt, jsforce: { serverUrl: 'https://evil.example/x', sessionId: 'x' } });
  assert.equal(new URL(elsewhere.instanceUrl).hostname, new URL(conn.instanceUrl).hostname);
});

test('a refusal is told by kind with the next act, and remembered', async () => {
  const manager = SalesforceConnectionManager.getInstance();
  const before = await requests();
  for (let attempt = 0; attempt < 20; attempt += 1) {
    await assert.rejects(manager.getConnection(refresh, '5Aep861revoked'), (error) => {
      assert.ok(error instanceof TielineError);
      assert.deepEqual([error.code, error.retryable], ['reauth_required', false]);
      assert.match(error.message, /invalid_grant.*\nhint: /s);
      assert.doesNotMatch(error.message, /5Aep861revoked/);
      return true;
    });
  }
  assert.equal(await requests(), before + 1);
});

test('what cannot lead to a login is said before anything is sent', async () => {
  const before = await requests();
  const jwts = JWTConnectionManager.getInstance();
  const nobody = createServer().listen(0, '127.0.0.1');
  await once(nobody, 'listening');
  const { port } = nobody.address();
  nobody.close();
  for (const [config, code, said] of [
    [{ ...jwt, clientId: '' }, 'configuration', /clientId/],
    [{ ...jwt, username: '' }, 'configuration', /username/],
    [{ ...jwt, privateKey: 'hello' }, 'configuration', /PEM/],
    [{ ...jwt, loginUrl: 'https://salesforce.com.evil.example' }, 'host_not_allowed', /not one of Salesforce's/],
    [{ ...jwt, loginUrl: 'http://login.salesforce.com' }, 'host_not_allowed', /not one of Salesforce's/],
    [{ ...jwt, loginUrl: 'https://login.salesforce.com@evil.example' }, 'host_not_allowed', /not one of Salesforce's/],
    [{ ...jwt, loginUrl: `http://127.0.0.1:${port}` }, 'upstream_unreachable', /ECONNREFUSED/],
  ]) {
    await assert.rejects(jwts.getConnection(config), (error) => {
      assert.equal(error.code, code);
      assert.match(error.message, said);
      assert.doesNotMatch(error.message, /PRIVATE KEY/);
      return true;
    });
  }
  assert.equal(await requests(), before);
});

test('both module systems have the same', () => {
  const common = createRequire(import.meta.url)('tieline');
  assert.deepEqual(Object.keys(common).sort(), [
    'JWTConnectionManager',
    'SalesforceConnectionManager',
    'TielineError',
    'brokerFromEnvironment',
    'useDispatcher',
  ]);
  assert.equal(typeof common.JWTConnectionManager.getInstance().getConnection, 'function');
});

test('everything can be let go of', async () => {
  const manager = JWTConnectionManager.getInstance();
  assert.ok(manager.getCacheStats().size > 0);
  assert.equal(manager.clearExpiredConnections(), 0, 'all were used just now');
  assert.ok(manager.clearAllConnections() > 0);
  assert.equal(manager.getCacheStats().size, 0);
  assert.equal(await contacts(await manager.getConnection(jwt)), 3);
});

test('what was not sent is not lost', async () => {
  // It takes connections, and ends them before a word is said.
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  const loginUrl = `https://127.0.0.1:${server.address().port}`;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    // An app without a secret cannot ask what became of a refresh token that it has sent.
    const asked = SalesforceConnectionManager.getInstance().getConnection({ clientId: 'x', loginUrl }, 'a refresh token');
    await assert.rejects(asked, (error) => error.code === 'upstream_unreachable' && error.retryable);
  }
  server.close();
});

test('in Lambda calls after a pause go by a new pool, of the kind that was asked for', async (t) => {
  const request = createRequire(import.meta.url)('jsforce/lib/request.js');
  if (request.setDispatcher === undefined) return t.skip('this jsforce keeps no connections');
  const { Agent } = createRequire(createRequire(import.meta.url).resolve('jsforce/lib/request.js'))('undici');
  const pools = [];
  useDispatcher(() => pools[pools.push(new Agent()) - 1]);
  process.env.AWS_LAMBDA_FUNCTION_NAME = 'orders';
  process.env.TIELINE_METRICS = 'off';
  const pause = () => new Promise((resolve) => setTimeout(resolve, 1_100));
  try {
    const conn = await JWTConnectionManager.getInstance().getConnection({ ...jwt, version: '66.0' });
    await contacts(conn);
    await contacts(conn);
    assert.equal(pools.length, 1, 'the one that is there is not replaced for nothing');
    await pause();
    await contacts(conn);
    assert.equal(pools.length, 2);
    // A call that was under way all the time says nothing about the other connections.
    await control('POST', 'faults', { path: '/services/data', delay_ms: 1_200, times: 1 });
    await contacts(conn);
    await contacts(conn);
    assert.equal(pools.length, 3);
  } finally {
    delete process.env.AWS_LAMBDA_FUNCTION_NAME;
    request.setDispatcher();
  }
});

// The last one: no connection of the org's works after it.
test('a login does not go by a connection of before, which may be dead', async () => {
  const manager = SalesforceConnectionManager.getInstance();
  const { refresh_token: token } = await control('POST', 'refresh-tokens', {});
  await manager.getConnection({ ...refresh, reuse: 0.01 }, token);
  await control('DELETE', 'connections');
  await new Promise((resolve) => setTimeout(resolve, 20));
  await manager.getConnection({ ...refresh, reuse: 0.01 }, token);
});
