// Walks through the service as its first user does: set up, connect an org (sign in there, allow), see it active, sign out,
// sign in again; and presses Deny once.
//
// Prints one line of JSON if all was there; otherwise exit code 1.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const modules = createRequire(path.join(fromEnvironment('TIELINE_TEST_NODE_MODULES'), 'tieline.cjs'));
const { chromium } = modules('playwright-core');
const pictures = fromEnvironment('SCREENSHOT_DIR');
const url = fromEnvironment('PAGE_URL');
mkdirSync(pictures, { recursive: true });

const browser = await chromium.launch({
  executablePath: fromEnvironment('TIELINE_TEST_CHROMIUM'),
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const context = await browser.newContext();
  const page = await context.newPage();
  const refused = [];
  page.on('console', (message) => { if (/Content Security Policy/.test(message.text())) refused.push(message.text()); });
  page.on('pageerror', (error) => refused.push(String(error)));

  await page.goto(url);
  assert.equal(new URL(page.url()).pathname, '/setup', 'a fresh service wants its first user');
  await page.getByLabel('Setup token').fill('guessed');
  await fillSetUp(page);
  assert.match(await page.getByRole('alert').innerText(), /setup token is not the one/);
  await page.getByLabel('Setup token').fill(fromEnvironment('SETUP_TOKEN'));
  await fillSetUp(page);
  await page.getByText('No org is connected yet').waitFor();
  await page.goto(`${url}/connect`);
  await page.screenshot({ path: path.join(pictures, 'connect.png') });

  // Denied first: a page says what that means, and the way back.
  await toTheOrg(page);
  await signInThere(page);
  await page.getByRole('button', { name: 'Deny' }).click();
  await page.getByRole('heading', { name: 'Access was not granted' }).waitFor();
  await page.screenshot({ path: path.join(pictures, 'denied.png') });
  await page.getByRole('link', { name: 'Try again' }).click();
  await toTheOrg(page);
  await allowThere(page);

  await page.locator('[data-connection-state]').waitFor();
  const landed = new URL(page.url());
  assert.equal(`${landed.origin}${landed.pathname}`, `${url}/`, 'back where the browser was');
  assert.match(landed.searchParams.get('connected'), /^[0-9a-f-]{36}$/);
  assert.equal(await page.locator('[data-connection-state]').innerText(), 'active');
  await page.getByRole('button', { name: 'Sync now' }).click();
  await page.locator('[data-contact]').first().waitFor();
  await page.screenshot({ path: path.join(pictures, 'connected.png'), fullPage: true });

  const cookies = await context.cookies(url);
  const session = cookies.find((cookie) => cookie.name === 'tieline_session');
  assert.ok(session.httpOnly && session.sameSite === 'Lax', JSON.stringify(session));
  await page.locator('.whose summary').click();
  await page.getByRole('button', { name: /^Sign out/ }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.goto(url);
  assert.equal(new URL(page.url()).pathname, '/sign-in');
  await page.getByLabel('E-mail').fill('ada@example.com');
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('[data-connection-state]').waitFor();
  await page.goto(`${url}/docs`);
  assert.ok(await page.locator('details').count() > 20, 'the API is described');
  await page.screenshot({ path: path.join(pictures, 'api.png') });
  assert.deepEqual(refused, [], 'nothing of the pages is against their own policy');
  console.log(JSON.stringify({ ok: true }));
} finally {
  await browser.close();
}

async function fillSetUp(page) {
  await page.getByLabel('Business').fill('Acme');
  await page.getByLabel('Your name').fill('Ada');
  await page.getByLabel('E-mail').fill('ada@example.com');
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Set up' }).click();
}

async function toTheOrg(page) {
  await page.getByLabel('Org').selectOption('custom');
  await page.getByLabel('My Domain', { exact: false }).last().fill(fromEnvironment('ORG_URL'));
  await page.getByRole('button', { name: 'Go to the login page' }).click();
}

async function signInThere(page) {
  await page.getByLabel('Username').fill('unapproved@local.tieline.test');
  await page.getByLabel('Password').fill(fromEnvironment('ORG_PASSWORD'));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Allow access?' }).waitFor();
}

// The org may know the person from before.
async function allowThere(page) {
  const name = page.getByLabel('Username');
  const allow = page.getByRole('button', { name: 'Allow' });
  await name.or(allow).first().waitFor();
  if (await name.count()) await signInThere(page);
  await allow.click();
}

function fromEnvironment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}
