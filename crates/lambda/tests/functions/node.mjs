// A Lambda function as somebody writes it with jsforce, and the loop that Lambda runs it in (its Runtime API).
//
// The function asks the broker on localhost for a token, and once more when the org refuses one.
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(process.env.TIELINE_TEST_NODE_MODULES, 'tieline.cjs'));
const { Connection } = modules('jsforce');

const broker = `http://localhost:${process.env.TIELINE_BROKER_PORT ?? 2774}/v1/token`;

async function token(seen) {
  const query = seen ? `?refresh=1&seen=${createHash('sha256').update(seen).digest('hex')}` : '';
  const answer = await fetch(broker + query, { headers: { 'X-Tieline-Token': process.env.AWS_SESSION_TOKEN } });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(`${body.code}: ${body.message}`), { name: body.code });
  return body;
}

let refreshes = 0;
async function connection() {
  const { access_token: accessToken, instance_url: instanceUrl, api_version: version } = await token();
  return new Connection({
    accessToken,
    instanceUrl,
    version,
    refreshFn: (conn, done) => {
      refreshes += 1;
      token(conn.accessToken).then((next) => done(null, next.access_token), done);
    },
  });
}

async function handler(event) {
  const conn = await connection();
  if (event.do === 'create') return { id: (await conn.sobject('Contact').create({ LastName: event.name })).id };
  if (event.do === 'hold') await new Promise((resolve) => setTimeout(resolve, event.ms));
  const { totalSize } = await conn.query('SELECT Id FROM Contact');
  return { totalSize, refreshes, token: createHash('sha256').update(conn.accessToken).digest('hex') };
}

const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
for (;;) {
  const next = await fetch(`${api}/next`);
  const id = next.headers.get('lambda-runtime-aws-request-id');
  const event = await next.json();
  let [kind, body] = ['response', null];
  try {
    body = await handler(event);
  } catch (error) {
    [kind, body] = ['error', { errorType: error.name, errorMessage: error.message }];
  }
  await fetch(`${api}/${id}/${kind}`, { method: 'POST', body: JSON.stringify(body) });
}
