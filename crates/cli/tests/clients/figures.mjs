// The part of the walk that looks at figures and people: health and usage with their charts, the contacts, one of them
// made a lead, and two that are one person, merged, parted and merged again.
import assert from 'node:assert/strict';
import { within } from './browser.mjs';

export async function figures({ page, url, look, expected }) {
  await usage(page, url, look);
  await contacts(page, url, look);
  await duplicates(page, url, look);
  await rules(page, url, look, expected);
}

async function usage(page, url, look) {
  await page.goto(`${url}/`);
  await page.locator('.spark').first().waitFor();
  await page.getByRole('link', { name: 'Health and usage' }).last().click();
  await page.getByRole('heading', { name: 'Health and usage' }).waitFor();
  const said = await page.getByRole('img', { name: /rows in 7 days; most on/ }).locator('title').first().textContent();
  const total = Number(said.split(' ')[0].replaceAll(',', ''));
  assert.ok(total >= 120, said);
  // The table has the same numbers, a row for each day.
  await page.locator('#n-rows summary').click();
  const rows = await page.locator('#n-rows tbody tr').evaluateAll((all) => all.map((row) => [...row.cells].slice(1).map((cell) => Number(cell.textContent.replaceAll(',', '')))));
  assert.equal(rows.length, 7);
  assert.ok(rows.flat().reduce((sum, n) => sum + n, 0) >= total, `${said} ${rows}`);
  assert.deepEqual(rows[3], [0, 0, 0], 'a day without anything is there');
  assert.equal(await page.locator('[data-standing]').count(), 1);
  await look(page, 'usage');
  // No text is too small on a phone.
  await page.setViewportSize({ width: 390, height: 844 });
  const smallest = await page.evaluate(() => Math.min(...[...document.querySelectorAll('.chart span, .chart b, .numbers td')].map((e) => parseFloat(getComputedStyle(e).fontSize))));
  assert.ok(smallest >= 11, `${smallest} pixels`);
  await page.setViewportSize({ width: 1280, height: 860 });
  await page.getByRole('combobox', { name: 'Days' }).selectOption('90');
  await page.getByLabel('Connection').selectOption({ index: 1 });
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL(/days=90/);
  assert.equal(await page.locator('#n-rows tbody tr').count(), 90);
  await look(page, 'usage-90');
}

async function contacts(page, url, look) {
  await page.goto(`${url}/contacts`);
  assert.equal(await page.locator('[data-contact]').count(), 25);
  await look(page, 'contacts');
  const first = await page.locator('[data-contact]').first().getAttribute('data-contact');
  await page.getByRole('link', { name: 'Next page' }).click();
  await page.waitForURL(/cursor=/);
  assert.equal(await page.locator(`[data-contact="${first}"]`).count(), 0, 'no page repeats a contact');
  await page.getByLabel('Name, e-mail or company').fill('GRACE@EXAMPLE');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.waitForURL(/q=GRACE/);
  assert.equal(await page.locator('[data-contact]').count(), 2);
  await page.getByRole('link', { name: 'Grace Hopper', exact: true }).click();
  await page.getByRole('heading', { name: 'Grace Hopper', level: 1 }).waitFor();
  await page.getByText('Rear admiral').waitFor();
  const contact = page.url();
  const offer = page.getByRole('button', { name: 'Import as lead' });
  if (await offer.count()) {
    await offer.click();
    await within(20_000, 'the import did not end', async () => (await page.locator('[data-import-state]').innerText()) === 'success');
    await page.goto(contact);
  }
  await page.locator('[data-lead-of] a').click();
  await page.waitForURL(/leads\?q=/);
  assert.ok((await page.locator('[data-lead]').count()) >= 1, 'the link leads to the lead');
  await page.goto(contact);
  await look(page, 'contact');
}

async function duplicates(page, url, look) {
  const count = async () => {
    await page.goto(`${url}/contacts?q=grace@example`);
    return page.locator('[data-contact]').count();
  };
  await page.goto(`${url}/duplicates`);
  await page.getByRole('button', { name: 'Look for duplicates now' }).click();
  await page.getByRole('status').waitFor();
  await look(page, 'duplicates-found');
  const pair = page.locator('[data-kind=contact]', { hasText: 'Grace' });
  assert.equal(await pair.count(), 1);
  await pair.getByRole('link').click();
  await page.getByRole('heading', { name: 'Side by side' }).waitFor();
  const address = page.url();
  await look(page, 'duplicate');
  const merge = async () => {
    // The first one stays, with the title of the other.
    await page.locator('[data-field=title] input').nth(1).check();
    await page.getByRole('button', { name: 'Merge the two' }).click();
    await page.getByText('Merged. You can undo it here.').waitFor();
    assert.equal(await page.locator('[data-pair-state]').innerText(), 'merged');
  };
  const title = (await page.locator('[data-field=title] td').nth(1).innerText()).trim();
  await merge();
  await look(page, 'duplicate-merged');
  assert.equal(await count(), 1, 'one of them is left');
  assert.ok((await page.locator('[data-contact]').innerText()).includes(title), 'with the title of the other');
  await page.goto(address);
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('Undone.', { exact: true }).waitFor();
  assert.equal(await page.locator('[data-pair-state]').innerText(), 'open');
  assert.equal(await count(), 2, 'both are there again');
  await page.goto(address);
  await merge();
  assert.equal(await count(), 1);
}

async function rules(page, url, look, expected) {
  await page.goto(`${url}/duplicates`);
  await page.getByRole('link', { name: 'Rules' }).click();
  assert.equal(await page.locator('[data-rule]').count(), 3);
  await page.getByRole('button', { name: 'Add a rule' }).click();
  const added = page.locator('[data-rule]').nth(3);
  await added.getByLabel('Name', { exact: false }).first().fill('erp');
  await added.getByLabel('A field of yours').check();
  // Without the field's name nothing is saved, and what was typed stays.
  expected.add(400);
  await page.getByRole('button', { name: 'Save the rules' }).click();
  await page.getByRole('alert').waitFor();
  assert.equal(await added.getByLabel('Name', { exact: false }).first().inputValue(), 'erp');
  await look(page, 'duplicate-rules');
  await added.getByLabel('Name of your field').fill('ERP_Number__c');
  await page.getByRole('button', { name: 'Move up rule 4' }).click();
  assert.equal(await page.locator('[data-rule] [name=name]').nth(2).inputValue(), 'erp');
  await page.getByRole('button', { name: 'Save the rules' }).click();
  await page.getByText('Saved. All contacts').waitFor();
  await page.getByRole('button', { name: 'Take out rule 3' }).click();
  await page.getByRole('button', { name: 'Save the rules' }).click();
  await page.getByText('Saved. All contacts').waitFor();
  assert.equal(await page.locator('[data-rule]').count(), 3);
}
