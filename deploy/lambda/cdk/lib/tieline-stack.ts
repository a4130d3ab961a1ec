import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';

import { TielineFunction, type TielineFunctionProps } from './tieline-function.js';

/** One stage: the construct, and what a person needs to know of it. */
export class TielineStack extends Stack {
  constructor(scope: Construct, id: string, props: TielineFunctionProps & StackProps) {
    super(scope, id, {
      description: 'Leads to Salesforce through a queue, with tokens from the tieline extension',
      terminationProtection: props.stage === 'prod',
      ...props,
    });
    // CDK lets a function wait for its role, which it refers to anyway.
    this.templateOptions.metadata = { 'cfn-lint': { config: { ignore_checks: ['W3005'] } } };
    const made = new TielineFunction(this, 'Tieline', props);
    const outputs: Record<string, [value: string, description?: string]> = {
      ApiUrl: [`${made.api.apiEndpoint}/leads`, 'Where leads are sent, signed'],
      FunctionName: [made.function.functionName],
      ConnectionSecret: [made.storage.connection.ref, 'To be filled by a person'],
      SigningKeyAlias: [`kms:alias/tieline-${props.stage}-signing`, 'For `tieline setup jwt --key`'],
      DeadLetterQueueUrl: [made.storage.deadLetters.queueUrl],
      AlarmTopicArn: [made.observability.topic.topicArn],
      DashboardName: [`tieline-${props.stage}`],
    };
    for (const [name, [value, description]] of Object.entries(outputs)) new CfnOutput(this, name, { value, description });
  }
}
