import { Agent as HttpAgent, request as http } from 'node:http';
import { Agent as HttpsAgent, request as https } from 'node:https';

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

/**
 * One request on a connection of its own. One that somebody else has opened before may be dead, after a freeze or behind a
 * load balancer, and a refresh token that was sent into the void may be spent. And `fetch` may go through a proxy, which
 * the broker's secret must not.
 */
export function ask(url: URL, { patience, form, headers }: Asking): Promise<Answer> {
  const body = form?.toString();
  const type = body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' };
  const [send, agent] = url.protocol === 'https:' ? [https, new HttpsAgent()] : [http, new HttpAgent()];
  const options = {
    agent,
    method: body === undefined ? 'GET' : 'POST',
    headers: { accept: 'application/json', ...type, ...headers },
    signal: AbortSignal.timeout(patience),
  };
  return new Promise((resolve, reject) => {
    const request = send(url, options, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const after = Number(answer.headers['retry-after'] ?? NaN);
        resolve({ status: answer.statusCode ?? 0, after, text: Buffer.concat(chunks).toString('utf8') });
      });
    });
    request.on('error', reject);
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
export function reason(error: unknown): string {
  let cause = error;
  while (cause instanceof Error && cause.cause !== undefined) cause = cause.cause;
  if (cause instanceof AggregateError && cause.errors.length > 0) cause = cause.errors[0];
  const code = (cause as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : cause instanceof Error ? cause.message : String(cause);
}
