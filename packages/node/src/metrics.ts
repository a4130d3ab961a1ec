import type { Connection } from 'jsforce';

/** They are told of this often at most: CloudWatch is paid by the line. */
const EVERY = 60_000;

interface Usage {
  used: number;
  limit: number;
}

/** Of the org with the smallest share left since the last line. */
let scarcest: Usage | undefined;
let toldAt = 0;

/**
 * In AWS Lambda, has the calls that an org has left written to the function's log, in CloudWatch's embedded metric format:
 * `ApiCallsLeft` and `ApiCallsLeftPercent` by `FunctionName`. Everything about tokens is told by the extension.
 *
 * jsforce reads the header `Sforce-Limit-Info` of each answer into `connection.limitInfo`, and tells nobody.
 */
export function watchCalls(connection: Connection): Connection {
  const { AWS_LAMBDA_FUNCTION_NAME: name, TIELINE_METRICS, TIELINE_METRICS_NAMESPACE: namespace } = process.env;
  if (!name || TIELINE_METRICS?.trim() === 'off') return connection;
  let info = connection.limitInfo;
  Object.defineProperty(connection, 'limitInfo', {
    configurable: true,
    enumerable: true,
    get: () => info,
    set: (now: typeof info) => {
      info = now;
      if (now.apiUsage === undefined) return;
      if (scarcest === undefined || share(now.apiUsage) < share(scarcest)) scarcest = now.apiUsage;
      if (Date.now() - toldAt < EVERY) return;
      // Not by `console`: with JSON logs Lambda would wrap the line, and CloudWatch would not know it.
      process.stdout.write(`${line(namespace?.trim() || 'tieline', name, scarcest)}\n`);
      [toldAt, scarcest] = [Date.now(), undefined];
    },
  });
  return connection;
}

function share({ used, limit }: Usage): number {
  return Math.max(limit - used, 0) / Math.max(limit, 1);
}

function line(namespace: string, name: string, usage: Usage): string {
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
    ApiCallsLeft: Math.max(usage.limit - usage.used, 0),
    ApiCallsLeftPercent: Math.round(share(usage) * 1000) / 10,
  });
}
