/**
 * The built function against a local org: `tieline emulate` as Salesforce, `tieline broker` in the place of the extension,
 * a few lines of HTTP as SQS. No account is needed, at Salesforce or AWS.
 *
 *   npm run build && TIELINE=path/to/tieline npm test
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const TIELINE = process.env.TIELINE ?? 'tieline';
const FIELD = 'Tieline_Id__c';
const children = [];
const queued = [];
let org;
let handler;
let sqs;

function start(args, env) {
  const child = spawn(TIELINE, args, { env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

/** What the org answers next. It does not know upserts by external id: a fault answers in its place. */
async function fault(rule) {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${org.control_url}/faults`, { method: 'POST', body: JSON.stringify({ headers, ...rule }), headers });
  assert.equal(answer.status, 204);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

before(async () => {
  const emulate = start(['emulate', '--json', '--contacts', '1'], {});
  for await (const line of createInterface({ input: emulate.stdout })) {
    org = JSON.parse(line);
    break;
  }
  sqs = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const { MessageBody } = JSON.parse(text);
    queued.push(JSON.parse(MessageBody));
    response.setHeader('content-type', 'application/x-amz-json-1.0');
    response.end(JSON.stringify({ MessageId: 'm', MD5OfMessageBody: createHash('md5').update(MessageBody).digest('hex') }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => sqs.once('listening', resolve));

  Object.assign(process.env, {
    STAGE: 'test',
    LEAD_EXTERNAL_ID: FIELD,
    QUEUE_URL: `http://127.0.0.1:${sqs.address().port}/queue`,
    AWS_REGION: 'eu-central-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    AWS_ENDPOINT_URL_SQS: `http://127.0.0.1:${sqs.address().port}`,
    TIELINE_BROKER_TOKEN: 'a-secret-for-this-test-and-nothing-else',
    TIELINE_BROKER_PORT: String(await freePort()),
  });
  const { TIELINE_BROKER_PORT: port } = process.env;
  start(['broker'], {
    SF_LOGIN_URL: org.login_url,
    SF_CLIENT_ID: org.client_id,
    SF_USERNAME: org.username,
    SF_PRIVATE_KEY_FILE: org.private_key_file,
    TIELINE_BROKER_TOKEN: process.env.TIELINE_BROKER_TOKEN,
    TIELINE_BROKER_LISTEN: `127.0.0.1:${port}`,
  });
  for (let attempt = 0; ; attempt += 1) {
    const up = await fetch(`http://127.0.0.1:${port}/ping`).then((answer) => answer.ok, () => false);
    if (up) break;
    assert.ok(attempt < 100, 'the broker does not start');
    await sleep(100);
  }
  ({ handler } = createRequire(import.meta.url)('../dist/handler.cjs'));
});

after(() => {
  sqs?.close();
  for (const child of children) child.kill();
});

const context = { getRemainingTimeInMillis: () => 20_000 };
const post = (body) => handler({ routeKey: 'POST /leads', requestContext: { requestId: 'r' }, body: JSON.stringify(body), isBase64Encoded: false }, context);
const message = (messageId, body) => ({ messageId, body: typeof body === 'string' ? body : JSON.stringify(body), attributes: { ApproximateReceiveCount: '1' } });

test('a lead is queued, with the id that it has', async () => {
  const answer = await post({ id: 'web-1', lastName: ' Hopper ', company: 'Navy', email: 'grace@example.com' });
  assert.equal(answer.statusCode, 202);
  assert.deepEqual(JSON.parse(answer.body), { id: 'web-1' });
  assert.deepEqual(queued.at(-1), { id: 'web-1', lastName: 'Hopper', company: 'Navy', email: 'grace@example.com' });
});

test('a lead without an id gets one', async () => {
  const answer = await post({ lastName: 'Hopper', company: 'Navy' });
  assert.match(JSON.parse(answer.body).id, /^[0-9a-f-]{36}$/);
});

test('what is no lead is answered 400 and not queued', async () => {
  const before = queued.length;
  const bad = [null, 'text', {}, { lastName: 'X' }, { lastName: 'X', company: 'Y', id: '../../Contact/1' }, { lastName: 'X', company: 'Y', Emial: 'x' }];
  for (const body of [...bad, { lastName: 'x'.repeat(81), company: 'Y' }, { lastName: '  ', company: 'Y' }]) {
    const answer = await post(body);
    assert.equal(answer.statusCode, 400, JSON.stringify(body));
  }
  assert.equal(queued.length, before);
});

test('only what failed is handed out again', async () => {
  const path = `/services/data/v67.0/sobjects/Lead/${FIELD}/`;
  await fault({ path: `${path}good`, method: 'PATCH', status: 201, body: { id: '00Q000000000001AAA', success: true, errors: [], created: true } });
  await fault({ path: `${path}changed`, method: 'PATCH', status: 200, body: { id: '00Q000000000001AAA', success: true, errors: [], created: false } });
  await fault({ path: `${path}busy`, method: 'PATCH', status: 503, times: 0 });
  await fault({ path: `${path}invalid`, method: 'PATCH', status: 400, body: [{ message: 'Required', errorCode: 'REQUIRED_FIELD_MISSING', fields: ['Company'] }] });
  const lead = { lastName: 'Hopper', company: 'Navy' };
  const answer = await handler(
    {
      Records: [
        message('1', { ...lead, id: 'good' }),
        message('2', { ...lead, id: 'busy' }),
        message('3', { ...lead, id: 'changed' }),
        message('4', { ...lead, id: 'invalid' }),
        message('5', 'no JSON'),
      ],
    },
    context,
  );
  assert.deepEqual(answer.batchItemFailures.map(({ itemIdentifier }) => itemIdentifier), ['2', '4', '5']);
});

test('whoever is late is reported, and the others are not', async () => {
  const path = `/services/data/v67.0/sobjects/Lead/${FIELD}/`;
  await fault({ path: `${path}slow`, method: 'PATCH', delay_ms: 5_000, status: 201, body: {} });
  await fault({ path: `${path}quick`, method: 'PATCH', status: 201, body: {} });
  const lead = { lastName: 'Hopper', company: 'Navy' };
  const Records = [message('1', { ...lead, id: 'slow' }), message('2', { ...lead, id: 'quick' })];
  const answer = await handler({ Records }, { getRemainingTimeInMillis: () => 3_500 });
  assert.deepEqual(answer.batchItemFailures, [{ itemIdentifier: '1' }]);
});

test('the schedule asks for the limits', async () => {
  const ledger = () => fetch(`${org.control_url}/ledger`).then((answer) => answer.json());
  const before = await ledger();
  await handler({ source: 'aws.events' }, context);
  assert.equal((await ledger()).api_calls, before.api_calls + 1);
  // All tests together have logged in once.
  assert.equal((await ledger()).logins, 1);
});

test('a token that the org has ended is replaced', async () => {
  await fetch(`${org.control_url}/tokens/revoke`, { method: 'POST', body: '{"all": true}', headers: { 'content-type': 'application/json' } });
  await handler({ source: 'aws.events' }, context);
});
