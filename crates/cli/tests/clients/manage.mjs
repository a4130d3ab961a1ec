// Walks through what manages a business: the team and what a viewer is told on every page of the menu, API keys, channels
// and rules, settings, one's own account; and makes a key without script.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';

export async function manage({ browser, page, url, open, look }) {
  const viewer = await invited({ browser, page, url, open, look });
  await keys({ page, url, look });
  await alerts({ page, url, look });
  await settings({ page, url, look });
  await withoutScript({ browser, page, url, open });
  await takenOut({ page, url, viewer });
}

/** Somebody is invited, joins by the link, and looks at every page as a viewer. */
async function invited({ browser, page, url, open, look }) {
  await page.goto(`${url}/team`);
  await page.getByText('Cannot be taken out or changed').waitFor();
  await page.getByLabel('E-mail').fill('vera@example.com');
  await page.locator('form[action="/team"]').getByLabel('Role').selectOption('viewer');
  await page.getByRole('button', { name: 'Invite' }).click();
  const link = await page.locator('[data-once]').innerText();
  assert.ok(await page.getByRole('button', { name: 'Copy' }).isVisible(), 'where there is script, it copies');
  await look(page, 'team-invited');
  await page.goto(`${url}/team`);
  assert.equal(await page.locator('[data-once]').count(), 0, 'the link is shown once');
  await page.locator('[data-invitation="vera@example.com"]').waitFor();

  const viewer = await open(browser, { viewport: { width: 1280, height: 860 } });
  viewer.expected.add(403).add(404);
  await viewer.page.goto(link);
  await viewer.page.getByLabel('Your name').fill('Vera');
  await viewer.page.getByLabel('Password').fill('a password of veras');
  await viewer.page.getByRole('button', { name: 'Join', exact: true }).click();
  await viewer.page.waitForURL(`${url}/`);
  const paths = await viewer.page.locator('#menu li a').evaluateAll((links) => links.map((a) => a.getAttribute('href')));
  assert.ok(paths.length > 10, paths.join(' '));
  const more = ['/alerts/channels', '/alerts/rules', '/webhooks', '/settings/personal-data'];
  for (const path of [...paths, ...more]) {
    const answer = await viewer.page.goto(url + path);
    const status = answer.status();
    assert.ok(status === 200 || status === 403, `${path}: ${status}`);
    // What a viewer may not do is not offered: only to leave.
    const forms = await viewer.page.locator('main form[method=post]').evaluateAll((all) => all.map((f) => f.getAttribute('action')));
    assert.deepEqual(forms.filter((action) => !action.endsWith('/remove')), [], `${path} has a button that does nothing`);
    if (status === 403) {
      await viewer.page.getByText('Your role here is viewer.').waitFor();
      await viewer.page.getByText('ada@example.com').first().waitFor();
    }
    const name = path === '/' ? 'overview' : path.slice(1).replaceAll('/', '-');
    await look(viewer.page, `viewer-${name}`);
  }
  await page.goto(`${url}/team`);
  assert.equal(await page.locator('[data-member]').count(), 2);
  await page.locator('[data-member="vera@example.com"]').getByText('Change').first().click();
  await look(page, 'team');
  return viewer;
}

/** A key is made, used, followed by another, and revoked. */
async function keys({ page, url, look }) {
  const answers = async (key) => (await fetch(`${url}/api/imports`, { headers: { Authorization: `Bearer ${key}` } })).status;
  await page.goto(`${url}/keys`);
  await look(page, 'keys-none');
  await page.getByLabel('Name').fill('robot');
  await page.getByLabel('Role').selectOption('member');
  await page.getByRole('button', { name: 'Make it', exact: true }).click();
  const key = await page.locator('[data-once]').innerText();
  assert.equal(await answers(key), 200);
  await look(page, 'key-made');
  await page.getByRole('button', { name: 'Make its successor' }).click();
  await page.getByRole('heading', { name: 'robot 2' }).waitFor();
  const next = await page.locator('[data-once]').innerText();
  assert.notEqual(next, key);
  await page.goto(`${url}/keys`);
  assert.equal(await page.locator('[data-once]').count(), 0, 'a key is shown once');
  assert.ok(!(await page.content()).includes(key), 'a key is shown once');
  await look(page, 'keys');
  const row = page.locator(`[data-key="${key.slice(0, 9)}"]`);
  await row.getByText('Revoke…').click();
  await look(page, 'keys-revoke');
  await row.getByRole('button', { name: 'Revoke it' }).click();
  await page.getByText('Revoked. It works no more.').waitFor();
  assert.equal(await answers(key), 401);
  assert.equal(await answers(next), 200);
}

