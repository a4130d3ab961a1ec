// What programs in JavaScript do for the same work as `bench/tokens`: jsforce 3, a cache made of a Map, and node:crypto.
//
//   ORG="$(the line of tieline emulate --json)" node peers.mjs lookup|sign|herd|loop
//
// TIELINE_TEST_NODE_MODULES names the folder that has jsforce; without it, the one under target/parts. One line of JSON
// for each number. The org is on the same machine, so times in `ms` contain its own work; counts do not depend on it.
// An org allows 3,600 logins an hour and `herd` takes about 2,000 of them: give each run of it a fresh org.
import { createPrivateKey, createSign } from 'node:crypto';
import diagnostics from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const nodeModules =
  process.env.TIELINE_TEST_NODE_MODULES ??
  path.join(import.meta.dirname, '../../target/parts/node/node_modules');
const modules = createRequire(path.join(nodeModules, 'tieline.cjs'));

const org = JSON.parse(process.env.ORG ?? fail('ORG is not set: it takes the JSON line of `tieline emulate --json`'));
const identity = { clientId: org.client_id, clientSecret: org.client_secret, refreshToken: org.refresh_token };
/** Has the form of an access token, but the org has never given it out. */
const deadToken = `${org.access_token.slice(0, -8)}deadDEAD`;
const tokenLatency = 150;
const smallQuery = 'SELECT Id FROM Contact LIMIT 1';

/**
 * The cache that services write for themselves: one for the whole process, by app and refresh token, for half an hour.
 * What it holds is up to `load`.
 */
class ConnectionCache {
  #entries = new Map();
  #lifetime = 30 * 60 * 1000;
  #load;

  constructor(load) {
    this.#load = load;
  }

  /** The entry if there is one that is young enough. */
  get({ clientId, refreshToken }) {
    const entry = this.#entries.get(`${clientId}:${refreshToken}`);
    return entry && Date.now() - entry.since < this.#lifetime ? entry.connection : undefined;
  }

  /** Checks, waits, stores: whoever asks while another one waits finds nothing and loads too. */
  async getConnection(who) {
    const found = this.get(who);
    if (found) {
      return found;
    }
    const connection = await this.#load(who);
    this.#entries.set(`${who.clientId}:${who.refreshToken}`, { connection, since: Date.now() });
    return connection;
  }
}

/** A warm cache, asked again and again by one caller. */
async function lookup() {
  const rounds = 2_000_000;
  const warmUp = 200_000;
  const cache = new ConnectionCache(async () => ({ accessToken: org.access_token, instanceUrl: org.instance_url }));
  await cache.getConnection(identity);

  const inTurn = (count) => {
    let found = 0;
    for (let i = 0; i < count; i += 1) {
      if (cache.get(identity)) {
        found += 1;
      }
    }
    return found;
  };
  const awaited = async (count) => {
    let found = 0;
    for (let i = 0; i < count; i += 1) {
      if (await cache.getConnection(identity)) {
        found += 1;
      }
    }
    return found;
  };

  for (const [name, ask] of [['lookup-map', inTurn], ['lookup-awaited', awaited]]) {
    await ask(warmUp);
    const watch = startWatch();
    const found = await ask(rounds);
    const { wallMs, cpuMs } = watch();
    if (found !== rounds) {
      fail(`${name}: only ${found} of ${rounds} lookups found something`);
    }
    print(name, 'JavaScript Map', 'per_s', (rounds * 1000) / wallMs, { rounds, keys: 1 });
    print(name, 'JavaScript Map', 'cpu_us', (cpuMs * 1e3) / rounds, { rounds, keys: 1 });
  }
}

