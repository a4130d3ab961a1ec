import { Aws, Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { AttributeType, BillingMode, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key, KeySpec, KeyUsage } from 'aws-cdk-lib/aws-kms';
import { CfnSecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';

export interface StorageProps {
  readonly stage: 'dev' | 'prod';
  readonly loginUrl: string;
}

/**
 * What stays when the stack goes is kept on purpose (a first deployment that fails leaves nothing behind). A key that is
 * gone takes with it all that it has encrypted, and a signing key its certificate.
 */
const KEPT = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE;

/** Keys, secrets, token store, queues. */
export class Storage extends Construct {
  /** Signs the assertions of JWT logins. Nobody can export it; its certificate belongs to the app of this stage. */
  readonly signingKey: Key;
  /** Encrypts what is stored: secrets, table, queues, logs, topic. */
  readonly dataKey: Key;
  /** How tieline logs in. */
  readonly connection: CfnSecret;
  /** Seals what is in the token table. */
  readonly masterKey: CfnSecret;
  /** One token for all environments of the function. */
  readonly tokens: Table;
  readonly leads: Queue;
  readonly deadLetters: Queue;

  constructor(scope: Construct, id: string, { stage, loginUrl }: StorageProps) {
    super(scope, id);
    const isProd = stage === 'prod';

    this.signingKey = new Key(this, 'SigningKey', {
      alias: `alias/tieline-${stage}-signing`,
      description: `tieline ${stage}: signs logins to Salesforce`,
      keySpec: KeySpec.RSA_2048,
      keyUsage: KeyUsage.SIGN_VERIFY,
      removalPolicy: KEPT,
    });

    this.dataKey = new Key(this, 'DataKey', {
      alias: `alias/tieline-${stage}-data`,
      description: `tieline ${stage}: encrypts what is stored`,
      enableKeyRotation: true,
      removalPolicy: KEPT,
    });
    // In the policy of a key, "*" is that key.
    this.dataKey.addToResourcePolicy(
      new PolicyStatement({
        sid: 'Logs',
        principals: [new ServicePrincipal(`logs.${Aws.REGION}.amazonaws.com`)],
        actions: ['kms:Encrypt*', 'kms:Decrypt*', 'kms:ReEncrypt*', 'kms:GenerateDataKey*', 'kms:Describe*'],
        resources: ['*'],
        conditions: {
          ArnLike: {
            'kms:EncryptionContext:aws:logs:arn': `arn:${Aws.PARTITION}:logs:${Aws.REGION}:${Aws.ACCOUNT_ID}:log-group:/tieline/${stage}/*`,
          },
        },
      }),
    );
    // An alarm cannot publish to an encrypted topic without it, and says so nowhere but in its history.
    this.dataKey.addToResourcePolicy(
      new PolicyStatement({
        sid: 'Alarms',
        principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
        actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
        resources: ['*'],
      }),
    );

    // A person fills this one after the first deployment (../../README.md): empty values count as absent.
    //
    // CloudFormation writes the value at the creation, and again when it changes here: then what the person filled in is
    // replaced. So leave this resource as it is once it is filled, `loginUrl` and the tags of the stack included, and change
    // the login URL in the secret. What was replaced is still there as the version AWSPREVIOUS.
    //
    // Not `Secret`, which would let every identity of the account use the key through Secrets Manager.
    this.connection = new CfnSecret(this, 'Connection', {
      name: `tieline/${stage}/connection`,
      description: 'How tieline logs in to Salesforce. Filled by a person',
      kmsKeyId: this.dataKey.keyArn,
      secretString: Stack.of(this).toJsonString({
        SF_LOGIN_URL: loginUrl,
        SF_CLIENT_ID: '',
        SF_USERNAME: '',
        TIELINE_SIGNING_KEY: `kms:${this.signingKey.keyArn}`,
        SF_CERTIFICATE: '',
      }),
    });
    this.connection.applyRemovalPolicy(KEPT);

    // 64 hexadecimal digits, which are 32 bytes. Made here and never read by a person. With another one the entries in the
    // table are unreadable, and a rotating refresh token is lost.
    this.masterKey = new CfnSecret(this, 'MasterKey', {
      name: `tieline/${stage}/master-key`,
      description: "Seals tieline's tokens",
      kmsKeyId: this.dataKey.keyArn,
      generateSecretString: {
        passwordLength: 64,
        excludeUppercase: true,
        excludePunctuation: true,
        excludeCharacters: 'ghijklmnopqrstuvwxyz',
      },
    });
    this.masterKey.applyRemovalPolicy(KEPT);

    // Keys and attributes are tieline's: see docs/fleet.md.
    this.tokens = new Table(this, 'TokenTable', {
      tableName: `tieline-${stage}-tokens`,
      billingMode: BillingMode.PAY_PER_REQUEST,
      partitionKey: { name: 'key', type: AttributeType.STRING },
      timeToLiveAttribute: 'expires',
      encryption: TableEncryption.CUSTOMER_MANAGED,
      encryptionKey: this.dataKey,
      deletionProtection: isProd,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: isProd },
      removalPolicy: KEPT,
    });

    const queue = { encryption: QueueEncryption.KMS, encryptionMasterKey: this.dataKey, dataKeyReuse: Duration.hours(1), enforceSSL: true };
    this.deadLetters = new Queue(this, 'DeadLetterQueue', {
      ...queue,
      queueName: `tieline-${stage}-leads-dead`,
      // The longest there is, counted from when the lead came, not from when it died.
      retentionPeriod: Duration.days(14),
    });
    this.leads = new Queue(this, 'LeadQueue', {
      ...queue,
      queueName: `tieline-${stage}-leads`,
      // Six times the function's timeout, as AWS asks: a batch may be throttled before it runs. So a lead that fails is
      // tried for a quarter of an hour (five times) before it is a dead letter.
      visibilityTimeout: Duration.seconds(180),
      retentionPeriod: Duration.days(4),
      deadLetterQueue: { queue: this.deadLetters, maxReceiveCount: 5 },
    });
  }
}
