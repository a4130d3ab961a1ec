// Opens Tieline's page in a browser, as somebody who runs Tieline does: at a desk, on a phone, and without JavaScript.
//
// Prints one line of JSON if everything was there; otherwise it fails with exit code 1. With WATCH_TEXT it writes the
// line `watching` to standard error once the page is ready, then waits for that text to show up among the contacts
// without a reload: whoever started it changes a contact when that line comes.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const { chromium } = modules('playwright-core');

const pageUrl = fromEnvironment('PAGE_URL');
const pictures = fromEnvironment('SCREENSHOT_DIR');
const watchText = process.env.WATCH_TEXT;
mkdirSync(pictures, { recursive: true });

const browser = await chromium.launch({
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
try {
  const { contacts, runs } = await atADesk();
  await onAPhone();
  await withoutJavaScript(contacts);
  console.log(JSON.stringify({ contacts, runs, ok: true }));
} finally {
  await browser.close();
}

/** The page at its full width: what it shows, a sync by its button, and a change that comes by itself. */
async function atADesk() {
  const { page, problems } = await open({ viewport: { width: 1280, height: 900 } });
  const contacts = await page.locator('[data-contact]').count();
  const runs = await page.locator('[data-run]').count();
  const state = await page.locator('[data-connection-state]').first().innerText();
  assert.ok(state.trim(), 'the state of the connection has no text');
  assert.ok(runs > 0, 'no run is shown');
  for (const id of await page.locator('[data-contact]').evaluateAll((rows) => rows.map((row) => row.dataset.contact))) {
    assert.match(id, /^003[0-9A-Za-z]{15}$/);
  }
  await picture(page, 'page.png');
  const watched = watchText && page.locator('[data-contact]', { hasText: watchText });
  if (watched) {
    assert.equal(await watched.count(), 0, `${watchText} was there before the change`);
  }

  const before = await runsTotal(page);
  await page.locator('button[data-action=sync]').click();
  await within(15_000, `the number of runs did not grow beyond ${before}`, async () => (await runsTotal(page)) > before);

  if (watched) {
    await page.waitForLoadState('load');
    let reloads = 0;
    page.on('framenavigated', (frame) => {
      if (frame === page.mainFrame()) reloads += 1;
    });
    console.error('watching');
    await watched.first().waitFor({ state: 'visible', timeout: 20_000 });
    assert.equal(reloads, 0, 'the page was reloaded');
    await picture(page, 'live.png');
  }
  await page.waitForTimeout(200);
  assert.deepEqual(problems, [], 'the browser complained');
  await page.context().close();
  return { contacts, runs };
}

/** The page on a narrow screen: nothing makes it scroll sideways. */
async function onAPhone() {
  const { page, problems } = await open({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 });
  await picture(page, 'page-narrow.png');
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 390, `the page is ${width} pixels wide on a screen of 390`);
  assert.deepEqual(problems, [], 'the browser complained');
  await page.context().close();
}

/** The page without JavaScript: the contacts are in it, and the button is a form's. */
async function withoutJavaScript(contacts) {
  const { page, problems } = await open({ viewport: { width: 1280, height: 900 }, javaScriptEnabled: false });
  const rows = await page.locator('table [data-contact]').count();
  assert.ok(rows >= 1, 'no contact is shown without JavaScript');
  assert.ok(rows >= contacts, `${rows} contacts are shown without JavaScript, and ${contacts} with it`);
  assert.equal(
    await page.locator('form[method="post" i] button[data-action=sync]:not([type=button])').count(),
    1,
    'the sync button does not submit a form with method=post',
  );
  assert.deepEqual(problems, [], 'the browser complained');
  await page.context().close();
}

/** Opens the page in a context of its own, waits for a contact, and collects everything that goes wrong in it. */
async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`console: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => problems.push(`exception: ${error.message}`));
  page.on('requestfailed', (request) => {
    // Aborted is what the page itself gives up, such as a stream of events when it is left.
    const reason = request.failure()?.errorText;
    if (reason !== 'net::ERR_ABORTED') problems.push(`request: ${request.method()} ${request.url()}: ${reason}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) problems.push(`answer: ${response.status()} for ${response.url()}`);
  });
  // Not `networkidle`: a stream of events never ends.
  const response = await page.goto(pageUrl, { waitUntil: 'load' });
  assert.equal(response.status(), 200, `status of ${pageUrl}`);
  await page.locator('[data-contact]').first().waitFor({ state: 'visible', timeout: 15_000 });
  return { page, problems };
}

/** The number of runs that the page tells of. */
async function runsTotal(page) {
  const text = await page.locator('[data-runs-total]').first().innerText({ timeout: 5_000 });
  const digits = text.replace(/\D/g, '');
  assert.ok(digits, `no number in ${JSON.stringify(text)}`);
  return Number(digits);
}

/** Asks again and again until the answer is yes, or the time is over; a page that is just being replaced may fail. */
async function within(milliseconds, message, isSo) {
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

/** Takes a picture of what is on the screen. */
async function picture(page, name) {
  await page.screenshot({ path: path.join(pictures, name) });
}

/** The value of an environment variable that has to be there. */
function fromEnvironment(variable) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set`);
  return value;
}
