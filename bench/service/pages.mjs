// What opening a page takes in a browser that has nothing of it yet: milliseconds to the first paint, bytes, requests.
//
//   node pages.mjs     SERVICE (as `tieline-bench service prepare` prints it), and what the walk's browser.mjs asks for
import { launch, weigh } from '../../crates/cli/tests/clients/browser.mjs';

const { who, address, cookie, integration } = JSON.parse(process.env.SERVICE);
const url = `http://${address}`;
const [name, ...value] = cookie.split('=');
const storageState = {
  cookies: [{ name, value: value.join('='), domain: '127.0.0.1', path: '/', expires: -1, httpOnly: true, secure: false, sameSite: 'Lax' }],
  origins: [],
};
const pages = {
  'overview': '/', 'connection': `/connections/${integration}`, 'setup': '/connections/new', 'leads': '/leads', 'contacts': '/contacts',
  'mappings': '/mappings', 'runs': '/runs', 'duplicates': '/duplicates', 'alerts': '/alerts', 'usage of 90 days': '/usage?days=90',
  'logs': '/logs', 'audit log': '/audit', 'team': '/team', 'API keys': '/keys', 'settings': '/settings', 'help': '/help',
};
const browser = await launch();
try {
  // The first page of a browser that has just begun is that of the browser.
  await weigh(browser, `${url}/`, storageState);
  for (const [page, path] of Object.entries(pages)) {
    const { paint, bytes, requests } = await weigh(browser, url + path, storageState);
    for (const [unit, value] of [['ms to first paint', paint], ['KB', bytes / 1e3], ['requests', requests]]) {
      console.log(JSON.stringify({ case: page, who, unit, value }));
    }
  }
} finally {
  await browser.close();
}
