/**
 * One function for three events:
 *
 *   POST /leads     → checks the lead, puts it on the queue, answers 202
 *   the queue       → upserts each lead to Salesforce; tells SQS which ones failed
 *   the schedule    → asks the org how many API calls are left, so that the metric is current without traffic
 *
 * Tokens come from the extension in the layer: the function has no credentials.
 */
import { SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import type {
  APIGatewayProxyEventV2,
  APIGatewayProxyStructuredResultV2,
  Context,
  ScheduledEvent,
  SQSBatchResponse,
  SQSEvent,
  SQSRecord,
} from 'aws-lambda';
import { SalesforceConnectionManager, TielineError } from 'tieline';

import { NotALead, readLead, toRecord, type Lead } from './lead.js';
import { log } from './log.js';

type Event = APIGatewayProxyEventV2 | SQSEvent | ScheduledEvent;

/** Kept for the answer to SQS: whoever takes longer than all but this is reported as failed, and the others are not. */
const RESERVE = 2_000;

const manager = SalesforceConnectionManager.getInstance();
const queue = new SQSClient();

export async function handler(event: Event, context: Context): Promise<APIGatewayProxyStructuredResultV2 | SQSBatchResponse | void> {
  if ('Records' in event) return deliver(event, context);
  if ('requestContext' in event) return accept(event);
  if ('source' in event && event.source === 'aws.events') return look();
  throw new Error('an event of an unknown kind');
}

/** The HTTP API. Authorisation is done: API Gateway lets nobody in without a signature of IAM. */
async function accept(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  let lead: Lead;
  try {
    const body = event.body ?? '';
    lead = readLead(event.isBase64Encoded ? Buffer.from(body, 'base64').toString('utf8') : body);
  } catch (error) {
    if (!(error instanceof NotALead)) throw error;
    log('INFO', 'a request was refused', { request: event.requestContext.requestId, reason: error.message });
    return answer(400, { code: 'bad_lead', message: error.message });
  }
  try {
    await queue.send(new SendMessageCommand({ QueueUrl: needed('QUEUE_URL'), MessageBody: JSON.stringify(lead) }));
  } catch (error) {
    log('ERROR', 'a lead could not be queued', { request: event.requestContext.requestId, reason: nameOf(error) });
    // Thrown, not answered: the caller gets a 500, and the alarm on errors sees it.
    throw new Error('the queue did not take the lead');
  }
  return answer(202, { id: lead.id });
}

function answer(statusCode: number, body: object): APIGatewayProxyStructuredResultV2 {
  return { statusCode, headers: { 'content-type': 'application/json', 'cache-control': 'no-store' }, body: JSON.stringify(body) };
}

/** The queue. Leads do not depend on each other, so a batch is worked on at once. */
async function deliver({ Records: records }: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), Math.max(0, context.getRemainingTimeInMillis() - RESERVE));
  });
  try {
    const done = await Promise.all(
      records.map(async (record) => {
        const outcome = await Promise.race([delivered(record), late]);
        if (outcome === 'late') log('WARN', 'a lead takes too long', { messageId: record.messageId });
        return outcome === true;
      }),
    );
    const failed = records.filter((_, index) => !done[index]);
    log(failed.length > 0 ? 'WARN' : 'INFO', 'a batch is done', { leads: records.length, failed: failed.length });
    return { batchItemFailures: failed.map(({ messageId }) => ({ itemIdentifier: messageId })) };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * False: SQS shall hand the message out again. Also for what can never succeed: after five times the message is in the
 * dead-letter queue, where somebody can look at it; a success would throw it away.
 */
async function delivered(record: SQSRecord): Promise<boolean> {
  const attempt = Number(record.attributes.ApproximateReceiveCount);
  try {
    const externalId = needed('LEAD_EXTERNAL_ID');
    const lead = readLead(record.body);
    const conn = await manager.getConnection({ connection: 'default' });
    await conn.sobject('Lead').upsert(toRecord(lead, externalId), externalId);
    return true;
  } catch (error) {
    const { reason, passing, fields } = explained(error);
    log(passing ? 'WARN' : 'ERROR', passing ? 'a lead failed for now' : 'a lead will not succeed as it is', {
      messageId: record.messageId,
      attempt,
      reason,
      fields,
    });
    return false;
  }
}

/** The schedule. A failure is thrown: the alarm on errors then tells of a broken login before a lead does. */
async function look(): Promise<void> {
  try {
    const conn = await manager.getConnection({ connection: 'default' });
    const limits = await conn.limits();
    log('INFO', 'API calls', { left: limits['DailyApiRequests']?.Remaining, of: limits['DailyApiRequests']?.Max });
  } catch (error) {
    const { reason } = explained(error);
    log('ERROR', 'the org could not be asked', { reason });
    throw new Error(`the org could not be asked: ${reason}`);
  }
}

/** Salesforce's words for what may be otherwise later. */
const PASSING = /^(UNABLE_TO_LOCK_ROW|REQUEST_LIMIT_EXCEEDED|SERVER_UNAVAILABLE|INVALID_SESSION_ID|UNKNOWN_EXCEPTION|ERROR_HTTP_(429|5\d\d))$/;

/**
 * What to log of a failure: a code, and the names of fields. Never the message of the org, which may quote what stands in
 * a field.
 */
function explained(error: unknown): { reason: string; passing: boolean; fields?: string } {
  if (error instanceof NotALead) return { reason: `bad_lead: ${error.message}`, passing: false };
  if (error instanceof TielineError) return { reason: error.code, passing: error.retryable };
  const { errorCode, data } = (error ?? {}) as { errorCode?: unknown; data?: { fields?: unknown } };
  if (typeof errorCode === 'string') {
    const fields = Array.isArray(data?.fields) ? data.fields.join(', ') : '';
    return { reason: errorCode, passing: PASSING.test(errorCode), ...(fields ? { fields } : {}) };
  }
  // Neither of ours nor of the org: the network, a setting that is missing.
  return { reason: nameOf(error), passing: true };
}

/** The code of a failed connection (`ECONNRESET`), or the class of an error. */
function nameOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  return typeof code === 'string' ? code : typeof name === 'string' ? name : 'unknown';
}

function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw Object.assign(new Error(`the variable ${name} is not set`), { code: `${name} is not set` });
  return value;
}
