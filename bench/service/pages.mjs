// What opening a page takes in a browser that has nothing of it yet: milliseconds to the answer's end and to the
// first paint, bytes, requests. And to the first paint where it has been on another page before, as from a visit's second
// page on.
//
//   node pages.mjs     SERVICE (as `tieline-bench service prepare` prints it), and what the walk's browser.mjs asks for
import { launch, weighIn } from '../../crates/cli/tests/clients/browser.mjs';

const { who, address, cookie, integration } = JSON.parse(process.env.SERVICE);
const url = `http://${address}`;
const [name, ...value] = cookie.split('=');
const storageState = {
  cookies: [{ name, value: value.join('='), domain: '127.0.0.1', path: '/', expires: -1, httpOnly: true, secure: false, sameSite: 'Lax' }],
  origins: [],
};
const pages = {
  // What any page takes in this browser on this machine.
  'a line of plain text': '/health/live',
  'overview': '/', 'connection': `/connections/${integration}`, 'setup': '/connections/new', 'leads': '/leads', 'contacts': '/contacts',
  'mappings': '/mappings', 'runs': '/runs', 'duplicates': '/duplicates', 'alerts': '/alerts', 'usage of 90 days': '/usage?days=90',
  'logs': '/logs', 'audit log': '/audit', 'team': '/team', 'API keys': '/keys', 'settings': '/settings', 'help': '/help',
};
const browser = await launch();
try {
  const page = await (await browser.newContext({ storageState })).newPage();
  // The first page of a browser that has just begun is that of the browser, and begins a process.
  await weighIn(page, `${url}/`, { keeps: true });
  for (const [name, path] of Object.entries(pages)) {
    // People look before they click: what the page before has yet to paint is not counted.
    await page.waitForTimeout(500);
    const { paint, answered, bytes, requests } = await weighIn(page, url + path);
    for (const [unit, value] of [['ms to answer', answered], ['ms to first paint', paint], ['KB', bytes / 1e3], ['requests', requests]]) {
      console.log(JSON.stringify({ case: name, who, unit, value }));
    }
    await page.waitForTimeout(500);
    const { paint: again } = await weighIn(page, url + path, { keeps: true });
    console.log(JSON.stringify({ case: name, who, unit: 'ms to first paint, second page', value: again }));
  }
} finally {
  await browser.close();
}
