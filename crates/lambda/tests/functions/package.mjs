// A Lambda function with the package `tieline`, and the loop that Lambda runs it in (its Runtime API).
//
// `MANAGER=map` takes a plain Map as its cache instead: what a function does that logs in by itself and keeps the
// connection for the two hours that a session lasts by default.
import { createHash, createSign } from 'node:crypto';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const modules = process.env.TIELINE_TEST_MODULES;
const from = async (name) => {
  const resolved = createRequire(path.join(modules, 'x.cjs')).resolve(name);
  return import(pathToFileURL(resolved).href);
};

async function managed() {
  const { SalesforceConnectionManager } = await from('tieline');
  const manager = SalesforceConnectionManager.getInstance();
  return () => manager.getConnection({ connection: 'default' });
}

async function mapped() {
  const { Connection } = await from('jsforce');
  const cache = new Map();
  return async () => {
    const kept = cache.get('default');
    if (kept && kept.until > Date.now()) return kept.connection;
    const { SF_LOGIN_URL: loginUrl, SF_CLIENT_ID: iss, SF_USERNAME: sub, SF_PRIVATE_KEY: key } = process.env;
    const part = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');
    const claims = { iss, sub, aud: loginUrl, exp: Math.floor(Date.now() / 1000) + 180 };
    const text = `${part({ alg: 'RS256' })}.${part(claims)}`;
    const assertion = `${text}.${createSign('RSA-SHA256').update(text).sign(key, 'base64url')}`;
    const connection = new Connection({ loginUrl });
    const form = { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion };
    const answer = await fetch(`${loginUrl}/services/oauth2/token`, { method: 'POST', body: new URLSearchParams(form) });
    const body = await answer.json();
    if (!answer.ok) throw new Error(`${body.error}: ${body.error_description}`);
    connection.accessToken = body.access_token;
    connection.instanceUrl = body.instance_url;
    cache.set('default', { connection, until: Date.now() + 2 * 60 * 60_000 });
    return connection;
  };
}

async function handler(connect, event) {
  if (event.do === 'hold') await new Promise((resolve) => setTimeout(resolve, event.ms));
  const conn = await connect();
  if (event.do === 'create') return { id: (await conn.sobject('Contact').create({ LastName: event.name })).id };
  const { totalSize } = await conn.query('SELECT Id FROM Contact');
  return { totalSize, token: createHash('sha256').update(conn.accessToken).digest('hex') };
}

const connect = process.env.MANAGER === 'map' ? await mapped() : await managed();
// A function is ready when its modules are loaded; one that logs in ahead of its first event says so.
if (process.env.LOG_IN_FIRST) await connect();
const ready = process.uptime() * 1000;

const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;
for (;;) {
  const next = await fetch(`${api}/next`);
  const id = next.headers.get('lambda-runtime-aws-request-id');
  const event = await next.json();
  let [kind, body] = ['response', null];
  try {
    body = { ...(await handler(connect, event)), ready, rss: process.memoryUsage().rss };
  } catch (error) {
    [kind, body] = ['error', { errorType: error.code ?? error.name, errorMessage: error.message }];
  }
  await fetch(`${api}/${id}/${kind}`, { method: 'POST', body: JSON.stringify(body) });
}
