// Opens Tieline's page in a browser, as somebody who runs Tieline does: at a desk, on a phone, and without JavaScript.
//
// Prints one line of JSON if everything was there; otherwise it fails with exit code 1. With WATCH_TEXT it writes the
// line `watching` to standard error once the page is ready, then waits for that text to show up among the contacts
// without a reload: whoever started it changes a contact when that line comes.
import assert from 'node:assert/strict';
import path from 'node:path';

import { fromEnvironment, launch, open as opened, within } from './browser.mjs';

const pageUrl = fromEnvironment('PAGE_URL');
const pictures = fromEnvironment('SCREENSHOT_DIR');
const watchText = process.env.WATCH_TEXT;

const browser = await launch();
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

/** Opens the page in a context of its own, and waits for a contact. */
async function open(options) {
  const { page, problems } = await opened(browser, options);
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

/** Takes a picture of what is on the screen. */
async function picture(page, name) {
  await page.screenshot({ path: path.join(pictures, name) });
}
