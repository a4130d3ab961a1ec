// Walks through the local org's pages as a person does: a wrong password, sign in, read what is asked for, allow.
//
// PAGE_URL is the login page that the program has named; the browser must end at the program's own callback. Then the
// page for device codes, on a phone. Prints one line of JSON if all was there; otherwise exit code 1.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const { chromium } = modules('playwright-core');
const pictures = fromEnvironment('SCREENSHOT_DIR');
mkdirSync(pictures, { recursive: true });

const browser = await chromium.launch({
  executablePath: fromEnvironment('TIELINE_TEST_CHROMIUM'),
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const landed = await logIn();
  await devicePage();
  console.log(JSON.stringify({ landed, ok: true }));
} finally {
  await browser.close();
}

async function logIn() {
  const page = await browser.newPage();
  await page.goto(fromEnvironment('PAGE_URL'));
  assert.match(await page.title(), /Sign in/);
  assert.match(await page.locator('main').innerText(), /not Salesforce/, 'it says what it is');
  await page.getByLabel('Username').fill(fromEnvironment('ORG_USERNAME'));
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  assert.match(await page.getByRole('alert').innerText(), /wrong/);
  await page.screenshot({ path: path.join(pictures, 'sign-in.png') });
  await page.getByLabel('Password').fill(fromEnvironment('ORG_PASSWORD'));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: /^Allow .* to act for you\?$/ }).waitFor();
  const asked = await page.getByRole('listitem').allInnerTexts();
  assert.ok(asked.some((scope) => scope.includes('(api)')), asked.join());
  await page.screenshot({ path: path.join(pictures, 'consent.png') });
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByRole('heading', { name: 'Logged in' }).waitFor();
  const landed = new URL(page.url());
  assert.ok(landed.searchParams.get('code'), 'the code is in the callback');
  return `${landed.origin}${landed.pathname}`;
}

async function devicePage() {
  const phone = await browser.newPage({ viewport: { width: 360, height: 700 } });
  await phone.goto(`${fromEnvironment('ORG_URL')}/setup/connect`);
  await phone.getByLabel('Code that the device shows').fill('NOSUCH01');
  await phone.getByRole('button', { name: 'Continue' }).click();
  assert.match(await phone.getByRole('alert').innerText(), /No device waits/);
  const tooWide = await phone.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  assert.equal(tooWide, false, 'nothing is wider than a phone');
  await phone.screenshot({ path: path.join(pictures, 'device.png') });
}

function fromEnvironment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}
