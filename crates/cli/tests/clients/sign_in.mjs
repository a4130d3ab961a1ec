// Signs in with a provider as a person does: the first user sets the service up by password, links the account to an
// identity, signs out, and signs in with the provider, in a browser without script.
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
  const refused = [];
  const opened = async (options) => {
    const page = await (await browser.newContext(options)).newPage();
    page.on('console', (message) => {
      if (/Content Security Policy/.test(message.text()) && page.url().startsWith(url)) refused.push(message.text());
    });
    return page;
  };
  const page = await opened({});
  await page.goto(`${url}/setup`);
  await page.getByLabel('Setup token').fill(fromEnvironment('SETUP_TOKEN'));
  await page.getByLabel('Business').fill('Acme');
  await page.getByLabel('Your name').fill('Ada');
  await page.getByLabel('E-mail').fill('ada@example.com');
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Set up' }).click();
  await page.locator('.whose summary').click();
  await page.getByRole('link', { name: 'ada@example.com' }).click();
  await page.getByRole('button', { name: 'Link Example ID' }).click();
  await signInThere(page, 'ada');
  await page.locator('[data-identity]').waitFor();
  assert.equal(new URL(page.url()).pathname, '/account', 'back where the browser was');
  await page.screenshot({ path: path.join(pictures, 'account.png') });
  await page.goto(url);
  await page.locator('.whose summary').click();
  await page.getByRole('button', { name: /^Sign out/ }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();

  const plain = await opened({ javaScriptEnabled: false });
  await plain.goto(`${url}/connect`);
  assert.equal(new URL(plain.url()).pathname, '/sign-in');
  await plain.screenshot({ path: path.join(pictures, 'sign-in.png') });
  await plain.getByRole('button', { name: 'Sign in with Example ID' }).click();
  await signInThere(plain, 'grace');
  await plain.getByRole('heading', { name: 'Nobody here signs in with that' }).waitFor();
  await plain.screenshot({ path: path.join(pictures, 'refused.png') });

  const again = await opened({ javaScriptEnabled: false });
  await again.goto(`${url}/sign-in?return_to=/account`);
  await again.getByRole('button', { name: 'Sign in with Example ID' }).click();
  await signInThere(again, 'ada');
  await again.getByRole('heading', { name: 'How you sign in' }).waitFor();
  const session = (await again.context().cookies(url)).find((cookie) => cookie.name === 'tieline_session');
  assert.ok(session.httpOnly && session.sameSite === 'Lax', JSON.stringify(session));
  assert.deepEqual(refused, [], 'nothing of the pages is against their own policy');
  console.log(JSON.stringify({ ok: true }));
} finally {
  await browser.close();
}

async function signInThere(page, name) {
  await page.getByPlaceholder('Enter any login').fill(name);
  await page.getByPlaceholder('and password').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}

function fromEnvironment(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}
