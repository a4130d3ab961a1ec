import { Aws, Duration, RemovalPolicy } from 'aws-cdk-lib';
import { CfnStage, HttpApi, HttpMethod } from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpIamAuthorizer } from 'aws-cdk-lib/aws-apigatewayv2-authorizers';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import { Rule, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import { Effect, PolicyDocument, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import {
  ApplicationLogLevel,
  Architecture,
  type CfnFunction,
  Code,
  Function,
  LayerVersion,
  LoggingFormat,
  Runtime,
  SystemLogLevel,
  Tracing,
} from 'aws-cdk-lib/aws-lambda';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';

import { Network, type NetworkProps } from './network.js';
import { Observability } from './observability.js';
import { Storage } from './storage.js';

export interface TielineFunctionProps {
  /** Part of all names. In prod the table is protected against deletion and backed up continuously. */
  readonly stage: 'dev' | 'prod';
  /** The layer with tieline-extension for arm64: a zip file. */
  readonly layer: string;
  /** The folder with the bundled function. */
  readonly code: string;
  /** Where the app logs in; best the org's My Domain. Only for the first deployment: see the secret Connection. */
  readonly loginUrl: string;
  /** Field of Lead that identifies one (text, external id, unique). [Tieline_Id__c] */
  readonly leadExternalId?: string | undefined;
  /** Who is told of alarms; must confirm the subscription. [nobody] */
  readonly alarmEmail?: string | undefined;
  /** How often the org is asked for the API calls left. One call each time. [rate(15 minutes)] */
  readonly scheduleRate?: string;
  /** How long logs are kept. [30] */
  readonly logRetentionDays?: RetentionDays;
  /** Environments that are set aside for the function, and its limit. [none] */
  readonly reservedConcurrency?: number;
  /** Batches of ten leads that are worked on at once; not more than `reservedConcurrency`. [10] */
  readonly queueConcurrency?: number;
  /** Requests a second that the API takes in the long run. [20] */
  readonly apiRateLimit?: number;
  /** Requests that the API takes at once. [40] */
  readonly apiBurstLimit?: number;
  /** Token requests in five minutes that are an alarm. A user may log in 300 times in that time. [100] */
  readonly loginRateThreshold?: number;
  /** Milliseconds of the slowest twentieth of invocations that are an alarm. [10000] */
  readonly latencyThreshold?: number;
  /** The app rotates refresh tokens, and the extension may write the newest one to the secret. [false] */
  readonly rotatingRefreshToken?: boolean;
  /** ARNs of other keys that sign logins: a new certificate needs a new key. [none] */
  readonly moreSigningKeys?: string[];
  /** X-Ray. [false] */
  readonly tracing?: boolean;
  /** [no VPC] */
  readonly network?: NetworkProps;
}

/**
 * A function that takes leads over HTTP and upserts them to Salesforce, with the tieline extension beside it, and all that
 * both need: keys, secrets, token store, queues, API, schedule, alarms, dashboard.
 */
export class TielineFunction extends Construct {
  readonly storage: Storage;
  readonly function: Function;
  readonly api: HttpApi;
  readonly observability: Observability;

  constructor(scope: Construct, id: string, props: TielineFunctionProps) {
    super(scope, id);
    const { stage, leadExternalId = 'Tieline_Id__c', scheduleRate = 'rate(15 minutes)', logRetentionDays = 30, network } = props;
    const { loginRateThreshold = 100, latencyThreshold = 10_000 } = props;
    this.storage = new Storage(this, 'Storage', { stage, loginUrl: props.loginUrl });
    const { connection, dataKey, leads, masterKey, tokens } = this.storage;

    const logs = (name: string, logGroupName: string): LogGroup =>
      new LogGroup(this, name, { logGroupName, retention: logRetentionDays, encryptionKey: dataKey, removalPolicy: RemovalPolicy.DESTROY });
    const functionLog = logs('FunctionLogGroup', `/tieline/${stage}/function`);
    const role = this.role(functionLog, props);

    this.function = new Function(this, 'Function', {
      functionName: `tieline-${stage}-leads`,
      description: 'Takes leads, upserts them to Salesforce',
      code: Code.fromAsset(props.code),
      handler: 'handler.handler',
      runtime: Runtime.NODEJS_22_X,
      architecture: Architecture.ARM_64,
      memorySize: 256,
      timeout: Duration.seconds(30),
      // CDK adds nothing to the role: what it would add is more than the function needs.
      role: role.withoutPolicyUpdates(),
      layers: [
        new LayerVersion(this, 'ExtensionLayer', {
          layerVersionName: `tieline-${stage}-extension`,
          description: 'Hands out Salesforce tokens on localhost',
          code: Code.fromAsset(props.layer),
          compatibleArchitectures: [Architecture.ARM_64],
          // The layer before stays for a way back.
          removalPolicy: RemovalPolicy.RETAIN,
        }),
      ],
      reservedConcurrentExecutions: props.reservedConcurrency,
      tracing: props.tracing ? Tracing.ACTIVE : Tracing.PASS_THROUGH,
      logGroup: functionLog,
      loggingFormat: LoggingFormat.JSON,
      applicationLogLevelV2: ApplicationLogLevel.INFO,
      systemLogLevelV2: SystemLogLevel.INFO,
      // Names of places, no secrets.
      environment: {
        STAGE: stage,
        QUEUE_URL: leads.queueUrl,
        LEAD_EXTERNAL_ID: leadExternalId,
        TIELINE_CONNECTIONS: `default=secretsmanager:${connection.ref}`,
        TIELINE_TOKEN_STORE: `dynamodb:${tokens.tableName}`,
        TIELINE_MASTER_KEY: `secretsmanager:${masterKey.ref}`,
      },
    });
    if (network) {
      const { functionSecurityGroup } = new Network(this, 'Network', stage, network);
      const cfnFunction = this.function.node.defaultChild as CfnFunction;
      cfnFunction.vpcConfig = { subnetIds: network.subnetIds, securityGroupIds: [functionSecurityGroup.attrGroupId] };
    }

    this.function.addEventSource(
      new SqsEventSource(leads, { batchSize: 10, reportBatchItemFailures: true, maxConcurrency: props.queueConcurrency ?? 10 }),
    );
    new Rule(this, 'LimitsRule', {
      ruleName: `tieline-${stage}-limits`,
      description: 'Keeps the metric of API calls left current',
      schedule: Schedule.expression(scheduleRate),
      targets: [new LambdaFunction(this.function)],
    });
    this.api = this.leadsApi(logs('ApiLogGroup', `/tieline/${stage}/api`), props);
    this.observability = new Observability(this, 'Observability', {
      stage,
      alarmEmail: props.alarmEmail,
      loginRateThreshold,
      latencyThreshold,
      dataKey,
      function: this.function,
      leads,
      deadLetters: this.storage.deadLetters,
    });
  }

  /** The function and the extension share this role. */
  private role(functionLog: LogGroup, { stage, moreSigningKeys = [], network, rotatingRefreshToken, tracing }: TielineFunctionProps): Role {
    const { connection, dataKey, leads, masterKey, signingKey, tokens } = this.storage;
    const allow = (sid: string, actions: string[], resources: string[], conditions?: Record<string, object>): PolicyStatement =>
      new PolicyStatement({ sid, actions, resources, ...(conditions ? { conditions } : {}) });
    const signs = (keys: string[]): PolicyStatement =>
      allow('SignLogins', ['kms:Sign'], keys, { StringEquals: { 'kms:SigningAlgorithm': 'RSASSA_PKCS1_V1_5_SHA_256' } });
    const policy = (...statements: PolicyStatement[]): PolicyDocument => new PolicyDocument({ statements });
    const attach = [
      'ec2:CreateNetworkInterface',
      'ec2:DescribeNetworkInterfaces',
      'ec2:DescribeSubnets',
      'ec2:DeleteNetworkInterface',
      'ec2:AssignPrivateIpAddresses',
      'ec2:UnassignPrivateIpAddresses',
    ];
    return new Role(this, 'FunctionRole', {
      description: `tieline ${stage}: the function and the extension beside it`,
      assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      inlinePolicies: {
        function: policy(
          signs([signingKey.keyArn]),
          allow('ReadSecrets', ['secretsmanager:GetSecretValue'], [connection.ref, masterKey.ref]),
          allow('ShareTokens', ['dynamodb:GetItem', 'dynamodb:UpdateItem'], [tokens.tableArn]),
          // Only through these services: the role cannot decrypt anything by itself.
          allow('UseDataKey', ['kms:Decrypt', 'kms:GenerateDataKey'], [dataKey.keyArn], {
            StringEquals: { 'kms:ViaService': ['secretsmanager', 'dynamodb', 'sqs'].map((name) => `${name}.${Aws.REGION}.amazonaws.com`) },
          }),
          // The first to send; the others are Lambda's, which reads the queue in the function's name.
          allow('UseQueue', ['sqs:SendMessage', 'sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes'], [leads.queueArn]),
          allow('WriteLog', ['logs:CreateLogStream', 'logs:PutLogEvents'], [functionLog.logGroupArn]),
        ),
        ...(rotatingRefreshToken && {
          'refresh-token': policy(
            allow('KeepRefreshToken', ['secretsmanager:PutSecretValue', 'secretsmanager:UpdateSecretVersionStage'], [connection.ref]),
          ),
        }),
        ...(moreSigningKeys.length > 0 && { 'more-signing-keys': policy(signs(moreSigningKeys)) }),
        // X-Ray knows no resources for these two.
        ...(tracing && { tracing: policy(allow('Trace', ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'], ['*'])) }),
        // Lambda checks for these on "*" before it puts a function into a VPC; the code in it gets none of them.
        ...(network && {
          network: policy(
            allow('LambdaAttachesFunction', attach, ['*']),
            new PolicyStatement({
              sid: 'CodeDoesNot',
              effect: Effect.DENY,
              actions: attach,
              resources: ['*'],
              conditions: {
                ArnEquals: {
                  'lambda:SourceFunctionArn': `arn:${Aws.PARTITION}:lambda:${Aws.REGION}:${Aws.ACCOUNT_ID}:function:tieline-${stage}-leads`,
                },
              },
            }),
          ),
        }),
      },
    });
  }

  /** A caller signs with IAM credentials and needs execute-api:Invoke on the route. */
  private leadsApi(accessLog: LogGroup, { stage, apiRateLimit = 20, apiBurstLimit = 40 }: TielineFunctionProps): HttpApi {
    const api = new HttpApi(this, 'Api', { apiName: `tieline-${stage}`, createDefaultStage: false });
    api.addRoutes({
      path: '/leads',
      methods: [HttpMethod.POST],
      integration: new HttpLambdaIntegration('Leads', this.function),
      authorizer: new HttpIamAuthorizer(),
    });
    new CfnStage(this, 'ApiStage', {
      apiId: api.apiId,
      stageName: '$default',
      autoDeploy: true,
      defaultRouteSettings: { throttlingRateLimit: apiRateLimit, throttlingBurstLimit: apiBurstLimit, detailedMetricsEnabled: true },
      accessLogSettings: {
        destinationArn: accessLog.logGroupArn,
        // Who called and how it went; no addresses, and nothing of the body.
        format: JSON.stringify({
          time: '$context.requestTime',
          request: '$context.requestId',
          route: '$context.routeKey',
          status: '$context.status',
          caller: '$context.identity.userArn',
          milliseconds: '$context.responseLatency',
          bytes: '$context.responseLength',
          error: '$context.error.message',
        }),
      },
    });
    return api;
  }
}
