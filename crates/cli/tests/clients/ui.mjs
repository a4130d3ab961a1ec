// Walks through the pages of the service as people do: the first run, the setup of a connection, a change that comes by itself, choosing
// contacts and what became of them, disconnecting and connecting again, the keyboard alone, no script at all, another
// business, and strings that want to be markup. Each page is photographed in light, dark and on a phone, and inspected by axe.
//
// Prints one line of JSON if all was there; otherwise exit code 1. It writes `change` to standard error where whoever
// started it is to change a contact to CHANGED_NAME.
import assert from 'node:assert/strict';
import { fromEnvironment, launch, look, open, weigh, within } from './browser.mjs';
import { crawl, named } from './crawl.mjs';
import { mappings } from './mappings.mjs';
import { manage } from './manage.mjs';
import { revokedAndBack } from './revoked.mjs';
import { figures } from './figures.mjs';
import { readHelp, setUpByKeyboard, setUpByMouse, setUpWithoutScript } from './setup.mjs';

const url = fromEnvironment('PAGE_URL');
const MARKUP = `"><img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>{{7*7}}`;

const browser = await launch();
try {
  const { context, page, problems, expected } = await open(browser, { viewport: { width: 1280, height: 860 } });

  // The first run.
  await page.goto(url);
  assert.equal(new URL(page.url()).pathname, '/setup');
  await look(page, 'setup');
  await setUp(page);
  await page.getByText('No org is connected yet').waitFor();
  await look(page, 'empty');

  // Connecting, step by step.
  await setUpByMouse({ browser, context, page, url, look });
  assert.equal(await page.locator('[data-connection-state]').first().innerText(), 'active');
  await page.goto(url);
  await page.getByRole('button', { name: 'Sync now' }).click();
  await page.locator('[data-contact]').first().waitFor();
  await look(page, 'overview');

  // A change in the org comes by itself.
  const name = fromEnvironment('CHANGED_NAME');
  let reloads = 0;
  page.on('framenavigated', (frame) => { if (frame === page.mainFrame()) reloads += 1; });
  console.error('change');
  await page.locator('[data-contact]', { hasText: name }).first().waitFor({ timeout: 30_000 });
  assert.equal(reloads, 0, 'the page was reloaded');

  await mappings({ page, url, look, within, expected, browser, open });

  // Choosing contacts over two pages and a search; what was chosen stays.
  await page.goto(`${url}/connections`);
  await look(page, 'connections');
  await page.locator('article h2 a').first().click();
  const connection = page.url();
  await look(page, 'connection');
  await page.getByRole('link', { name: 'Choose contacts' }).click();
  await look(page, 'pick');
  // The newest is the one that is searched for below.
  await page.locator('[data-one]').nth(1).check();
  await page.locator('[data-one]').nth(2).check();
  assert.equal(await page.locator('[data-chosen]').innerText(), '2');
  await page.getByRole('button', { name: 'Next page' }).click();
  await page.getByText('2 chosen in all').waitFor();
  await page.locator('[data-one]').nth(0).check();
  await page.getByRole('button', { name: 'Page before' }).click();
  await page.getByText('3 chosen in all').waitFor();
  assert.ok(await page.locator('[data-one]').nth(1).isChecked(), 'what was chosen is shown so');
  await page.locator('[data-one]').nth(2).uncheck();
  await page.getByLabel('Name, e-mail or company').fill(name);
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByText('2 chosen in all').waitFor();
  assert.equal(await page.locator('[data-one]').count(), 1, 'one has this name');
  await page.locator('[data-one]').nth(0).check();
  await page.getByLabel('Campaign').fill(MARKUP);
  await page.getByRole('button', { name: 'Import what is chosen' }).click();
  await within(20_000, 'the import did not end', async () => (await page.locator('[data-import-state]').innerText()) === 'success');
  assert.equal(await page.locator('[data-row]').count(), 3);
  await look(page, 'import');
  const imported = page.url();
  await page.goto(`${url}/imports`);
  await look(page, 'imports');
  await page.goto(`${url}/leads`);
  assert.equal(await page.locator('[data-lead]').count(), 3);
  assert.notEqual(await page.title(), 'pwned', 'a campaign is text');
  await page.getByText(MARKUP, { exact: true }).first().waitFor();
  await look(page, 'leads');

  // Health and usage, the contacts, and two of them that are one person.
  await figures({ page, url, look, expected });

  // A connection's own page: a name that wants to be markup, a test, the end and a new beginning.
  await page.goto(connection);
  await page.getByLabel('Name').first().fill(MARKUP.slice(0, 100));
  await page.getByRole('button', { name: 'Rename' }).click();
  await page.getByText('The new name is saved.').waitFor();
  assert.notEqual(await page.title(), 'pwned', 'a name is text');
  await page.getByRole('button', { name: 'Test' }).click();
  await page.getByText('The org answered').waitFor();
  await page.getByText('Disconnect…').click();
  await page.getByRole('button', { name: 'Disconnect', exact: true }).click();
  await page.getByText('its tokens are ended at the org').first().waitFor();
  assert.equal(await page.locator('[data-connection-state]').innerText(), 'inactive');
  await look(page, 'disconnected');
  await connect(page, async () => look(page, 'connect'), 'Log in again');
  await page.locator('[data-connection-state]').first().waitFor();
  assert.equal(await page.locator('[data-connection-state]').first().innerText(), 'active');

  await revokedAndBack({ page, url, look, connection, connect: () => connect(page, async () => {}, 'Log in again'), expected });

  // What happened, who did it, what is wrong, and who may be two.
  await page.goto(`${url}/logs`);
  const entries = await page.locator('#log tbody tr').count();
  await page.getByLabel('Event').selectOption('disconnected');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL(/event=disconnected/);
  assert.equal(await page.locator('#log tbody tr').count(), 1, `of ${entries} entries one is of this kind`);
  await look(page, 'logs');
  await page.goto(`${url}/audit?action=connection.authorized`);
  assert.equal(await page.locator('tbody tr').count(), 3, 'connected three times');
  assert.ok((await page.locator('tbody tr').first().innerText()).includes('Ada'), 'by whom');
  await look(page, 'audit');
  await page.goto(`${url}/alerts`);
  await look(page, 'alerts');
  await page.goto(`${url}/duplicates`);
  await look(page, 'duplicates');

  await readHelp({ page, url, look });

  // What is not there, and what has been typed wrongly.
  expected.add(404).add(400);
  await page.goto(`${url}/imports/01890000-0000-7000-8000-000000000001`);
  await page.getByRole('heading', { name: 'There is nothing here' }).waitFor();
  await look(page, 'nothing');
  await page.goto(connection);
  await page.getByText('Delete…').click();
  await page.getByLabel('Type').fill('another name');
  await page.getByRole('button', { name: 'Delete for good' }).click();
  await page.getByRole('alert').filter({ hasText: 'nothing was deleted' }).waitFor();

  // Dark by choice, kept by the browser.
  await page.goto(url);
  await page.getByRole('button', { name: 'Colours: as the system' }).click();
  await page.getByRole('button', { name: 'Colours: light' }).click();
  await page.getByRole('button', { name: 'Colours: dark' }).waitFor();
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
  await page.getByRole('button', { name: 'Colours: dark' }).click();

  await byKeyboard(page);
  const state = await context.storageState();
  const weights = {};
  const heavy = ['/usage', '/usage?days=90', '/duplicates/rules', '/connections/new', '/help', '/home/integrations/salesforce-guide'];
  for (const path of ['/', '/connections', '/leads', '/imports', '/contacts', ...heavy]) weights[path] = await weigh(browser, url + path, state);
  await withoutScript(state);
  await setUpWithoutScript({ browser, url, storageState: state });
  await setUpByKeyboard({ browser, url, storageState: state });
  const pages = await crawl(page, url);
  for (const part of ['/mappings', '/runs', '/contacts', '/alerts/rules', '/usage', '/team', '/keys', '/settings', '/help']) {
    assert.ok(pages.includes(part), `no link leads to ${part}`);
  }
  const theirs = named(pages);
  for (const kind of ['connections', 'mappings', 'runs', 'contacts', 'imports', 'duplicates', 'alerts']) {
    assert.ok(theirs.some((path) => path.startsWith(`/${kind}/`)), `no page of one of the ${kind} was found`);
  }
  await anotherBusiness(page, [imported, ...theirs.map((path) => url + path)]);
  await manage({ browser, page, url, open, look });

  await page.goto(url);
  await page.locator('.whose summary').click();
  await page.getByRole('button', { name: /^Sign out/ }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await look(page, 'sign-in');
  await page.goto(imported);
  assert.equal(new URL(page.url()).pathname, '/sign-in', 'whoever is out sees nothing');
  assert.deepEqual(problems, [], 'the browser complained');
  console.log(JSON.stringify({ ok: true, weights }));
} finally {
  await browser.close();
}

async function setUp(page) {
  await page.getByLabel('Setup token').fill(fromEnvironment('SETUP_TOKEN'));
  await page.getByLabel('Business').fill('Acme');
  await page.getByLabel('Your name').fill('Ada');
  await page.getByLabel('E-mail').fill('ada@example.com');
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Set up' }).click();
}

async function connect(page, looked, words) {
  await page.getByRole('link', { name: words, exact: true }).first().click();
  await looked();
  await page.getByLabel('Org').selectOption('custom');
  await page.getByLabel('My Domain', { exact: false }).last().fill(fromEnvironment('ORG_URL'));
  await page.getByRole('button', { name: 'Go to the login page' }).click();
  const name = page.getByLabel('Username');
  const allow = page.getByRole('button', { name: 'Allow' });
  // An org that knows the person and has been allowed before asks for nothing.
  const back = page.locator('[data-connection-state]');
  await name.or(allow).or(back).first().waitFor();
  if (await back.count()) return;
  if (await name.count()) {
    await name.fill('unapproved@local.tieline.test');
    await page.getByLabel('Password').fill(fromEnvironment('ORG_PASSWORD'));
    await page.keyboard.press('Enter');
  }
  await allow.click();
}

/** From the top of the page to another page and back, by the keys alone. */
async function byKeyboard(page) {
  await page.goto(url);
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main', 'the link leads to the content');
  await page.goto(url);
  for (let n = 0; n < 20 && (await focused(page)) !== 'Leads'; n += 1) await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'Leads');
  await page.keyboard.press('Enter');
  await page.waitForURL(`${url}/leads`);
  assert.equal(await page.locator('[aria-current=page]').innerText(), 'Leads');
}

