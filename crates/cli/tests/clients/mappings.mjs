// Walks through a mapping's life: chosen, written in the editor with something wrong in it, tried, made, run, looked at, changed as
// text, paused, resumed and deleted. Each screen is photographed and inspected.
import assert from 'node:assert/strict';

/** Of an admin whose business has one connection, which has been synced. */
export async function mappings({ page, url, look, within, expected, browser, open }) {
  await page.goto(`${url}/mappings`);
  await page.getByRole('heading', { name: 'Mappings', level: 1 }).waitFor();
  await look(page, 'mappings');
  await page.getByRole('link', { name: 'New mapping' }).first().click();
  await look(page, 'mapping-choose');
  await page.getByLabel('Object, by name or label').fill('accou');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByRole('link', { name: 'Account', exact: true }).click();

  // A transform, a template, a path to a parent, and something wrong.
  await page.getByLabel('Name', { exact: false }).first().fill('firms');
  await page.getByRole('checkbox', { name: /^All fields/ }).uncheck();
  const row = async (n, source, from, column) => {
    await page.getByRole('button', { name: 'Add a column' }).click();
    const one = page.locator(`#column-${n}`);
    await one.getByLabel('Source').selectOption(source);
    await one.getByLabel('Field, template or value').fill(from);
    await one.getByLabel('Column name').fill(column);
    return one;
  };
  const name = await row(0, 'field', 'Nam', '');
  await name.getByLabel('Another transform').fill('collapse');
  await name.getByLabel('Another transform').last().fill('lowr');
  await row(1, 'template', '{Name} ({Owner.Name})', 'full_name');
  await row(2, 'field', 'Owner.Name', '');
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  await page.getByText('2 things do not fit.').waitFor();
  await page.getByText('did you mean `Name`?').first().waitFor();
  assert.equal(await page.locator('[data-flaw="columns[0].field"]').count(), 1);
  assert.equal(await page.locator('#column-0 [aria-invalid]').count(), 2);
  await look(page, 'mapping-flaws');
  await page.locator('#column-0').getByLabel('Field, template or value').fill('Name');
  await page.locator('#column-0').getByLabel('Transform 2').fill('upper');
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  await page.locator('[data-preview]').waitFor();
  const written = await page.locator('[data-preview] tbody tr').first().locator('td').first().innerText();
  assert.ok(written.split('\n')[0] === written.split('\n')[0].toUpperCase(), written);
  await look(page, 'mapping-preview');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('The mapping is made.').waitFor();
  const mapping = new URL(page.url()).pathname;

  // The first run comes by itself.
  await page.locator('[data-mapping-state=synced]').waitFor({ timeout: 20_000 });
  await within(10_000, 'no run ended', async () => (await page.locator('a.pill.good').count()) > 0);
  await page.goto(url + mapping);
  await look(page, 'mapping');
  await page.locator('[data-run] a.pill').last().click();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  await look(page, 'run');
  await page.goto(`${url}/runs`);
  assert.ok((await page.locator('[data-run]').count()) > 1);
  await look(page, 'runs');
  await page.getByLabel('Mapping').selectOption({ label: 'firms' });
  await page.getByRole('button', { name: 'Show' }).click();
  await page.waitForURL(/mapping=/);
  assert.equal(await page.locator('[data-run] th', { hasText: 'contacts' }).count(), 0);

  // Changed as text; without script, too.
  await page.goto(`${url}${mapping}/edit`);
  await page.getByRole('button', { name: 'As text' }).click();
  const text = page.getByRole('textbox', { name: 'Definition' });
  const definition = await text.inputValue();
  assert.ok(definition.includes('template = "{Name} ({Owner.Name})"'), definition);
  await look(page, 'mapping-text');
  await text.fill(`${definition}\n[[columns]]\nfield = "Phone"\n`);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('fills columns that are new').waitFor();
  await withoutScript(browser, open, page, url + mapping);

  await page.getByText('Pause…').click();
  await page.getByLabel('Reason').fill('the org moves');
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await page.getByText('Paused: the org moves').first().waitFor();
  await look(page, 'mapping-paused');
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('It goes on.').waitFor();
  expected.add(400);
  await page.getByText('Delete…').click();
  await page.getByLabel('Type').fill('another');
  await page.getByRole('button', { name: 'Delete for good' }).click();
  await page.getByRole('alert').filter({ hasText: 'nothing was deleted' }).waitFor();
  expected.delete(400);
  await page.getByText('Delete…').click();
  await look(page, 'mapping-delete');
  await page.getByLabel('Type').fill('firms');
  // What is live on the page that is left may ask once more.
  expected.add(404);
  await page.getByRole('button', { name: 'Delete for good' }).click();
  await page.getByText('Deleted.').waitFor();
  await page.goto(url);
  expected.delete(404);
}

/** A column is added, filled in and taken out again by the buttons alone. */
async function withoutScript(browser, open, ours, mapping) {
  const storageState = await ours.context().storageState();
  const { context, page, problems } = await open(browser, { storageState, javaScriptEnabled: false });
  await page.goto(`${mapping}/edit`);
  const before = await page.locator('fieldset').count();
  await page.getByRole('button', { name: 'Add a column' }).click();
  assert.equal(await page.locator('fieldset').count(), before + 1);
  const added = page.locator(`#column-${before}`);
  await added.getByLabel('Field, template or value').fill('Nothing__c');
  // Enter checks, and takes no column out.
  await page.keyboard.press('Enter');
  await page.locator(`[data-flaw="columns[${before}].field"]`).waitFor();
  await added.getByRole('button', { name: /^Remove/ }).click();
  assert.equal(await page.locator('fieldset').count(), before);
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  await page.locator('[data-preview]').waitFor();
  assert.deepEqual(problems, [], 'the browser complained');
  await context.close();
}
