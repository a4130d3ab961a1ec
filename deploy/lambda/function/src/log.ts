/** Severity, as Lambda's log level filter reads it. */
export type Level = 'DEBUG' | 'INFO' | 'WARN' | 'ERROR';

/** What a line may say beside its message. No names, no addresses, no tokens: only ids, codes and counts. */
export type Facts = Record<string, string | number | boolean | undefined>;

/**
 * One JSON object a line. Not by `console`: with Lambda's JSON log format it wraps a line in another object, and CloudWatch
 * then finds no fields in it.
 */
export function log(level: Level, message: string, facts: Facts = {}): void {
  const line = { timestamp: new Date().toISOString(), level, message, stage: process.env['STAGE'], ...facts };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
