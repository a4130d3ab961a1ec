// What a small service in JavaScript does for the same requests: express, pg and jsforce; and leads that are written one by
// one.
//
//   node peers.mjs serve                                   DATABASE, ORG and KEY in the environment
//   node peers.mjs one-by-one postgres|sqlite PLACE ROWS   one line of JSON for each number
//
// TIELINE_BENCH_MODULES names the folder that has the packages. The service knows one API key and checks it in the database for
// each request, as ours does; it has no limits, no roles, no audit log and no traces.
import { createHash, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = process.env.TIELINE_BENCH_MODULES ?? path.join(import.meta.dirname, '../../target/parts/bench/node_modules');
const load = createRequire(path.join(modules, 'tieline.cjs'));

const table = (json, stamp) => `CREATE TABLE IF NOT EXISTS peer_leads (
  id text PRIMARY KEY, business_id text NOT NULL, source_type text NOT NULL, source_id text NOT NULL, first_name text,
  last_name text, name text, email text, phone text, company text, title text, source_metadata ${json}, campaign text,
  created_at ${stamp} NOT NULL, updated_at ${stamp} NOT NULL, UNIQUE (business_id, source_type, source_id))`;
const indexes = [
  'CREATE INDEX IF NOT EXISTS peer_in_order ON peer_leads (business_id, created_at, id)',
  'CREATE INDEX IF NOT EXISTS peer_by_email ON peer_leads (business_id, email)',
];
const columns = 'id, business_id, source_type, source_id, first_name, last_name, name, email, phone, company, title, ' +
  'source_metadata, campaign, created_at, updated_at';
const update = ['first_name', 'last_name', 'name', 'email', 'phone', 'company', 'title', 'source_metadata', 'campaign', 'updated_at']
  .map((column) => `${column} = excluded.${column}`).join(', ');
const insert = (place) => `INSERT INTO peer_leads (${columns}) VALUES (${columns.split(', ').map((_, n) => place(n)).join(', ')})
  ON CONFLICT (business_id, source_type, source_id) DO UPDATE SET ${update}`;
const business = '00000000-0000-7000-8000-000000000001';
const lead = (n, now) => [randomUUID(), business, 'salesforce', `003${String(n).padStart(12, '0')}AAA`, `First${n}`, `Last${n}`,
  `First${n} Last${n}`, `user${n}@example.com`, `+1 555 ${n}`, 'Acme', 'Engineer', '{"Department":"R&D"}', 'large', now, now];
const digest = (text) => createHash('sha256').update(text).digest('hex');

function told(who, rows, seconds) {
  console.log(JSON.stringify({ case: 'leads one by one', who, unit: 'rows_per_s', value: rows / seconds }));
}

async function oneByOne(kind, place, rows) {
  const begun = performance.now();
  if (kind === 'sqlite') {
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(place);
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    for (const sql of [table('text', 'integer'), ...indexes]) database.exec(sql);
    const statement = database.prepare(insert((n) => `?${n + 1}`));
    for (let n = 0; n < rows; n++) {
      database.exec('BEGIN IMMEDIATE');
      statement.run(...lead(n, Date.now()));
      database.exec('COMMIT');
    }
    told('node:sqlite', rows, (performance.now() - begun) / 1e3);
    return;
  }
  const { Client } = load('pg');
  const client = new Client({ connectionString: place });
  await client.connect();
  for (const sql of [table('jsonb', 'timestamptz'), ...indexes]) await client.query(sql);
  for (let n = 0; n < rows; n++) {
    await client.query('BEGIN');
    await client.query({ name: 'lead', text: insert((n) => `$${n + 1}`), values: lead(n, new Date()) });
    await client.query('COMMIT');
  }
  await client.end();
  told('pg', rows, (performance.now() - begun) / 1e3);
}

async function serve() {
  const { Pool } = load('pg');
  const jsforce = load('jsforce');
  const org = JSON.parse(process.env.ORG);
  const pool = new Pool({ connectionString: process.env.DATABASE, max: 10 });
  await pool.query(table('jsonb', 'timestamptz'));
  for (const sql of indexes) await pool.query(sql);
  await pool.query('CREATE TABLE IF NOT EXISTS peer_keys (hash text PRIMARY KEY, business_id text NOT NULL)');
  await pool.query('INSERT INTO peer_keys VALUES ($1, $2) ON CONFLICT DO NOTHING', [digest(process.env.KEY), business]);
  for (let n = 0; n < 2_000; n++) await pool.query(insert((n) => `$${n + 1}`), lead(n, new Date()));
  const connection = new jsforce.Connection({ instanceUrl: org.instance_url, accessToken: org.access_token, version: '62.0' });
  const express = load('express');
  const app = express();
  app.use(async (request, response, next) => {
    const key = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    const found = await pool.query('SELECT business_id FROM peer_keys WHERE hash = $1', [digest(key)]);
    if (found.rows.length === 0) return response.status(401).json({ error: 'unauthenticated' });
    request.business = found.rows[0].business_id;
    next();
  });
  app.get('/api/leads', async (request, response) => {
    const limit = Math.min(Number(request.query.limit ?? 50), 200);
    const found = await pool.query(
      'SELECT * FROM peer_leads WHERE business_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2', [request.business, limit]);
    response.json({ items: found.rows });
  });
  app.get('/api/integrations/salesforce/contacts', async (request, response) => {
    const limit = Math.min(Number(request.query.limit ?? 50), 200);
    const found = await connection.query(
      // As ours asks it.
      'SELECT Id, FirstName, LastName, Name, Email, Phone, Title, Account.Name FROM Contact ORDER BY Id DESC NULLS LAST ' +
      `LIMIT ${limit}`);
    response.json({ items: found.records.map(({ attributes, ...fields }) => fields) });
  });
  const server = app.listen(0, '127.0.0.1', () => console.log(`ready at http://127.0.0.1:${server.address().port}`));
}

const [what, ...rest] = process.argv.slice(2);
if (what === 'serve') await serve();
else if (what === 'one-by-one') await oneByOne(rest[0], rest[1], Number(rest[2]));
else throw new Error('usage: peers.mjs serve | one-by-one postgres|sqlite PLACE ROWS');
