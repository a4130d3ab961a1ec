import { createPrivateKey, createSign, type KeyObject } from 'node:crypto';

import { misconfigured, TielineError } from './errors.js';
import { allowedHost, isLoopback } from './hosts.js';
import { ask, parsed, type Answer, type NoAnswer } from './request.js';
import { digest, type Token, type TokenSource } from './token.js';

/** Life of an assertion in seconds: Salesforce's documents say three minutes; this leaves room for clocks that differ. */
const ASSERTION = 160;
/** How long a token is reused unless told otherwise, in seconds: by JWT, and by refresh token. */
const REUSE = { jwt: 150, refresh: 30 * 60 };
/** A token response that takes longer is lost anyway. */
const PATIENCE = 30_000;
/** How long a refusal is remembered: twice as long each time. A broken credential must not eat the login limit. */
const MEMORY = { first: 5_000, longest: 15 * 60_000 };

/** What every login needs. */
export interface AppSettings {
  /** Consumer key of the app. */
  clientId: string;
  /** Consumer secret; an app without one must not send any. */
  clientSecret?: string | undefined;
  /** Token host: `https://login.salesforce.com` (the default), `https://test.salesforce.com`, or a My Domain. */
  loginUrl?: string | undefined;
  /**
   * Seconds that a token is used before another one is fetched, or `until_refused`. [By JWT 150, by refresh token
   * 1800]
   */
  reuse?: number | 'until_refused' | undefined;
}

/** A login by JWT bearer. */
export interface JwtSettings extends AppSettings {
  /** The user whom the app logs in. */
  username: string;
  /** RSA private key in PEM; `\n` may be written for its line breaks. */
  privateKey: string;
  /** `aud` of the assertion, where the rule by host does not fit. */
  audience?: string | undefined;
}

/** One attempt at the token endpoint at a time, however many ask, and a memory of refusals. */
abstract class Login implements TokenSource {
  protected readonly loginUrl: URL;
  protected settings: AppSettings;
  #refused: { error: TielineError; until: number; count: number } | undefined;
  #coming: Promise<Token> | undefined;

  constructor(settings: AppSettings) {
    if (!settings.clientId) {
      throw misconfigured('clientId is missing', 'set it to the consumer key of your app');
    }
    this.loginUrl = tokenHost(settings);
    this.settings = settings;
  }

  protected abstract form(): Record<string, string>;
  protected abstract readonly defaultReuse: number;
  protected onAnswer(_answer: Record<string, string | undefined>): void {}
  /** Before anything is sent: whether what was sent last may be sent again. */
  protected async ready(): Promise<void> {}
  /** Something was sent, and nobody knows what became of it. */
  protected onLost(): void {}

  fetch(): Promise<Token> {
    this.#coming ??= this.#attempt().finally(() => {
      this.#coming = undefined;
    });
    return this.#coming;
  }

  async #attempt(): Promise<Token> {
    const before = this.#refused;
    if (before !== undefined && Date.now() < before.until) throw before.error;
    try {
      await this.ready();
      const token = await this.#logIn();
      this.#refused = undefined;
      return token;
    } catch (error) {
      if (error instanceof TielineError && (!error.retryable || error.retryAfter !== undefined)) {
        const count = (before?.count ?? 0) + 1;
        const wait = Math.max(Math.min(MEMORY.first * 2 ** (count - 1), MEMORY.longest), (error.retryAfter ?? 0) * 1_000);
        this.#refused = { error, until: Date.now() + wait, count };
      }
      throw error;
    }
  }

  /** Asks an OAuth endpoint of the login host. */
  protected post(endpoint: string, fields: Record<string, string>): Promise<Answer> {
    const { clientId, clientSecret } = this.settings;
    const form = new URLSearchParams({ ...fields, client_id: clientId });
    if (clientSecret) form.set('client_secret', clientSecret);
    return ask(new URL(`/services/oauth2/${endpoint}`, this.loginUrl), { patience: PATIENCE, form });
  }

  async #logIn(): Promise<Token> {
    const host = this.loginUrl.origin;
    const answer = await this.post('token', this.form()).catch((error: NoAnswer) => {
      if (error.sent) this.onLost();
      throw new TielineError('upstream_unreachable', `${host} cannot be reached (${error.message})`, {
        hint: 'check the network, and that loginUrl is right',
        retryable: true,
      });
    });
    const told = parsed(answer.text);
    if (answer.status !== 200 || !told['access_token'] || !told['instance_url']) {
      // A gateway's page, or half an answer: the org may have done its part.
      if (!told['error']) this.onLost();
      throw refusal(host, answer, told);
    }
    this.onAnswer(told);
    const seconds = this.settings.reuse ?? this.defaultReuse;
    return {
      accessToken: told['access_token'],
      instanceUrl: allowedHost('instance URL', told['instance_url']).origin,
      expiresAt: seconds === 'until_refused' ? undefined : Date.now() + seconds * 1_000,
    };
  }
}