function focused(page) {
  return page.evaluate(() => document.activeElement?.textContent.trim());
}

/** The same pages without script. */
async function withoutScript(storageState) {
  const { context, page, problems } = await open(browser, { storageState, javaScriptEnabled: false });
  await page.goto(url);
  assert.ok(await page.locator('[data-contact]').count() > 0);
  await page.getByRole('button', { name: 'Sync now' }).click();
  await page.getByText('A sync was asked for').waitFor();
  await page.goto(`${url}/leads?q=nobody-has-this`);
  await page.getByText('No lead is found by this').waitFor();
  assert.deepEqual(problems, [], 'the browser complained');
  await context.close();
}

/** Somebody of another business finds nothing of this one by its addresses; and who is in both goes from one to the other. */
async function anotherBusiness(ours, addresses) {
  const link = await ours.evaluate(async () => {
    const session = await (await fetch('/api/session')).json();
    const post = async (path, body, business) => {
      const headers = { 'Content-Type': 'application/json', 'X-CSRF-Token': session.csrf_token };
      if (business) headers['X-Tieline-Business'] = business;
      const answer = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
      return answer.json();
    };
    const { id } = await post('/api/businesses', { name: 'Other' });
    return (await post('/api/invitations', { email: 'eve@example.com', role: 'admin' }, id)).link;
  });
  const { context, page, expected, problems } = await open(browser);
  expected.add(404);
  await page.goto(link);
  await page.getByLabel('Your name').fill('Eve');
  await page.getByLabel('Password').fill('another long password');
  await page.getByRole('button', { name: 'Join', exact: true }).click();
  await page.getByText('No org is connected yet').waitFor();
  for (const address of addresses) {
    const answer = await page.goto(address);
    assert.equal(answer.status(), 404, address);
    assert.ok(!(await page.content()).includes('Acme'), address);
  }
  await page.goto(`${url}/leads`);
  assert.equal(await page.locator('[data-lead]').count(), 0);
  assert.deepEqual(problems, [], 'the browser complained');
  await context.close();

  await ours.goto(`${url}/leads`);
  const there = await ours.locator('[data-lead]').count();
  await ours.locator('.whose summary').click();
  await ours.getByRole('button', { name: 'To Other' }).click();
  await ours.getByText('No org is connected yet').waitFor();
  await ours.locator('.whose summary').click();
  await ours.getByRole('button', { name: 'To Acme' }).click();
  await ours.goto(`${url}/leads`);
  assert.equal(await ours.locator('[data-lead]').count(), there);
}
