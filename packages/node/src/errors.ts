/** Why there is no token: what happened, whether it may work later as it is, and the next act. */
export class TielineError extends Error {
  /**
   * A word to branch on: `reauth_required`, `login_limit`, `upstream`, `upstream_unreachable`, `configuration`,
   * `host_not_allowed`, `broker_unreachable`, or one of the broker's (docs/broker.md).
   */
  readonly code: string;
  /** True if the same may succeed later. */
  readonly retryable: boolean;
  /** The next act. */
  readonly hint: string;
  /** Seconds after which it is worth another try, where that is known. */
  readonly retryAfter: number | undefined;

  constructor(code: string, message: string, told: { hint: string; retryable?: boolean; retryAfter?: number | undefined }) {
    super(`${message}\nhint: ${told.hint}`);
    this.name = 'TielineError';
    this.code = code;
    this.hint = told.hint;
    this.retryable = told.retryable ?? false;
    this.retryAfter = told.retryAfter;
  }
}

/** The settings cannot lead to a login. */
export function misconfigured(message: string, hint: string): TielineError {
  return new TielineError('configuration', message, { hint });
}