function tokenHost(settings: AppSettings): URL {
  return allowedHost('login URL', settings.loginUrl ?? 'https://login.salesforce.com');
}

/** Logs in by a signed assertion. */
export class JwtLogin extends Login {
  protected readonly defaultReuse = REUSE.jwt;
  #settings: JwtSettings;
  #key: KeyObject;

  constructor(settings: JwtSettings) {
    super(settings);
    if (!settings.username) throw misconfigured('username is missing', 'set it to the user whom the app logs in');
    this.#settings = settings;
    try {
      this.#key = createPrivateKey(settings.privateKey.replaceAll('\\n', '\n'));
    } catch {
      throw misconfigured('the private key cannot be used: it is not an unencrypted key in PEM', 'pass the whole file, its BEGIN and END lines included');
    }
    if (this.#key.asymmetricKeyType !== 'rsa') {
      throw misconfigured(`the private key is ${this.#key.asymmetricKeyType}, and Salesforce takes RSA only`, 'make one: openssl genrsa 2048');
    }
  }

  protected form(): Record<string, string> {
    // Signed when it is sent: a process that was frozen in between must not send an assertion that has ended.
    const claims = {
      iss: this.#settings.clientId,
      sub: this.#settings.username,
      aud: this.#settings.audience ?? audience(this.loginUrl),
      exp: Math.floor(Date.now() / 1_000) + ASSERTION,
    };
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const message = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}`;
    const signature = createSign('RSA-SHA256').update(message).sign(this.#key, 'base64url');
    return { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: `${message}.${signature}` };
  }
}

/** Logins by refresh token of this process, by what they are known under; the same for both module systems. */
const KNOWN: unique symbol = Symbol.for('tieline.refresh-logins') as never;
const known = ((globalThis as { [KNOWN]?: Map<string, RefreshLogin> })[KNOWN] ??= new Map<string, RefreshLogin>());

/**
 * Logs in by a refresh token, and keeps the newer one where the app rotates them. There is one for all that comes from
 * one refresh token: two would spend each other's, and the org takes that for theft and ends everything.
 */
export class RefreshLogin extends Login {
  protected readonly defaultReuse = REUSE.refresh;
  /** Names everything that comes from the same refresh token. */
  readonly id: string;
  #refreshToken: string;
  /** Whether the org replaces refresh tokens; unknown before the first answer. */
  #rotates: boolean | undefined;
  /** The refresh token was sent, and no answer came. */
  #lost = false;
  readonly #listeners = new Set<(refreshToken: string) => void>();

  private constructor(settings: AppSettings, refreshToken: string, id: string) {
    super(settings);
    this.#refreshToken = refreshToken;
    this.id = id;
  }

  /** The login that this refresh token belongs to, with these settings from now on. */
  static of(settings: AppSettings, refreshToken: string): RefreshLogin {
    const name = RefreshLogin.#name(settings, refreshToken);
    const there = known.get(name);
    if (there !== undefined) {
      there.settings = settings;
      return there;
    }
    const made = new RefreshLogin(settings, refreshToken, name);
    known.set(name, made);
    return made;
  }

  static #name(settings: AppSettings, refreshToken: string): string {
    return digest(JSON.stringify([tokenHost(settings).origin, settings.clientId, refreshToken]));
  }

  /** Tells the listener of each new refresh token, once however often it is given. */
  tell(listener: (refreshToken: string) => void): void {
    this.#listeners.add(listener);
  }

  protected form(): Record<string, string> {
    return { grant_type: 'refresh_token', refresh_token: this.#refreshToken };
  }

  protected override onAnswer(answer: Record<string, string | undefined>): void {
    const next = answer['refresh_token'];
    this.#rotates = Boolean(next) && next !== this.#refreshToken;
    if (!next || !this.#rotates) return;
    this.#refreshToken = next;
    known.set(RefreshLogin.#name(this.settings, next), this);
    for (const listener of this.#listeners) apart(() => listener(next));
  }

  protected override onLost(): void {
    this.#lost = true;
  }

  /** A refresh token whose answer was lost is sent again only if the org says that it is not spent. */
  protected override async ready(): Promise<void> {
    if (!this.#lost) return;
    const hint = 'log in again for a new refresh token';
    const uncertain = new TielineError('reauth_required', 'the answer to a refresh was lost, and the refresh token may be spent', { hint });
    // Only an app with a secret may ask. One that has not replaced the last token will not have replaced this one.
    if (!this.settings.clientSecret) {
      if (this.#rotates === false) return;
      throw uncertain;
    }
    const { text } = await this.post('introspect', { token: this.#refreshToken, token_type_hint: 'refresh_token' }).catch((error: NoAnswer) => {
      throw new TielineError('upstream_unreachable', `${this.loginUrl.origin} cannot be reached (${error.message})`, {
        hint: 'check the network; the org must say what became of the last refresh',
        retryable: true,
      });
    });
    if ((parsed(text)['active'] as unknown) !== true) throw uncertain;
    this.#lost = false;
  }
}

/** Calls a listener; what it throws is its own, and reaches nobody but the process. */
export function apart(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}

/** The `aud` of an assertion: an org is reached at its My Domain, but addressed as `login` or `test`. */
function audience(loginUrl: URL): string {
  const host = loginUrl.hostname;
  if (host === 'login.salesforce.com' || host === 'test.salesforce.com' || isLoopback(loginUrl)) return loginUrl.origin;
  if (host.endsWith('.sandbox.my.salesforce.com')) return 'https://test.salesforce.com';
  return host.endsWith('.my.salesforce.com') ? 'https://login.salesforce.com' : loginUrl.origin;
}

function refusal(host: string, answer: Answer, told: Record<string, string | undefined>): TielineError {
  const { error, error_description: description = '' } = told;
  if (!error) {
    return new TielineError('upstream', `${host} answered HTTP ${answer.status} with something that is no token response`, {
      hint: 'check loginUrl; if it is right, try again in a few minutes',
      retryable: answer.status >= 500 || answer.status === 429,
    });
  }
  const message = `${host} answered ${error} (${description})`;
  if (/login rate exceeded/i.test(description) || error === 'rate_limit_exceeded') {
    return new TielineError('login_limit', message, { hint: 'share one token: the broker with a token store does', retryable: true, retryAfter: 60 });
  }
  if (/server_error|unavailable|system_down|unknown_error/.test(error)) {
    return new TielineError('upstream', message, { hint: 'try again later; see https://status.salesforce.com', retryable: true });
  }
  return new TielineError('reauth_required', message, { hint: 'docs/errors.md says what each answer means and what to do' });
}
