// The package beside a broker: the environment says that there is one.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { brokerFromEnvironment, JWTConnectionManager, SalesforceConnectionManager } from 'tieline';

const revoke = () => fetch(`${process.env.CONTROL_URL}/tokens/revoke`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"all":true}' });
const ledger = async () => (await fetch(`${process.env.CONTROL_URL}/ledger`)).json();
const contacts = async (conn) => (await conn.query('SELECT Id FROM Contact')).totalSize;

test('without credentials of its own the broker is asked, and once more for a refused token', async () => {
  const manager = SalesforceConnectionManager.getInstance();
  const [conn, same, other] = await Promise.all([
    manager.getConnection(),
    manager.getConnection({}),
    JWTConnectionManager.getInstance().getConnection({ connection: 'default' }),
  ]);
  assert.equal(conn, same);
  assert.equal(conn.version, '67.0');
  assert.deepEqual([await contacts(conn), await contacts(other)], [3, 3]);
  const { logins } = await ledger();
  assert.equal(logins, 1);
  await revoke();
  const found = await Promise.all([conn, other, conn, other].map(contacts));
  assert.deepEqual(found, [3, 3, 3, 3]);
  assert.equal((await ledger()).logins, logins + 1, 'both managers reported the same token');
});

test('credentials that were given are not passed over for another org', async () => {
  const config = { clientId: 'absent', loginUrl: process.env.SF_LOGIN_URL };
  await assert.rejects(SalesforceConnectionManager.getInstance().getConnection(config, '5Aep861x'), { code: 'reauth_required' });
});

test('what the broker says is passed on', async () => {
  await assert.rejects(SalesforceConnectionManager.getInstance().getConnection({ connection: 'absent' }), (error) => {
    assert.equal(error.code, 'unknown_connection');
    assert.match(error.hint, /default/);
    return true;
  });
});

test('the environment tells', async () => {
  const lambda = { AWS_LAMBDA_FUNCTION_NAME: 'f', AWS_SESSION_TOKEN: 'token' };
  assert.equal(brokerFromEnvironment({}), undefined);
  assert.equal(brokerFromEnvironment(lambda), undefined, 'no layer');
  assert.deepEqual(brokerFromEnvironment({ ...lambda, TIELINE_BROKER: 'on' }), { url: 'http://localhost:2774', secret: 'token' });
  assert.equal(brokerFromEnvironment({ TIELINE_BROKER_TOKEN: 'x', TIELINE_BROKER: 'off' }), undefined);
  assert.deepEqual(brokerFromEnvironment({ TIELINE_BROKER_TOKEN: 'x', TIELINE_BROKER_PORT: '7' }), { url: 'http://localhost:7', secret: 'x' });
  const port = process.env.TIELINE_BROKER_PORT;
  process.env.TIELINE_BROKER_PORT = '9';
  await assert.rejects(SalesforceConnectionManager.getInstance().getConnection({}, undefined, 'away'), { code: 'broker_unreachable', retryable: true });
  process.env.TIELINE_BROKER = 'off';
  await assert.rejects(SalesforceConnectionManager.getInstance().getConnection({}, undefined, 'off'), { code: 'configuration' });
  delete process.env.TIELINE_BROKER;
  process.env.TIELINE_BROKER_PORT = port;
});
