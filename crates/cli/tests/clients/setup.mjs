// The setup of a connection: once by the mouse, with a look at each step and a second browser that goes on in the middle; once
// by the keys alone; and its first step without script. The guide and the help pages beside it.
import assert from 'node:assert/strict';
import { fromEnvironment, open, within } from './browser.mjs';

const ORG_USER = 'unapproved@local.tieline.test';

/** From the empty overview to a connection that is kept in step. */
export async function setUpByMouse({ browser, context, page, url, look }) {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: url });
  await page.getByRole('link', { name: 'Connect Salesforce' }).last().click();

  // The org: what is wrong is told while one types, before anything is sent.
  await page.locator('input[name=environment][value=custom]').check();
  await page.locator('input[name=domain]').fill('evil.example');
  await page.getByLabel('Name of the connection').focus();
  await page.locator('#domain-flaw', { hasText: "not one of Salesforce's domains" }).waitFor();
  assert.equal(new URL(page.url()).pathname, '/connections/new');
  await look(page, 'setup-org');
  await page.locator('input[name=domain]').fill(fromEnvironment('ORG_URL'));
  // Pressed before the flaw is gone, let go after: the button stands still meanwhile.
  await page.getByRole('button', { name: 'Continue' }).click({ delay: 300 });

  // The app: the same, and the guide beside it with what is to be copied.
  await page.getByLabel('An app of this org').check();
  await page.getByLabel('Consumer key').fill('two words');
  await page.getByLabel('Consumer secret').focus();
  await page.locator('#key-flaw', { hasText: 'white space' }).waitFor();
  await page.getByRole('button', { name: 'Copy the callback URL' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, `${url}/api/integrations/salesforce/callback`);
  await look(page, 'setup-app');
  await page.getByLabel("The service's app").check();
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('heading', { name: 'Log in to the org' }).waitFor();
  await look(page, 'setup-connect');

  // Another browser of the same person goes on there.
  const other = await open(browser, { storageState: await context.storageState() });
  await other.page.goto(`${url}/connections`);
  await look(other.page, 'connections-unfinished');
  await other.page.getByRole('link', { name: 'Go on with the setup' }).click();
  await other.page.getByRole('heading', { name: 'Log in to the org' }).waitFor();
  assert.equal(other.page.url(), page.url());
  await page.getByRole('button', { name: 'Log in to Salesforce' }).click();
  await logIn(page);

  // Objects: chosen over two searches.
  await page.getByRole('heading', { name: 'Objects' }).waitFor();
  await page.getByRole('checkbox', { name: 'Account' }).check();
  assert.equal(await page.locator('[data-chosen]').innerText(), '1');
  await look(page, 'setup-objects');
  await page.getByLabel('Name or label').fill('opportun');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.locator('[data-object=Opportunity] input').check();
  assert.equal(await page.locator('[data-chosen]').innerText(), '2', 'what was chosen in the other search counts');
  await page.getByRole('button', { name: 'Continue' }).click();

  // The other browser has gone on, too.
  await other.page.reload();
  await other.page.goto(other.page.url().replace(/[^/]*$/, '').replace(/\/$/, ''));
  await other.page.getByText('1 of 2').waitFor();
  assert.deepEqual(other.problems, [], 'the browser complained');
  await other.context.close();

  // Fields: a filter while one types, all that is shown at once, a preview, and the mapping.
  await page.getByText('1 of 2').waitFor();
  await look(page, 'setup-fields');
  const all = await page.locator('[data-one]').count();
  await page.getByLabel('Field', { exact: true }).fill('billing');
  await page.getByLabel('All that are shown').uncheck();
  const billing = await page.locator('#fields tbody tr:not([hidden])').count();
  assert.ok(billing > 1 && billing < all, `${billing} of ${all}`);
  assert.equal(await page.locator('[data-chosen]').innerText(), String(all - billing));
  await page.getByLabel('Field', { exact: true }).fill('');
  await page.getByLabel('Clean up Name', { exact: true }).selectOption('upper');
  await page.getByRole('button', { name: 'Preview' }).click();
  await page.locator('#preview table').waitFor();
  const name = await page.locator('#preview tbody tr').first().locator('td').first().innerText();
  assert.equal(name, name.toUpperCase());
  assert.equal(await page.locator('[data-chosen]').innerText(), String(all - billing), 'what was chosen stays');
  await look(page, 'setup-preview');
  await page.getByLabel('Column of Name', { exact: true }).fill('no column');
  await page.getByRole('button', { name: 'Preview' }).click();
  await page.locator('#w-Name').waitFor();
  await look(page, 'setup-flaw');
  await page.getByLabel('Column of Name', { exact: true }).fill('');
  await page.getByRole('button', { name: 'Make this mapping' }).click();
  await page.getByText('2 of 2').waitFor();
  await page.getByRole('button', { name: 'Make this mapping' }).click();

  // The first sync comes in by itself.
  await page.getByRole('heading', { name: 'First sync' }).waitFor();
  await page.getByText('Everything is here').waitFor({ timeout: 30_000 });
  assert.equal(await page.locator('[data-load]').count(), 3);
  await look(page, 'setup-sync');
  await page.getByRole('button', { name: 'Finish the setup' }).click();
  await page.getByText('The setup is done').waitFor();
  assert.equal(await page.getByRole('link', { name: 'Go on with the setup' }).count(), 0);
  await look(page, 'setup-done');
}

