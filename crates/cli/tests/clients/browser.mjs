// What the walks through the pages share: a browser, what it complains of, pictures in light, dark and on a phone, what axe
// finds, and what a page may cost.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const { chromium } = modules('playwright-core');
const axe = readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8');

/** Where pictures go; a benchmark takes none. */
const pictures = process.env.SCREENSHOT_DIR;
if (pictures) mkdirSync(pictures, { recursive: true });

/** What a page may cost (issue: first paint under 100 ms on loopback, under 150 KB). A debug build paints later. */
const MOST_BYTES = 150_000;
const MOST_REQUESTS = 12;

export function launch() {
  return chromium.launch({
    executablePath: fromEnvironment('TIELINE_TEST_CHROMIUM'),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** A page in a context of its own; everything that goes wrong in it is collected. Statuses that are meant are told before. */
export async function open(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  const expected = new Set();
  page.on('console', (message) => {
    if (message.type() !== 'error' || /status of (4|5)\d\d/.test(message.text())) return;
    problems.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => problems.push(`exception: ${error.message}`));
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText;
    if (reason !== 'net::ERR_ABORTED') problems.push(`request: ${request.method()} ${request.url()}: ${reason}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400 && !expected.has(response.status())) {
      problems.push(`answer: ${response.status()} for ${response.url()}`);
    }
  });
  return { context, page, problems, expected };
}

/** What axe finds that is serious or critical. */
export async function inspect(page, where) {
  // Not by a script tag, which the pages' own policy forbids.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target, failureSummary }) => `${target} (${failureSummary})`).join('; ')}`);
  });
  assert.deepEqual(found, [], `axe on ${where}`);
}

/** A page in light, in dark and on a phone, each inspected and photographed; nothing makes a phone scroll sideways. */
export async function look(page, name) {
  const size = page.viewportSize();
  for (const [suffix, colorScheme, viewport] of [
    ['', 'light', { width: 1280, height: 860 }],
    ['-dark', 'dark', { width: 1280, height: 860 }],
    ['-phone', 'light', { width: 390, height: 844 }],
  ]) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.setViewportSize(viewport);
    if (pictures) await picture(page, path.join(pictures, `${name}${suffix}.png`));
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= viewport.width, `${name}${suffix} is ${width} pixels wide on a screen of ${viewport.width}`);
    await inspect(page, `${name}${suffix}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  if (size) await page.setViewportSize(size);
}

/** Chromium now and then draws nothing for a page that is behind another one: it is brought to the front, and asked once more. */
async function picture(page, file) {
  await page.bringToFront();
  try {
    await page.screenshot({ path: file, fullPage: true, timeout: 15_000 });
  } catch (error) {
    if (error.name !== 'TimeoutError') throw error;
    await page.bringToFront();
    await page.screenshot({ path: file, fullPage: true, timeout: 60_000 });
  }
}

/** What opening a page takes in a browser that has nothing of it: bytes, requests, and none of it from anywhere else. */
export async function weigh(browser, url, storageState) {
  const context = await browser.newContext({ storageState });
  const weight = await weighIn(await context.newPage(), url);
  await context.close();
  return weight;
}

/** The same in a page that is open already. Milliseconds to the first paint are counted from the click. It keeps nothing of what it
 * loaded before, unless told otherwise. */
export async function weighIn(page, url, { keeps = false } = {}) {
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.setCacheDisabled', { cacheDisabled: !keeps });
  let bytes = 0;
  const hosts = new Set();
  let requests = 0;
  session.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength; });
  session.on('Network.requestWillBeSent', ({ request }) => {
    if (request.url.startsWith('data:')) return;
    requests += 1;
    hosts.add(new URL(request.url).host);
  });
  await page.goto(url, { waitUntil: 'load' });
  const painted = await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  const paint = await painted.jsonValue();
  const answered = await page.evaluate(() => performance.getEntriesByType('navigation')[0].responseEnd);
  await session.detach();
  assert.deepEqual([...hosts], [new URL(url).host], `${url} asks others`);
  assert.ok(bytes < MOST_BYTES, `${url} takes ${bytes} bytes`);
  assert.ok(requests <= MOST_REQUESTS, `${url} takes ${requests} requests`);
  return { bytes, requests, paint, answered };
}

/** Asks again and again until the answer is yes, or the time is over. */
export async function within(milliseconds, message, isSo) {
  const end = performance.now() + milliseconds;
  let lastError;
  while (performance.now() < end) {
    try {
      if (await isSo()) return;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(message, { cause: lastError });
}

/** The value of an environment variable that has to be there. */
export function fromEnvironment(variable) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set`);
  return value;
}
