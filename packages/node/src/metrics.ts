import type { Connection } from 'jsforce';

/** An org's calls are told of this often at most: CloudWatch is paid by the line. */
const EVERY = 60_000;

interface LimitInfo {
  apiUsage?: { used: number; limit: number };
}

/**
 * In AWS Lambda, has the calls that an org has left written to the function's log, in CloudWatch's embedded metric format:
 * `ApiCallsLeft` and `ApiCallsLeftPercent` by `FunctionName`. Everything about tokens is told by the extension.
 *
 * jsforce reads the header `Sforce-Limit-Info` of each answer into `connection.limitInfo`, and tells nobody.
 */
export function watchCalls(connection: Connection): Connection {
  const { AWS_LAMBDA_FUNCTION_NAME: name, TIELINE_METRICS, TIELINE_METRICS_NAMESPACE: namespace } = process.env;
  if (!name || TIELINE_METRICS?.trim() === 'off') return connection;
  let info: LimitInfo = connection.limitInfo;
  let toldAt = 0;
  Object.defineProperty(connection, 'limitInfo', {
    configurable: true,
    enumerable: true,
    get: () => info,
    set: (now: LimitInfo) => {
      info = now;
      if (now.apiUsage === undefined || Date.now() - toldAt < EVERY) return;
      toldAt = Date.now();
      // Not by `console`: with JSON logs Lambda would wrap the line, and CloudWatch would not know it.
      process.stdout.write(`${line(namespace?.trim() || 'tieline', name, now.apiUsage)}\n`);
    },
  });
  return connection;
}

function line(namespace: string, name: string, { used, limit }: { used: number; limit: number }): string {
  const left = Math.max(limit - used, 0);
  const metrics = [
    { Name: 'ApiCallsLeft', Unit: 'Count' },
    { Name: 'ApiCallsLeftPercent', Unit: 'Percent' },
  ];
  return JSON.stringify({
    _aws: {
      Timestamp: Date.now(),
      CloudWatchMetrics: [{ Namespace: namespace, Dimensions: [['FunctionName']], Metrics: metrics }],
    },
    FunctionName: name,
    ApiCallsLeft: left,
    ApiCallsLeftPercent: Math.round((left / Math.max(limit, 1)) * 1000) / 10,
  });
}
