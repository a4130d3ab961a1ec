import { Aws, Duration } from 'aws-cdk-lib';
import {
  Alarm,
  ComparisonOperator,
  Dashboard,
  GraphWidget,
  type IMetric,
  MathExpression,
  Metric,
  TreatMissingData,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Effect, PolicyStatement, ServicePrincipal, StarPrincipal } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { IQueue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

export interface ObservabilityProps {
  readonly stage: string;
  readonly alarmEmail?: string | undefined;
  readonly loginRateThreshold: number;
  readonly latencyThreshold: number;
  readonly dataKey: IKey;
  readonly function: IFunction;
  readonly leads: IQueue;
  readonly deadLetters: IQueue;
}

interface Rule {
  readonly name: string;
  readonly metric: IMetric;
  readonly above?: number;
  readonly below?: number;
  readonly periods?: number;
  /** What to do next. */
  readonly description: string;
}

/** Topic, alarms, dashboard. */
export class Observability extends Construct {
  readonly topic: Topic;

  constructor(scope: Construct, id: string, private readonly props: ObservabilityProps) {
    super(scope, id);
    const { stage } = props;
    this.topic = new Topic(this, 'AlarmTopic', { topicName: `tieline-${stage}-alarms`, masterKey: props.dataKey });
    this.topic.addToResourcePolicy(
      new PolicyStatement({
        sid: 'Alarms',
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['sns:Publish'],
        resources: [this.topic.topicArn],
        conditions: {
          StringEquals: { 'aws:SourceAccount': Aws.ACCOUNT_ID },
          ArnLike: { 'aws:SourceArn': `arn:${Aws.PARTITION}:cloudwatch:${Aws.REGION}:${Aws.ACCOUNT_ID}:alarm:tieline-${stage}-*` },
        },
      }),
    );
    this.topic.addToResourcePolicy(
      new PolicyStatement({
        sid: 'OnlyTls',
        effect: Effect.DENY,
        principals: [new StarPrincipal()],
        actions: ['sns:Publish'],
        resources: [this.topic.topicArn],
        conditions: { Bool: { 'aws:SecureTransport': 'false' } },
      }),
    );
    if (props.alarmEmail) this.topic.addSubscription(new EmailSubscription(props.alarmEmail));
    this.alarms();
    this.dashboard();
  }

  private metric(namespace: string, metricName: string, statistic: string, dimensionsMap: Record<string, string>, minutes = 5): Metric {
    return new Metric({ namespace, metricName, statistic, dimensionsMap, period: Duration.minutes(minutes) });
  }

  /** Written by the extension, and by the package `tieline` in the function. */
  private tieline(name: string, statistic = 'Sum', minutes?: number): Metric {
    return this.metric('tieline', name, statistic, { FunctionName: this.props.function.functionName }, minutes);
  }

  private lambda(name: string, statistic = 'Sum'): Metric {
    return this.metric('AWS/Lambda', name, statistic, { FunctionName: this.props.function.functionName });
  }

  private sqs(name: string, queue: IQueue): Metric {
    return this.metric('AWS/SQS', name, 'Maximum', { QueueName: queue.queueName });
  }

  private alarms(): void {
    const { stage, leads, deadLetters } = this.props;
    const log = `/tieline/${stage}/function`;
    const rules: Record<string, Rule> = {
      AuthFailures: {
        name: 'auth-failures',
        metric: this.tieline('AuthFailures'),
        above: 0,
        description: `The org refuses to log tieline in. Look for the code in the extension's lines of ${log}; docs/errors.md says what to do. Leads wait in the queue meanwhile.`,
      },
      LoginRate: {
        name: 'login-rate',
        metric: this.tieline('TokenRequests'),
        above: this.props.loginRateThreshold,
        description:
          'tieline logs in far more often than it should; Salesforce stops a user at 3600 an hour. See in the dashboard whether tokens are refused as soon as they are issued, and whether the token table can be reached.',
      },
      ErrorRate: {
        name: 'error-rate',
        metric: new MathExpression({
          expression: 'IF(invocations > 0, 100 * errors / invocations, 0)',
          label: 'Invocations that failed, per cent',
          usingMetrics: { errors: this.lambda('Errors'), invocations: this.lambda('Invocations') },
          period: Duration.minutes(5),
        }),
        above: 5,
        description: `More than one invocation in twenty fails. Look for ERROR in ${log}. After a deployment, go back to the version before.`,
      },
      Latency: {
        name: 'latency',
        metric: this.lambda('Duration', 'p95'),
        above: this.props.latencyThreshold,
        periods: 3,
        description:
          'The slowest twentieth of invocations takes too long. See in the dashboard whether TokenWait is high (login, token table) or only the duration (the org itself: status.salesforce.com).',
      },
      Throttles: {
        name: 'throttles',
        metric: this.lambda('Throttles'),
        above: 0,
        description:
          'Lambda turns invocations away. Raise ReservedConcurrency, lower QueueConcurrency, or ask AWS for more concurrency in this account.',
      },
      ApiCallsLeft: {
        name: 'api-calls-left',
        metric: this.tieline('ApiCallsLeftPercent', 'Minimum', 15),
        below: 10,
        description:
          "Less than a tenth of the org's API calls is left for these 24 hours. See Setup, Company Information and API Usage, for who spends them; stop the trigger of the queue until it is over, leads wait four days.",
      },
      Certificate: {
        name: 'certificate',
        metric: this.tieline('CertificateDaysLeft', 'Minimum', 60),
        below: 30,
        description: `The certificate of the app ends within 30 days, and logins with it. Make another key and certificate (deploy/lambda/README.md says how), and put them into the secret tieline/${stage}/connection.`,
      },
      Lag: {
        name: 'lag',
        metric: this.sqs('ApproximateAgeOfOldestMessage', leads),
        above: 900,
        description: `A lead has waited for a quarter of an hour. Look for other alarms first, then for WARN in ${log}; after five attempts a lead becomes a dead letter.`,
      },
      DeadLetters: {
        name: 'dead-letters',
        metric: this.sqs('ApproximateNumberOfMessagesVisible', deadLetters),
        above: 0,
        description: `Leads have failed five times. Find their reasons by messageId in ${log}, mend the cause, and redrive the queue tieline-${stage}-leads-dead. They are deleted after 14 days.`,
      },
    };
    for (const [id, { name, metric, above, below, periods = 1, description }] of Object.entries(rules)) {
      const alarm = new Alarm(this, `${id}Alarm`, {
        alarmName: `tieline-${stage}-${name}`,
        alarmDescription: description,
        metric,
        threshold: above ?? below ?? 0,
        comparisonOperator: below === undefined ? ComparisonOperator.GREATER_THAN_THRESHOLD : ComparisonOperator.LESS_THAN_THRESHOLD,
        evaluationPeriods: periods,
        ...(periods > 1 && { datapointsToAlarm: periods - 1 }),
        // The days that a certificate has left are told only when a token is asked for.
        treatMissingData: id === 'Certificate' ? TreatMissingData.IGNORE : TreatMissingData.NOT_BREACHING,
      });
      alarm.addAlarmAction(new SnsAction(this.topic));
    }
  }

  private dashboard(): void {
    const { stage, leads, deadLetters } = this.props;
    const graph = (title: string, left: IMetric[], right: IMetric[] = []): GraphWidget =>
      new GraphWidget({ title, left, right, width: 8, height: 6, period: Duration.minutes(5) });
    const spread = (of: (statistic: string) => Metric): Metric[] => ['p50', 'p95', 'Maximum'].map((statistic) => of(statistic));
    new Dashboard(this, 'Dashboard', {
      dashboardName: `tieline-${stage}`,
      widgets: [
        [
          graph('Tokens', ['TokensServed', 'TokenCacheHits', 'TokenRequests', 'TokenRefusals'].map((name) => this.tieline(name))),
          graph('Failures to get a token', ['AuthFailures', 'TokenErrors'].map((name) => this.tieline(name))),
          graph('Waiting for a token, milliseconds', spread((statistic) => this.tieline('TokenWait', statistic))),
        ],
        [
          graph('Function: duration, milliseconds', spread((statistic) => this.lambda('Duration', statistic))),
          graph('Function: invocations, errors, throttles', ['Invocations', 'Errors', 'Throttles'].map((name) => this.lambda(name))),
          graph('Function: environments at once', [this.lambda('ConcurrentExecutions', 'Maximum')]),
        ],
        [
          graph('Queue: age of the oldest lead, seconds', [this.sqs('ApproximateAgeOfOldestMessage', leads)]),
          graph('Queue: leads waiting and under way', [
            this.sqs('ApproximateNumberOfMessagesVisible', leads),
            this.sqs('ApproximateNumberOfMessagesNotVisible', leads),
          ]),
          graph('Dead letters', [this.sqs('ApproximateNumberOfMessagesVisible', deadLetters)]),
        ],
        [
          graph('API calls left', [this.tieline('ApiCallsLeft', 'Minimum')], [this.tieline('ApiCallsLeftPercent', 'Minimum')]),
          graph('Certificate: days left', [this.tieline('CertificateDaysLeft', 'Minimum')]),
        ],
      ],
    });
  }
}