/** A channel to a receiver of ours, and a rule that leads to it. */
async function alerts({ page, url, look }) {
  const heard = [];
  const receiver = createServer((request, response) => {
    heard.push(request.headers['webhook-signature']);
    response.writeHead(204).end();
  });
  await new Promise((listening) => { receiver.listen(0, '127.0.0.1', listening); });
  try {
    await page.goto(`${url}/alerts/channels`);
    await look(page, 'channels-none');
    await page.getByRole('link', { name: 'Webhook' }).click();
    await look(page, 'channel-new');
    await page.getByLabel('Name').fill('Operations');
    await page.getByLabel('URL').fill(`http://127.0.0.1:${receiver.address().port}/in?key=planted`);
    await page.getByRole('button', { name: 'Make it', exact: true }).click();
    const secret = await page.locator('[data-once]').innerText();
    assert.match(secret, /^whsec_/);
    await look(page, 'channel-made');
    await page.getByRole('button', { name: 'Send a test message' }).click();
    await page.locator('[data-outcome=delivered]').waitFor();
    assert.equal(heard.length, 1);
    assert.match(heard[0], /^v1,/);
    const content = await page.content();
    assert.ok(!content.includes(secret) && !content.includes('planted'), 'secrets are shown once or never');
    await page.getByText('How a receiver verifies a message').click();
    await look(page, 'channel');
    await page.goto(`${url}/alerts/rules`);
    await look(page, 'rules-none');
    await page.goto(`${url}/alerts/rules/new`);
    await page.getByRole('link', { name: 'API calls run out' }).click();
    await page.getByLabel('Share of the calls used').fill('90');
    await page.getByLabel('Operations').check();
    await look(page, 'rule');
    await page.getByRole('button', { name: 'Make it', exact: true }).click();
    await page.getByText('from 90 % on').waitFor();
    await look(page, 'rules');
    await page.goto(`${url}/alerts/channels`);
    await page.getByText('works').waitFor();
    await look(page, 'channels');
    await page.goto(`${url}/webhooks`);
    await look(page, 'webhooks');
  } finally {
    receiver.close();
  }
}

/** How long things are kept, a person who is looked for, and the account. */
async function settings({ page, url, look }) {
  await page.goto(`${url}/settings`);
  await page.locator('[data-sealing]').first().waitFor();
  await look(page, 'settings');
  await page.getByLabel('Logs and runs').fill('30');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('cannot be brought back').waitFor();
  await look(page, 'settings-asks');
  await page.getByLabel('Take out what is older').check();
  await page.getByRole('button', { name: 'Save, and take it out' }).click();
  await page.getByText('Saved.').waitFor();
  assert.equal(await page.getByLabel('Logs and runs').inputValue(), '30');
  await page.getByText('Delete this business…').click();
  await page.getByLabel(/^Type/).fill('another name');
  await page.getByRole('button', { name: 'Delete for good' }).click();
  await page.getByRole('alert').filter({ hasText: 'not the name of this business' }).waitFor();

  await page.goto(`${url}/settings/personal-data`);
  await page.getByLabel('E-mail address').fill('changed@example.com');
  await page.getByRole('button', { name: 'Show what is kept' }).click();
  await page.getByText('1 contact', { exact: true }).click();
  await look(page, 'personal-data');
  assert.equal(new URL(page.url()).search, '', 'nobody is named in an address');
  await page.getByRole('button', { name: 'See what an erasure takes' }).click();
  await page.getByText('It takes:').waitFor();
  await look(page, 'personal-data-erase');

  await page.goto(`${url}/account`);
  await page.getByText('this browser').waitFor();
  await look(page, 'account');
}

/** Without script a key is made all the same. */
async function withoutScript({ browser, page, url, open }) {
  const storageState = await page.context().storageState();
  const { context, page: plain, problems } = await open(browser, { storageState, javaScriptEnabled: false });
  await plain.goto(`${url}/keys`);
  await plain.getByLabel('Name').fill('plain');
  await plain.getByRole('button', { name: 'Make it', exact: true }).click();
  assert.match(await plain.locator('[data-once]').innerText(), /^tl_/);
  assert.equal(await plain.getByRole('button', { name: 'Copy' }).isVisible(), false, 'a button that could do nothing');
  assert.deepEqual(problems, [], 'the browser complained');
  await context.close();
}

/** Who is taken out sees nothing any more. */
async function takenOut({ page, url, viewer }) {
  await page.goto(`${url}/team`);
  const row = page.locator('[data-member="vera@example.com"]');
  await row.getByText('Change').first().click();
  await row.getByText('Take out…').click();
  await row.getByRole('button', { name: 'Take Vera out' }).click();
  await page.getByText('Taken out of the team.').waitFor();
  await viewer.page.goto(`${url}/`);
  assert.equal(new URL(viewer.page.url()).pathname, '/account');
  await viewer.page.getByText('You are in no business.').waitFor();
  assert.deepEqual(viewer.problems, [], 'the browser complained');
  await viewer.context.close();
}
