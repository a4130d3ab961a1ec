import type { Connection } from 'jsforce';

import { Connections, keyOf, MOST, type ConnectionSettings, type Own } from './connections.js';
import { misconfigured } from './errors.js';
import { JwtLogin, RefreshLogin, type AppSettings, type JwtSettings } from './login.js';

/** A login by refresh token, or nothing but a broker's connection. */
export type SalesforceConfig = ConnectionSettings & Partial<AppSettings>;

/** A login by JWT bearer, or nothing but a broker's connection. */
export type JwtConfig = ConnectionSettings & Partial<JwtSettings>;

/**
 * Connections by refresh token, one for each org and user.
 *
 * ```ts
 * const manager = SalesforceConnectionManager.getInstance();
 * const conn = await manager.getConnection({ clientId, clientSecret }, refreshToken);
 * await conn.query('SELECT Id, Name FROM Account');
 * ```
 */
export class SalesforceConnectionManager extends Connections {
  static #instance: SalesforceConnectionManager | undefined;

  /** The one of this process. */
  static getInstance(): SalesforceConnectionManager {
    return (SalesforceConnectionManager.#instance ??= new SalesforceConnectionManager());
  }

  /**
   * A jsforce connection whose token is valid, and renewed for all who use it.
   *
   * @param config the app; or `connection`, to ask the broker
   * @param refreshToken of the user; with rotation the newest one is kept here, and told by the event `rotated`
   * @param key names the connection [a digest of app and refresh token]
   */
  async getConnection(config: SalesforceConfig = {}, refreshToken?: string, key?: string): Promise<Connection> {
    const { clientId = '', clientSecret, loginUrl, reuse } = config;
    let own: Own | undefined;
    if (refreshToken) {
      const login = RefreshLogin.of({ clientId, clientSecret, loginUrl, reuse }, refreshToken);
      login.tell(this.#told(login.id, key));
      own = { id: login.id, source: login };
    } else if ((clientId || clientSecret) && config.connection === undefined) {
      throw misconfigured('an app is given, but no refresh token', 'pass the user’s refresh token, or name a connection of the broker');
    }
    return this.connect(key, config, own);
  }

  readonly #listeners = new Map<string, (refreshToken: string) => void>();

  /** The same function for the same login: it is told once. */
  #told(id: string, key: string | undefined): (refreshToken: string) => void {
    let listener = this.#listeners.get(id);
    if (listener === undefined) {
      listener = (refreshToken) => this.emit('rotated', { key: key ?? id, refreshToken });
      this.#listeners.set(id, listener);
    }
    return listener;
  }
}

/**
 * Connections by JWT bearer, one for each org and user.
 *
 * ```ts
 * const conn = await JWTConnectionManager.getInstance().getConnection({ clientId, username, privateKey });
 * ```
 */
export class JWTConnectionManager extends Connections {
  static #instance: JWTConnectionManager | undefined;

  /** The one of this process. */
  static getInstance(): JWTConnectionManager {
    return (JWTConnectionManager.#instance ??= new JWTConnectionManager());
  }

  /**
   * A jsforce connection whose token is valid, and renewed for all who use it.
   *
   * @param config app, user and key; or `connection`, to ask the broker
   */
  async getConnection(config: JwtConfig = {}): Promise<Connection> {
    const { clientId = '', clientSecret, loginUrl, reuse, username = '', privateKey, audience } = config;
    let own: Own | undefined;
    if (privateKey) {
      const id = keyOf('jwt', loginUrl, clientId, clientSecret, String(reuse), username, audience, privateKey);
      const login = this.#logins.get(id) ?? new JwtLogin({ clientId, clientSecret, loginUrl, reuse, username, privateKey, audience });
      this.#logins.set(id, login);
      for (const oldest of this.#logins.keys()) {
        if (this.#logins.size <= MOST) break;
        this.#logins.delete(oldest);
      }
      own = { id, source: login };
    } else if ((clientId || username) && config.connection === undefined) {
      throw misconfigured('an app is given, but no private key', 'pass the key in PEM, or name a connection of the broker');
    }
    return this.connect(undefined, config, own);
  }

  /** Reading a key takes a while, and refusals are remembered here. */
  readonly #logins = new Map<string, JwtLogin>();
}
