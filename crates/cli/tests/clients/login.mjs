// Goes through the login page as a person does, decides, and looks at the page that the command line answers at the end.
//
// DECISION is the button to press, HEADING what the last page must say. Pictures in light, dark and on a phone.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const { chromium } = modules('playwright-core');
const pictures = fromEnvironment('SCREENSHOT_DIR');
const decision = fromEnvironment('DECISION');
mkdirSync(pictures, { recursive: true });

const browser = await chromium.launch({
  executablePath: fromEnvironment('TIELINE_TEST_CHROMIUM'),
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const page = await browser.newPage();
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await page.goto(fromEnvironment('PAGE_URL'));
  await page.getByLabel('Username').fill(fromEnvironment('ORG_USERNAME'));
  await page.getByLabel('Password').fill(fromEnvironment('ORG_PASSWORD'));
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: decision }).click();
  await page.getByRole('heading', { name: fromEnvironment('HEADING') }).waitFor();
  assert.match(await page.title(), /tieline/);
  if (decision === 'Allow') {
    assert.match(await page.locator('main').innerText(), new RegExp(fromEnvironment('ORG_USERNAME')));
    assert.match(await page.locator('main').innerText(), /You can close this window/);
  } else {
    assert.match(await page.getByRole('alert').innerText(), /access_denied/);
  }
  await picture(page, 'light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await picture(page, 'dark');
  await page.setViewportSize({ width: 360, height: 700 });
  const tooWide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  assert.equal(tooWide, false, 'nothing is wider than a phone');
  await picture(page, 'phone');
  // The browser asks for an icon by itself; nothing else may be missing or forbidden.
  const real = complaints.filter((text) => !/favicon|404|400|ERR_CONNECTION_REFUSED/.test(text));
  assert.deepEqual(real, []);
  console.log(JSON.stringify({ ok: true }));
} finally {
  await browser.close();
}

async function picture(page, name) {
  await page.screenshot({ path: path.join(pictures, `closing-${decision.toLowerCase()}-${name}.png`) });
}

function fromEnvironment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}
