// What programs in JavaScript do for the same work as `bench/src/client.rs`: jsforce 3.
//
//   ORG=URL node peers.mjs 'query'|'query, gzip'|'bulk query'|'ingest'|'50 callers'|'first query'
//
// ORG is a URL of `tieline-bench fixture`. TIELINE_TEST_NODE_MODULES names the folder that has jsforce; without it, the one
// under target/parts. One line of JSON for each number. `first query` prints nothing but its peak of memory: what a process
// costs from its start to its end is measured from outside.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const nodeModules =
  process.env.TIELINE_TEST_NODE_MODULES ??
  path.join(import.meta.dirname, '../../target/parts/node/node_modules');
const jsforce = createRequire(path.join(nodeModules, 'tieline.cjs'))('jsforce');

const who = 'jsforce';
const soql =
  'SELECT Id,AccountId,FirstName,LastName,Email,Phone,Title,Department,MailingCity,MailingCountry,CreatedDate,' +
  'SystemModstamp FROM Contact';
const wait = { pollInterval: 100, pollTimeout: 120_000 };
const connection = new jsforce.Connection({ instanceUrl: process.env.ORG, accessToken: '00D!static', version: '60.0' });
Object.assign(connection.bulk2, wait);

/** Most memory that this process has had, as the kernel tells it. */
const peak = () => /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));

function print(name, unit, value) {
  console.log(JSON.stringify({ case: name, who, unit, value }));
}

/** Does some work, which answers for how many records or calls, and prints what it took. */
async function measured(name, work) {
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  const count = await work();
  const used = process.cpuUsage(cpu);
  print(name, 'cpu_us', (used.user + used.system) / count);
  print(name, 'wall_s', (performance.now() - wall) / 1e3);
  print(name, 'peak_mb', Number(peak()[1]) / 1024);
}

/** Counts the records of a stream of events. */
function counted(stream) {
  return new Promise((resolve, reject) => {
    let count = 0;
    stream.on('record', () => count++);
    stream.on('error', reject);
    stream.on('end', () => resolve(count));
  });
}

async function query() {
  const found = connection.query(soql);
  const count = counted(found);
  found.run({ autoFetch: true, maxFetch: 1_000_000 });
  return count;
}

/**
 * 900,000 rows: with 999,990 or more the stream of jsforce 3.10.26 stops at 999,999 records and never ends. The header line of
 * each page after the first comes out as a record.
 */
async function bulkQuery() {
  return counted(await connection.bulk2.query(`${soql} LIMIT 900000`, wait));
}

async function ingest() {
  const rows = Array.from({ length: 1_000_000 }, (_, n) => ({
    FirstName: `First${n}`,
    LastName: `Last, ${n}`,
    Email: `user${n}@example.com`,
    Phone: `+1 555 ${n}`,
    External_Id__c: `EXT-${n}`,
  }));
  const job = connection.bulk2.createJob({ operation: 'insert', object: 'Contact' });
  await job.open();
  await job.uploadData(rows);
  await job.close();
  await job.poll(wait.pollInterval, wait.pollTimeout);
  return (await job.check()).numberRecordsProcessed;
}

async function callers() {
  const until = performance.now() + 5_000;
  let calls = 0;
  const one = async () => {
    while (performance.now() < until) {
      const { records } = await connection.query('SELECT Id,LastName FROM Contact LIMIT 1');
      if (records.length !== 1) throw new Error('a call was answered wrongly');
      calls++;
    }
  };
  await Promise.all(Array.from({ length: 50 }, one));
  return calls;
}

const name = process.argv[2];
const cases = { query, 'query, gzip': query, 'bulk query': bulkQuery, ingest, '50 callers': callers };
if (name === 'first query') {
  await connection.query('SELECT Id FROM Contact LIMIT 1');
  console.log(peak()[0]);
} else {
  await measured(name, cases[name]);
}
