import { randomUUID } from 'node:crypto';

/** A lead as it travels through the queue. */
export interface Lead {
  /** The value of the external id field. The same id twice is the same lead: sending again is harmless. */
  readonly id: string;
  readonly lastName: string;
  readonly company: string;
  readonly firstName?: string;
  readonly email?: string;
  readonly phone?: string;
}

/** What was sent is no lead. `message` names fields and rules, never what stood in them. */
export class NotALead extends Error {
  override readonly name = 'NotALead';
}

/** The longest body that is read; a lead of the longest fields is a fifth of it. */
const LONGEST_BODY = 16_384;

/** Lengths are Salesforce's for the standard fields of Lead. An id becomes part of a URL, and jsforce does not escape it. */
const FIELDS: Record<keyof Lead, { longest: number; needed?: true; form?: RegExp; is?: string }> = {
  id: { longest: 80, form: /^[A-Za-z0-9][A-Za-z0-9_-]*$/, is: 'letters, digits, _ and -, not beginning with _ or -' },
  lastName: { longest: 80, needed: true },
  company: { longest: 255, needed: true },
  firstName: { longest: 40 },
  email: { longest: 80, form: /^[^\s@]+@[^\s@]+\.[^\s@]+$/, is: 'an e-mail address' },
  phone: { longest: 40, form: /^[0-9+()\-./ xX]+$/, is: 'a phone number' },
};

/**
 * Reads a lead from JSON. A lead without an id gets a random one. Unknown fields are refused, so that a misspelt one is
 * noticed.
 */
export function readLead(text: string): Lead {
  if (text.length > LONGEST_BODY) throw new NotALead(`the body is longer than ${LONGEST_BODY} characters`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new NotALead('the body is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new NotALead('the body is not a JSON object');
  const given = value as Record<string, unknown>;
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(FIELDS, name)).length;
  if (unknown > 0) throw new NotALead(`${unknown} unknown field(s); known are ${Object.keys(FIELDS).join(', ')}`);

  const lead: Record<string, string> = { id: randomUUID() };
  for (const [name, rule] of Object.entries(FIELDS)) {
    const field = given[name];
    if (field === undefined || field === null || field === '') {
      if (rule.needed) throw new NotALead(`${name} is missing`);
      continue;
    }
    if (typeof field !== 'string') throw new NotALead(`${name} is not text`);
    const trimmed = field.trim();
    if (rule.needed && trimmed === '') throw new NotALead(`${name} is missing`);
    if (trimmed.length > rule.longest) throw new NotALead(`${name} is longer than ${rule.longest} characters`);
    if (rule.form && !rule.form.test(trimmed)) throw new NotALead(`${name} is not ${rule.is}`);
    lead[name] = trimmed;
  }
  return lead as unknown as Lead;
}

/** The lead as the org's API takes it, with the external id under its field name. */
export function toRecord({ id, ...lead }: Lead, externalId: string): Record<string, string> {
  const record: Record<string, string> = { [externalId]: id };
  for (const [name, value] of Object.entries(lead)) record[name[0]?.toUpperCase() + name.slice(1)] = value;
  return record;
}
