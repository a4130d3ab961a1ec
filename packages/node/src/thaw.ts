import type { Connection } from 'jsforce';
import * as request from 'jsforce/lib/request.js';

/** What has been idle for longer may be dead. */
const IDLE = 1_000;

/** Newer versions of jsforce keep connections open, in a pool that can be replaced. */
const { setDispatcher } = request as { setDispatcher?: () => void };
let usedAt = 0;

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
    if (Date.now() - usedAt > IDLE) setDispatcher();
    usedAt = Date.now();
    const sent = send(...call);
    const over = () => void (usedAt = Date.now());
    sent.then(over, over);
    return sent;
  };
  return connection;
}
