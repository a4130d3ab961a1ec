import { createHash } from 'node:crypto';

import { TielineError } from './errors.js';

/** A token that is refused within so many milliseconds was dead from the start. */
const STILLBORN = 10_000;

/** A token and where it may be used. */
export interface Token {
  /** The bearer token. */
  readonly accessToken: string;
  /** Scheme and host of the org's APIs, without a slash at the end. */
  readonly instanceUrl: string;
  /** Version of the API to call, where the broker says so. */
  readonly apiVersion?: string | undefined;
  /** When it is replaced, in milliseconds since 1970; `undefined`: when the org refuses it. */
  readonly expiresAt?: number | undefined;
}

/** Where tokens come from. */
export interface TokenSource {
  /** Any token, or another one than `refused`. */
  fetch(refused?: string): Promise<Token>;
}

/** What a source was asked, in numbers. */
export interface TokenCounts {
  /** Answers from memory. */
  hits: number;
  /** Askers that waited for another one's request. */
  waits: number;
  /** Requests to the source. */
  requests: number;
  /** Tokens that the org refused. */
  refusals: number;
}

/**
 * One token for all who ask: at most one request at a time, however many wait for it; a token that was refused is
 * replaced once, however many report it.
 */
export class SharedToken {
  readonly counts: TokenCounts = { hits: 0, waits: 0, requests: 0, refusals: 0 };
  #source: TokenSource;
  #token: Token | undefined;
  #fetchedAt = 0;
  /** Tokens in a row that were refused as soon as they had come. */
  #stillborn = 0;
  /** The last one, also when it is forgotten: who holds it must hear of the next. */
  #last: string | undefined;
  #coming: Promise<Token> | undefined;
  #onChange: (token: Token) => void;

  constructor(source: TokenSource, onChange: (token: Token) => void) {
    this.#source = source;
    this.#onChange = onChange;
  }

  /** The token at hand, if its time is not over. */
  get current(): Token | undefined {
    const token = this.#token;
    return token !== undefined && (token.expiresAt === undefined || Date.now() < token.expiresAt) ? token : undefined;
  }

  /** A token to call with. */
  async get(): Promise<Token> {
    const token = this.current;
    if (token !== undefined) {
      this.counts.hits += 1;
      return token;
    }
    return this.#renew(undefined);
  }

  /** Another token than this one, which the org has refused. Who comes late gets the one that has replaced it. */
  async insteadOf(refused: string): Promise<Token> {
    const token = this.#token;
    if (token !== undefined && token.accessToken !== refused) return this.get();
    const first = this.#coming === undefined && refused === this.#last;
    if (!first) return this.#renew(refused);
    // A call that is refused with every token (an IP rule, a resource that answers 401 by itself) would log in for ever.
    if (Date.now() - this.#fetchedAt >= STILLBORN) this.#stillborn = 0;
    if (this.#stillborn >= 2) {
      throw new TielineError('refused_again', 'the org refuses even the token that it has just issued', {
        hint: 'check the user’s session settings and IP ranges in the org, and what the call itself answers',
      });
    }
    const next = await this.#renew(refused);
    this.#stillborn += 1;
    return next;
  }

  /** The token at hand has ended by its time. */
  get isOver(): boolean {
    return this.#token !== undefined && this.current === undefined;
  }

  /** The next asker asks the source. */
  forget(): void {
    this.#token = undefined;
  }

  async #renew(refused: string | undefined): Promise<Token> {
    if (this.#coming !== undefined) {
      this.counts.waits += 1;
      const token = await this.#coming;
      // What was asked for before the refusal was known may be the refused one.
      return token.accessToken === refused ? this.insteadOf(refused) : token;
    }
    if (refused !== undefined) this.counts.refusals += 1;
    this.counts.requests += 1;
    this.#coming = this.#source.fetch(refused);
    try {
      const token = await this.#coming;
      const changed = this.#last !== undefined && this.#last !== token.accessToken;
      this.#token = token;
      this.#last = token.accessToken;
      this.#fetchedAt = Date.now();
      if (changed) this.#onChange(token);
      return token;
    } finally {
      this.#coming = undefined;
    }
  }
}

/** SHA-256 in hexadecimal: names a secret without telling it. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
