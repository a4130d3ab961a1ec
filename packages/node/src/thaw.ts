import type { Connection } from 'jsforce';
import * as request from 'jsforce/lib/request.js';

/** What has been idle for longer may be dead. */
const IDLE = 1_000;

/** Newer versions of jsforce keep connections open, in a pool (undici's `Dispatcher`) that can be replaced. */
const { setDispatcher } = request as { setDispatcher?: (pool?: unknown) => void };
let make: (() => unknown) | undefined;
let usedAt: number | undefined;

/**
 * Has jsforce send all calls of this process by a pool of the caller's, made by `pool` whenever a new one is needed: one
 * that goes through a proxy, or trusts a certificate authority of its own. Use this in AWS Lambda instead of jsforce's
 * `setDispatcher`, whose pool would be replaced after the first freeze.
 *
 * ```ts
 * useDispatcher(() => new EnvHttpProxyAgent());
 * ```
 */
export function useDispatcher(pool: () => unknown): void {
  make = pool;
  setDispatcher?.(pool());
}

/**
 * In AWS Lambda, has no call sent on a connection from before a pause.
 *
 * A function is frozen between its invocations. A gateway may forget its connections meanwhile, and nobody can tell it:
 * the first call after the thaw would fail, and jsforce does not repeat one that creates something. The pool that jsforce
 * uses (undici) counts idle time in ticks of its own, which do not pass in a freeze.
 */
export function thawSafe(connection: Connection): Connection {
  if (!process.env['AWS_LAMBDA_FUNCTION_NAME'] || setDispatcher === undefined) return connection;
  const transport = connection._transport;
  const send = transport.httpRequest.bind(transport);
  transport.httpRequest = (...call) => {
    const began = Date.now();
    if (usedAt !== undefined && began - usedAt > IDLE) setDispatcher(make?.());
    usedAt = began;
    const sent = send(...call);
    // A call that was under way in a freeze says nothing about the connections beside it.
    const over = () => {
      if (Date.now() - began <= IDLE) usedAt = Date.now();
    };
    sent.then(over, over);
    return sent;
  };
  return connection;
}