/** At the org's login page, up to where the browser comes back. */
async function logIn(page) {
  await page.getByLabel('Username').fill(ORG_USER);
  await page.getByLabel('Password').fill(fromEnvironment('ORG_PASSWORD'));
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Allow' }).click();
}

/** The guide, and the explanations of errors. */
export async function readHelp({ page, url, look }) {
  await page.goto(`${url}/help`);
  await look(page, 'help');
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  const menu = await page.getByRole('navigation', { name: 'Main' }).boundingBox();
  assert.equal(menu.y, 0, 'however far one scrolls, the menu stays in sight');
  await page.getByLabel('Code, or words').fill('unable_to_lock_row');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.waitForURL(/q=unable/);
  assert.equal(await page.locator('article').count(), 1);
  await page.getByRole('link', { name: 'Salesforce guide' }).click();
  assert.equal(new URL(page.url()).pathname, '/home/integrations/salesforce-guide');
  await look(page, 'guide');
}

/** All of it by the keys alone, in a business that has no org yet. */
export async function setUpByKeyboard({ browser, url, storageState }) {
  const { context, page, problems, expected } = await open(browser, { storageState });
  // The org asks who it is.
  await context.clearCookies({ name: 'local_sid' });
  await page.goto(url);
  await page.evaluate(async () => {
    const session = await (await fetch('/api/session')).json();
    const headers = { 'Content-Type': 'application/json', 'X-CSRF-Token': session.csrf_token };
    await fetch('/api/businesses', { method: 'POST', headers, body: JSON.stringify({ name: 'By keys' }) });
  });
  await page.reload();
  await page.locator('.whose summary').click();
  await page.getByRole('button', { name: 'To By keys' }).click();
  await page.getByText('No org is connected yet').waitFor();

  await tabTo(page, 'Skip to the content');
  await page.keyboard.press('Enter');
  await tabTo(page, 'Connect Salesforce');
  await page.keyboard.press('Enter');
  await page.waitForURL(/connections\/new/);
  await tabTo(page, /^Production/);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await tabTo(page, /^My Domain *Such as/);
  await page.keyboard.type(fromEnvironment('ORG_URL'));
  await page.keyboard.press('Enter');
  await page.waitForURL(/setup\/app/);
  await tabTo(page, 'Continue');
  await page.keyboard.press('Enter');
  await page.waitForURL(/setup\/connect/);
  await tabTo(page, 'Log in to Salesforce');
  await page.keyboard.press('Enter');
  await page.getByLabel('Username').waitFor();
  await tabTo(page, /^Username/);
  await page.keyboard.type(ORG_USER);
  await tabTo(page, /^Password/);
  await page.keyboard.type(fromEnvironment('ORG_PASSWORD'));
  await page.keyboard.press('Enter');
  // Whoever has allowed the app before is not asked again.
  await page.getByRole('button', { name: 'Allow' }).or(page.getByRole('heading', { name: 'Objects' })).first().waitFor();
  if (!/setup\/objects/.test(page.url())) {
    await tabTo(page, 'Allow');
    await page.keyboard.press('Enter');
    await page.waitForURL(/setup\/objects/);
  }
  await tabTo(page, /^Account/);
  await page.keyboard.press('Space');
  await tabTo(page, 'Continue');
  await page.keyboard.press('Enter');
  await page.waitForURL(/setup\/fields/);
  await tabTo(page, 'Make this mapping');
  await page.keyboard.press('Enter');
  await page.waitForURL(/setup\/sync/);
  await page.getByText('Everything is here').waitFor({ timeout: 30_000 });
  await tabTo(page, 'Finish the setup');
  await page.keyboard.press('Enter');
  await page.getByText('The setup is done').waitFor();
  assert.equal(expected.size, 0);
  assert.deepEqual(problems, [], 'the browser complained');
  await context.close();
}

/** Its first step without script: what is wrong is told when the form is sent, and what was typed stays. */
export async function setUpWithoutScript({ browser, url, storageState }) {
  const { context, page, problems, expected } = await open(browser, { storageState, javaScriptEnabled: false });
  expected.add(400);
  await page.goto(`${url}/connections/new`);
  await page.locator('input[name=environment][value=custom]').check();
  await page.locator('input[name=domain]').fill('evil.example');
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.locator('#domain-flaw', { hasText: "not one of Salesforce's domains" }).waitFor();
  assert.equal(await page.locator('input[name=domain]').inputValue(), 'evil.example');
  assert.deepEqual(problems, [], 'the browser complained');
  await context.close();
}

/** Presses Tab until what has these words has the focus. */
async function tabTo(page, words) {
  const fits = (text) => (words instanceof RegExp ? words.test(text) : text === words);
  let text = '';
  await within(30_000, `nothing leads to ${words}`, async () => {
    for (let n = 0; n < 60; n += 1) {
      await page.keyboard.press('Tab');
      text = await page.evaluate(() => {
        const element = document.activeElement;
        const by = document.getElementById(element.getAttribute('aria-labelledby') ?? '');
        const label = by ?? element.labels?.[0] ?? element;
        return (element.getAttribute('aria-label') ?? label.textContent).replace(/\s+/g, ' ').trim();
      });
      if (fits(text)) return true;
    }
    return false;
  });
}