/** An assertion for the JWT bearer flow, made and signed. */
function sign() {
  const rounds = 300;
  const pem = readFileSync(org.private_key_file, 'utf8');
  const parsed = createPrivateKey(pem);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const assertion = (key) => {
    const exp = Math.floor(Date.now() / 1000) + 180;
    const claims = { iss: org.client_id, sub: org.username, aud: org.login_url, exp };
    const text = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}`;
    return `${text}.${createSign('RSA-SHA256').update(text).sign(key, 'base64url')}`;
  };

  for (const [who, key] of [['node:crypto, PEM each time', pem], ['node:crypto, key parsed once', parsed]]) {
    for (let i = 0; i < 30; i += 1) {
      assertion(key);
    }
    const watch = startWatch();
    for (let i = 0; i < rounds; i += 1) {
      assertion(key);
    }
    print('sign', who, 'cpu_us', (watch().cpuMs * 1e3) / rounds, { rounds, node: process.versions.node });
  }
}

/** Many callers at once, none of whom has a token that works. */
async function herd() {
  const { who, connect, exchange } = jsforceClient();
  await control('DELETE', '/faults');
  const slow = { path: '/services/oauth2/token', method: 'POST', delay_ms: tokenLatency, times: 100_000 };
  await control('POST', '/faults', slow);
  try {
    const cache = new ConnectionCache(async (one) => connect({ accessToken: (await exchange(one)).access_token }));
    await atOnce('herd-map-cache', `JavaScript Map, ${who}`, 1000, () => cache.getConnection(identity));

    const refreshable = () => connect({ accessToken: deadToken, refreshToken: identity.refreshToken });
    await atOnce('herd-connection-per-caller', who, 1000, () => refreshable().query(smallQuery));

    const shared = refreshable();
    await atOnce('herd-shared-connection', who, 1000, () => shared.query(smallQuery));

    const refreshFn = (_connection, done) => {
      exchange(identity).then((answer) => done(null, answer.access_token, answer), done);
    };
    const withFunction = connect({ oauth2: undefined, accessToken: deadToken, refreshFn });
    await atOnce('dead-token-500', who, 500, () => withFunction.query(smallQuery));
  } finally {
    await control('DELETE', '/faults');
  }
}

/** Starts all callers, waits for the last one, and prints what the org counted meanwhile. */
async function atOnce(name, who, callers, ask) {
  const before = await tokenRequests();
  const refused = countRefused();
  const watch = startWatch();
  const outcomes = await Promise.allSettled(Array.from({ length: callers }, async () => ask()));
  const { wallMs } = watch();
  const count = (await tokenRequests()) - before;
  const errors = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => String(reason?.message));
  const extra = { callers, failed: errors.length, unauthorized: refused(), error: errors[0] };
  print(name, who, 'count', count, extra);
  print(name, who, 'ms', wallMs, extra);
}

/** A refresh that answers, but with a token that is as dead as the one before. */
async function loop() {
  const { who, connect } = jsforceClient();
  const queries = 20;
  let refreshes = 0;
  let settled = 0;
  const refreshFn = (_connection, done) => {
    refreshes += 1;
    setTimeout(() => done(null, deadToken), tokenLatency);
  };
  const connection = connect({ oauth2: undefined, accessToken: deadToken, refreshFn });
  const refused = countRefused();
  const watch = startWatch();
  const count = () => {
    settled += 1;
  };
  const all = Array.from({ length: queries }, () => connection.query(smallQuery).then(count, count));
  let timer;
  await Promise.race([Promise.all(all), new Promise((resolve) => (timer = setTimeout(resolve, 8000)))]);
  clearTimeout(timer);
  const extra = { queries, settled, stopped_after_ms: Math.round(watch().wallMs) };
  print('refresh-yields-dead-token', who, 'count', refreshes, { of: 'refreshes', ...extra });
  print('refresh-yields-dead-token', who, 'count', refused(), { of: '401s', ...extra });
  process.exit(0); // Otherwise it would go on asking.
}

/** jsforce, its version, and how to use it with the org. */
function jsforceClient() {
  const jsforce = modules('jsforce');
  const { version } = modules('jsforce/package.json');
  const oauth2 = { loginUrl: org.login_url, clientId: org.client_id, clientSecret: org.client_secret };
  return {
    who: `jsforce ${version}`,
    connect: (options) =>
      new jsforce.Connection({ oauth2, instanceUrl: org.instance_url, version: '67.0', ...options }),
    exchange: ({ clientId, clientSecret, refreshToken }) =>
      new jsforce.OAuth2({ loginUrl: org.login_url, clientId, clientSecret }).refreshToken(refreshToken),
  };
}

/** Counts the 401s of the data API from now on, as they come in from the org. */
function countRefused() {
  let refused = 0;
  const onHeaders = ({ request, response }) => {
    if (response.statusCode === 401 && request.path.startsWith('/services/data/')) {
      refused += 1;
    }
  };
  diagnostics.subscribe('undici:request:headers', onHeaders);
  return () => {
    diagnostics.unsubscribe('undici:request:headers', onHeaders);
    return refused;
  };
}

/** How many token requests the org has had, of all grants. */
async function tokenRequests() {
  const ledger = await control('GET', '/ledger');
  return Object.values(ledger.token_requests).reduce((sum, count) => sum + count, 0);
}

/** A call of the org's control API. */
async function control(method, where, body) {
  const headers = { 'Content-Type': 'application/json' };
  const response = await fetch(org.control_url + where, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  return response.ok ? text && JSON.parse(text) : fail(`${method} ${where}: ${response.status} ${text}`);
}

function startWatch() {
  const wall = performance.now();
  const cpu = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    return { wallMs: performance.now() - wall, cpuMs: (user + system) / 1000 };
  };
}

function print(name, who, unit, value, extra) {
  console.log(JSON.stringify({ case: name, who, unit, value: Number(value.toPrecision(6)), ...extra }));
}

function fail(message) {
  throw new Error(message);
}

const cases = { lookup, sign, herd, loop };
const run = cases[process.argv[2]] ?? fail(`one of ${Object.keys(cases).join(', ')} is wanted`);
await run();
