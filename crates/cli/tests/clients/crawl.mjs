// Every page that links lead to, as far as they stay within the service.
import assert from 'node:assert/strict';

import { inspect } from './browser.mjs';

const ID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|003[0-9A-Za-z]{12,15}|00Q[0-9A-Za-z]{12,15}/g;
/** Pages of one kind that are opened: with other ids, cursors or filters they are the same page. */
const OF_ONE_KIND = 1;
const MOST_PAGES = 200;
/** Where a link is more than a page: files, and the way to the org's login. */
const LEFT_OUT = [/^\/openapi\.json/, /^\/api\//, /^\/connect\?.*environment=/, /^\/assets\//];

/**
 * Follows links from the overview on. Each page answers, is what its heading says to everybody, can be read on a phone, and
 * shows what people typed as text. Answers the paths of what it saw.
 */
export async function crawl(page, url, { forbidden = [] } = {}) {
  const kinds = new Map();
  const queue = [['/', 'nowhere']];
  const known = new Set(['/']);
  const opened = [];
  while (queue.length && opened.length < MOST_PAGES) {
    const [path, from] = queue.shift();
    const kind = path.replaceAll(ID, ':id').replace(/([?&][a-z_]+=)[^&#]*/g, '$1…').replace(/#.*/, '');
    if ((kinds.get(kind) ?? 0) >= OF_ONE_KIND || LEFT_OUT.some((pattern) => pattern.test(path))) continue;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    opened.push(path);
    const answer = await page.goto(url + path, { waitUntil: 'load' });
    const status = answer.status();
    if (forbidden.includes(kind)) {
      assert.equal(status, 403, `${path} is not for them`);
    } else {
      assert.ok(status < 400, `${path}, to which ${from} leads, answers ${status}`);
    }
    assert.equal(await page.locator('h1').count(), 1, `${path} has one heading`);
    assert.equal(await page.locator('img[src="x"]').count(), 0, `${path} takes text for markup`);
    assert.notEqual(await page.title(), 'pwned', `${path} runs what somebody typed`);
    await page.setViewportSize({ width: 390, height: 844 });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, `${path} is ${width} pixels wide on a phone`);
    await page.setViewportSize({ width: 1280, height: 860 });
    await inspect(page, path);
    const links = await page.evaluate(() => [...document.querySelectorAll('a[href]')].map((link) => link.href));
    for (const link of links) {
      if (!link.startsWith(`${url}/`)) continue;
      const next = link.slice(url.length).replace(/#.*/, '') || '/';
      if (!known.has(next)) {
        known.add(next);
        queue.push([next, path]);
      }
    }
  }
  return opened;
}

/** Those of the paths that name something of a business by its id. */
export function named(paths) {
  return paths.filter((path) => path.replace(/[?].*/, '').match(ID));
}
