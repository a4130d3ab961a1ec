import { misconfigured, TielineError } from './errors.js';

/**
 * Domains on which orgs and login hosts live, less those that serve no API. Source: Salesforce's own CLI library
 * (sfdx-core, `sfdcUrl.ts`).
 */
const SALESFORCE = [
  'salesforce.com',
  'force.com',
  'cloudforce.com',
  'database.com',
  'salesforce.mil',
  'crmforce.mil',
  'sfcrmproducts.cn',
  'sfcrmapps.cn',
];

/** Loopback, where a local org or the broker is. */
export function isLoopback(url: URL): boolean {
  return url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(url.hostname);
}

/** Passes a URL that a token or a credential may be sent to: Salesforce's domains over HTTPS, and loopback. */
export function allowedHost(what: string, text: string): URL {
  let url: URL;
  try {
    url = new URL(text.includes('://') ? text : `https://${text}`);
  } catch {
    throw misconfigured(`the ${what} is not a URL`, 'write it like https://acme.my.salesforce.com');
  }
  const host = url.hostname.toLowerCase().replace(/\.$/, '');
  const within = SALESFORCE.some((domain) => host === domain || host.endsWith(`.${domain}`));
  if (url.username !== '' || url.password !== '' || !(isLoopback(url) || (url.protocol === 'https:' && within))) {
    throw new TielineError('host_not_allowed', `the ${what} ${url.protocol}//${url.host} is not one of Salesforce's`, {
      hint: 'a token is only sent to Salesforce’s domains over https',
    });
  }
  return url;
}
