import { EventEmitter } from 'node:events';

import { Connection, type ConnectionConfig } from 'jsforce';

import { BrokerSource, brokerFromEnvironment } from './broker.js';
import { misconfigured } from './errors.js';
import { apart } from './login.js';
import { watchCalls } from './metrics.js';
import { thawSafe } from './thaw.js';
import { digest, SharedToken, type Token, type TokenSource } from './token.js';

/** Connections that are kept; the one that was used least recently goes first. */
export const MOST = 500;
/** A connection that nobody has asked for in so long is let go by `clearExpiredConnections`. */
const IDLE = 2 * 60 * 60_000;

/** What decides where a connection's token goes, and which one it is. */
const OURS = ['accessToken', 'instanceUrl', 'refreshFn', 'refreshToken', 'serverUrl', 'sessionId', 'signedRequest', 'version'] as const;

/** What all connections have in common. */
export interface ConnectionSettings {
  /** Which of the broker's connections to use where there is a broker: a name of `TIELINE_CONNECTIONS`, or `default`. */
  connection?: string | undefined;
  /** Version of the API, such as `67.0`; what the broker says, or jsforce's own, without it. */
  version?: string | undefined;
  /** Anything else for jsforce's `Connection`. */
  jsforce?: Omit<ConnectionConfig, (typeof OURS)[number]> | undefined;
}

/** How connections are doing, in numbers. */
export interface CacheStats {
  /** Connections in the cache. */
  size: number;
  /** Tokens answered from memory. */
  hits: number;
  /** Askers that waited for another one's request. */
  waits: number;
  /** Requests for a token, to the broker or the org. */
  requests: number;
  /** Tokens that the org refused. */
  refusals: number;
}

/** What a manager tells. */
export interface ManagerEvents {
  /** A connection has another token. */
  refresh: [told: { key: string; connection: Connection }];
  /** The org has replaced the refresh token: keep the new one, the old one is spent. */
  rotated: [told: { key: string; refreshToken: string }];
}

interface Entry {
  /** What it logs in with: the same key with another login is another connection. */
  readonly identity: string;
  readonly token: SharedToken;
  connection: Connection | undefined;
  usedAt: number;
}

/** A login, and a name for it that tells nothing of it. */
export interface Own {
  readonly id: string;
  readonly source: TokenSource;
}

/** Connections by key, each with a token that is renewed for all who use it. */
export class Connections extends EventEmitter<ManagerEvents> {
  readonly #entries = new Map<string, Entry>();

  /**
   * The connection of that key. Whoever asks while it is made waits for the same one; whoever asks later gets the same
   * object, with a token that is not over.
   *
   * @param own how to log in without a broker; `undefined` if nothing was given for it
   */
  protected async connect(key: string | undefined, settings: ConnectionSettings, own: Own | undefined): Promise<Connection> {
    const { id, source } = chosen(settings, own);
    const identity = keyOf(id, settings.version, JSON.stringify(settings.jsforce));
    const name = key ?? identity;
    let entry = this.#entries.get(name);
    if (entry?.identity !== identity) {
      const made: Entry = {
        identity,
        token: new SharedToken(source, (token) => this.#renewed(name, made, token)),
        connection: undefined,
        usedAt: 0,
      };
      entry = made;
    }
    // Most recently used last.
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MOST) break;
      this.#entries.delete(oldest);
    }
    entry.usedAt = Date.now();
    const token = await entry.token.get();
    // Somebody has logged it out: jsforce then renews nothing any more.
    if (entry.connection !== undefined && entry.connection._refreshDelegate == null) entry.connection = undefined;
    entry.connection ??= thawSafe(watchCalls(open(entry.token, token, settings)));
    return entry.connection;
  }

  #renewed(key: string, entry: Entry, token: Token): void {
    const { connection } = entry;
    if (connection === undefined) return;
    // jsforce does the same when it was refused; here it also happens when the time was over.
    connection.accessToken = token.accessToken;
    connection.instanceUrl = token.instanceUrl;
    // A call that is under way with the old token, and refused, is repeated with this one instead of ending it.
    const delegate = connection._refreshDelegate as unknown as { _lastRefreshedAt?: number } | null | undefined;
    if (delegate) delegate._lastRefreshedAt = Date.now();
    apart(() => this.emit('refresh', { key, connection }));
  }

  /** How the cache is doing. */
  getCacheStats(): CacheStats {
    const stats: CacheStats = { size: this.#entries.size, hits: 0, waits: 0, requests: 0, refusals: 0 };
    for (const { token } of this.#entries.values()) {
      stats.hits += token.counts.hits;
      stats.waits += token.counts.waits;
      stats.requests += token.counts.requests;
      stats.refusals += token.counts.refusals;
    }
    return stats;
  }

  /** Lets go of connections that nobody has asked for in two hours; answers how many. Those in use are not disturbed. */
  clearExpiredConnections(): number {
    const oldest = Date.now() - IDLE;
    const idle = [...this.#entries].filter(([, entry]) => entry.usedAt < oldest);
    for (const [key] of idle) this.#entries.delete(key);
    return idle.length;
  }

  /** Lets go of all connections; answers how many. */
  clearAllConnections(): number {
    const { size } = this.#entries;
    this.#entries.clear();
    return size;
  }

  /** Forgets tokens whose time is over; the connections stay, and get another one with the next use. Answers how many. */
  clearExpiredTokens(): number {
    const over = [...this.#entries.values()].filter(({ token }) => token.isOver);
    for (const { token } of over) token.forget();
    return over.length;
  }
}

function chosen(settings: ConnectionSettings, own: Own | undefined): Own {
  // Credentials that were given are never passed over for another org's: the broker is asked for what it was named for.
  const named = settings.connection ?? (own === undefined ? 'default' : undefined);
  const broker = named === undefined ? undefined : brokerFromEnvironment();
  if (broker !== undefined && named !== undefined) {
    return { id: `broker ${broker.url} ${named}`, source: new BrokerSource(broker, named) };
  }
  if (own !== undefined) return own;
  throw misconfigured(
    'no credentials were given, and there is no broker to ask',
    'add the layer with tieline-extension to the function, run `tieline broker` (TIELINE_BROKER_TOKEN), or give credentials',
  );
}

function open(shared: SharedToken, token: Token, { version, jsforce }: ConnectionSettings): Connection {
  const api = version ?? token.apiVersion;
  const others = Object.entries(jsforce ?? {}).filter(([name]) => !(OURS as readonly string[]).includes(name));
  return new Connection({
    ...Object.fromEntries(others),
    ...(api === undefined ? {} : { version: api.replace(/^v/, '') }),
    accessToken: token.accessToken,
    instanceUrl: token.instanceUrl,
    // Called when the org has refused the connection's token; jsforce then emits `refresh` and repeats the call.
    refreshFn: (conn, done) => {
      shared
        .insteadOf(conn.accessToken ?? '')
        .then((next) => {
          conn.instanceUrl = next.instanceUrl;
          done(null, next.accessToken);
        })
        // A listener of `refresh` that throws would otherwise leave all calls of the connection waiting for ever.
        .catch((error: Error) => done(error));
    },
  });
}

/** Names a connection by what it logs in with, without telling any of it. */
export function keyOf(...parts: (string | undefined)[]): string {
  return digest(JSON.stringify(parts.map((part) => part ?? null))).slice(0, 32);
}
