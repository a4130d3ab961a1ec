// An administrator takes the app's access away in the org; the alert is seen; connecting again ends it.
import assert from 'node:assert/strict';

import { fromEnvironment, within } from './browser.mjs';

/** `connect` goes through the org's login from the page of a connection. */
export async function revokedAndBack({ page, url, look, connection, connect, expected }) {
  // A run that is under way meanwhile fails for the same reason; nothing of it is the browser's.
  const answer = await fetch(`${fromEnvironment('CONTROL_URL')}/tokens/revoke`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ grants: true }),
  });
  assert.ok((await answer.json()).ended > 0, 'there was nothing to take away');

  // It is told by itself to whoever looks.
  await page.goto(connection);
  const state = page.locator('[data-connection-state]').first();
  await within(30_000, 'nobody is told that the org has ended it', async () => (await state.innerText()) === 'error');
  await look(page, 'revoked');
  await page.goto(url);
  await page.locator('.calling li').first().waitFor();
  await look(page, 'overview-revoked');
  await page.getByRole('link', { name: 'Alerts' }).click();
  const alert = page.locator('[data-alert=auth_failure] [data-alert-state]').first();
  assert.equal(await alert.innerText(), 'open');
  await look(page, 'alerts-open');

  // Whoever tries to read the org is told what to do.
  expected.add(409);
  await page.goto(`${connection}/pick`);
  await page.locator('.problem').first().waitFor();
  await page.goto(connection);
  // What is live asks again until the page is left.
  expected.delete(409);
  await connect();
  await within(30_000, 'it does not go on', async () => (await state.innerText()) === 'active');
  await page.goto(`${url}/alerts`);
  await within(30_000, 'the alert does not end', async () => {
    await page.reload();
    return (await alert.innerText()) === 'resolved';
  });
}
