import { Agent as HttpAgent, request as http } from 'node:http';
import { Agent as HttpsAgent, request as https, type AgentOptions } from 'node:https';

import { isLoopback } from './hosts.js';

/** How long a connection may take to come about. */
const CONNECTING = 10_000;
/** A token response has a few thousand bytes; what is longer comes from somebody else. */
const LONGEST = 1_000_000;

interface Asking {
  /** Milliseconds. */
  readonly patience: number;
  /** Makes it a POST. */
  readonly form?: URLSearchParams;
  readonly headers?: Record<string, string>;
}

/** What came back. */
export interface Answer {
  readonly status: number;
  /** `Retry-After` in seconds; NaN without it. */
  readonly after: number;
  readonly text: string;
}

/** There was no answer. */
export class NoAnswer extends Error {
  constructor(
    cause: unknown,
    /** The request may have arrived. */
    readonly sent: boolean,
  ) {
    super(reason(cause));
    this.name = 'NoAnswer';
  }
}

/**
 * One request on a connection of its own: one that somebody else has opened before may be dead, after a freeze or behind a
 * load balancer, and a refresh token that was sent into the void may be spent. The broker's secret stays on this machine; to
 * Salesforce the variables of a proxy hold where Node itself minds them (`NODE_USE_ENV_PROXY`).
 *
 * @throws NoAnswer
 */
export function ask(url: URL, { patience, form, headers }: Asking): Promise<Answer> {
  const body = form?.toString();
  const type = body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' };
  const secure = url.protocol === 'https:';
  const proxied = process.env['NODE_USE_ENV_PROXY'] === '1' && !isLoopback(url);
  // Known to Node 22.21 and newer; others pass it over.
  const settings = (proxied ? { proxyEnv: process.env } : {}) as AgentOptions;
  const options = {
    agent: secure ? new HttpsAgent(settings) : new HttpAgent(settings),
    method: body === undefined ? 'GET' : 'POST',
    headers: { accept: 'application/json', ...type, ...headers },
    signal: AbortSignal.timeout(patience),
  };
  return new Promise((resolve, reject) => {
    let sent = false;
    const failed = (error: unknown) => reject(new NoAnswer(error, sent));
    const request = (secure ? https : http)(url, options, (answer) => {
      const chunks: Buffer[] = [];
      let length = 0;
      answer.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > LONGEST) request.destroy(new Error(`the answer is longer than ${LONGEST} bytes`));
        else chunks.push(chunk);
      });
      answer.on('error', failed);
      answer.on('end', () => {
        const after = Number(answer.headers['retry-after'] ?? NaN);
        resolve({ status: answer.statusCode ?? 0, after, text: Buffer.concat(chunks).toString('utf8') });
      });
    });
    const slow = setTimeout(() => request.destroy(new Error('no connection in time')), CONNECTING);
    request.on('socket', (socket) => {
      // Before that nothing of the request is on the wire: name, route, certificate.
      const connected = () => {
        sent = true;
        clearTimeout(slow);
      };
      const isComing = socket.connecting || (secure && (socket as { secureConnecting?: boolean }).secureConnecting !== false);
      if (isComing) socket.once(secure ? 'secureConnect' : 'connect', connected);
      else connected();
    });
    request.on('close', () => clearTimeout(slow));
    request.on('error', failed);
    request.end(body);
  });
}

/** The members of a JSON object; none of what is no JSON. */
export function parsed(text: string): Record<string, string | undefined> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, string | undefined>) : {};
  } catch {
    return {};
  }
}

/** The innermost cause of a failed request: `ECONNREFUSED` rather than a sentence. */
function reason(error: unknown): string {
  let cause = error;
  while (cause instanceof Error && cause.cause !== undefined) cause = cause.cause;
  if (cause instanceof AggregateError && cause.errors.length > 0) cause = cause.errors[0];
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : cause instanceof Error ? cause.message : String(cause);
}
