import { existsSync } from 'node:fs';

import { TielineError } from './errors.js';
import { allowedHost, isLoopback } from './hosts.js';
import { ask, parsed, type NoAnswer } from './request.js';
import { digest, type Token, type TokenSource } from './token.js';

/** It answers within a minute. */
const PATIENCE = 65_000;
const PORT = '2774';
const EXTENSION = '/opt/extensions/tieline-extension';

/** A broker, as the environment tells of it. */
export interface BrokerAddress {
  readonly url: string;
  readonly secret: string;
}

/**
 * The broker that this process can ask, if there is one: `TIELINE_BROKER_TOKEN` says so on any host; in Lambda the
 * extension is in the layer, and its secret is `AWS_SESSION_TOKEN`. `TIELINE_BROKER=off` says that there is none.
 */
export function brokerFromEnvironment(env: NodeJS.ProcessEnv = process.env): BrokerAddress | undefined {
  if (env['TIELINE_BROKER'] === 'off') return undefined;
  const inLambda = Boolean(env['AWS_LAMBDA_FUNCTION_NAME']) && (env['TIELINE_BROKER'] === 'on' || existsSync(EXTENSION));
  const secret =
    env['TIELINE_BROKER_TOKEN'] ||
    (inLambda ? env['AWS_SESSION_TOKEN'] || env['AWS_CONTAINER_AUTHORIZATION_TOKEN'] : undefined);
  if (!secret) return undefined;
  return { url: `http://localhost:${env['TIELINE_BROKER_PORT'] || PORT}`, secret };
}

/** Asks the broker for an org's token. */
export class BrokerSource implements TokenSource {
  #address: BrokerAddress;
  #connection: string;

  constructor(address: BrokerAddress, connection: string) {
    // The secret stays on this machine.
    if (!isLoopback(new URL(address.url))) {
      throw new TielineError('configuration', `the broker ${address.url} is not on this machine`, {
        hint: 'a broker runs beside each program that asks it: http://localhost:2774',
      });
    }
    this.#address = address;
    this.#connection = connection;
  }

  async fetch(refused?: string): Promise<Token> {
    const query = new URLSearchParams({ connection: this.#connection });
    if (refused !== undefined) query.set('seen', digest(refused));
    let status: number;
    let after: number;
    let text: string;
    try {
      const url = new URL(`${this.#address.url}/v1/token?${query}`);
      ({ status, after, text } = await ask(url, { patience: PATIENCE, headers: { 'X-Tieline-Token': this.#address.secret } }));
    } catch (error) {
      throw new TielineError('broker_unreachable', `the broker at ${this.#address.url} does not answer (${(error as NoAnswer).message})`, {
        hint: 'see that it runs: the layer in Lambda, `tieline broker` elsewhere; TIELINE_BROKER=off does without it',
        retryable: true,
        retryAfter: 1,
      });
    }
    const told = parsed(text);
    if (status !== 200 || !told['access_token'] || !told['instance_url']) {
      throw new TielineError(told['code'] ?? 'broker', told['message'] ?? `the broker answered HTTP ${status}`, {
        hint: told['hint'] ?? 'see the broker’s log',
        retryable: Boolean(told['retryable']),
        retryAfter: after > 0 ? after : undefined,
      });
    }
    const end = told['expires_at'] ? Date.parse(told['expires_at']) : Number.NaN;
    return {
      accessToken: told['access_token'],
      instanceUrl: allowedHost('instance URL', told['instance_url']).origin,
      apiVersion: told['api_version'],
      expiresAt: Number.isNaN(end) ? undefined : end,
    };
  }
}
