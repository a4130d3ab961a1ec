import { Aws } from 'aws-cdk-lib';
import { CfnSecurityGroup, CfnVPCEndpoint } from 'aws-cdk-lib/aws-ec2';
import { Construct } from 'constructs';

/** A VPC that is there already, by its ids: nothing is looked up. */
export interface NetworkProps {
  readonly vpcId: string;
  /** Private subnets, in two zones or more. The way to Salesforce needs a route to a NAT gateway. */
  readonly subnetIds: string[];
  /** Route tables of these subnets, for the endpoint of DynamoDB; without them it is not made. */
  readonly routeTableIds?: string[];
  /** Endpoints for AWS's services; false if the VPC has them already. [true] */
  readonly endpoints?: boolean;
}

/** Security groups, and endpoints for what the function and the extension call. */
export class Network extends Construct {
  readonly functionSecurityGroup: CfnSecurityGroup;

  constructor(scope: Construct, id: string, stage: string, { vpcId, subnetIds, routeTableIds = [], endpoints = false }: NetworkProps) {
    super(scope, id);
    this.functionSecurityGroup = new CfnSecurityGroup(this, 'FunctionSecurityGroup', {
      groupDescription: `tieline ${stage}: the function`,
      vpcId,
      // Salesforce's addresses change, so they cannot be listed here.
      securityGroupEgress: [{ ipProtocol: 'tcp', fromPort: 443, toPort: 443, cidrIp: '0.0.0.0/0', description: 'Salesforce and AWS' }],
    });
    if (!endpoints) return;

    const endpointSecurityGroup = new CfnSecurityGroup(this, 'EndpointSecurityGroup', {
      groupDescription: `tieline ${stage}: endpoints of AWS services`,
      vpcId,
      securityGroupIngress: [
        {
          ipProtocol: 'tcp',
          fromPort: 443,
          toPort: 443,
          sourceSecurityGroupId: this.functionSecurityGroup.attrGroupId,
          description: 'The function',
        },
      ],
      // Endpoints answer and never call. Without a rule here CloudFormation would allow everything.
      securityGroupEgress: [{ ipProtocol: 'icmp', fromPort: -1, toPort: -1, cidrIp: '127.0.0.1/32', description: 'Nothing' }],
    });
    // Identities of this account, for resources of this account: nothing can be carried out to another one.
    const policyDocument = {
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: '*',
          Action: '*',
          Resource: '*',
          Condition: { StringEquals: { 'aws:PrincipalAccount': Aws.ACCOUNT_ID, 'aws:ResourceAccount': Aws.ACCOUNT_ID } },
        },
      ],
    };
    // Lambda delivers the function's log by itself; `logs` is for code that writes to CloudWatch Logs.
    for (const [name, service] of Object.entries({ SecretsManager: 'secretsmanager', Kms: 'kms', Sqs: 'sqs', Logs: 'logs' })) {
      new CfnVPCEndpoint(this, `${name}Endpoint`, {
        vpcEndpointType: 'Interface',
        serviceName: `com.amazonaws.${Aws.REGION}.${service}`,
        vpcId,
        subnetIds,
        securityGroupIds: [endpointSecurityGroup.attrGroupId],
        privateDnsEnabled: true,
        policyDocument,
      });
    }
    if (routeTableIds.length === 0) return;
    new CfnVPCEndpoint(this, 'DynamoDbEndpoint', {
      vpcEndpointType: 'Gateway',
      serviceName: `com.amazonaws.${Aws.REGION}.dynamodb`,
      vpcId,
      routeTableIds,
      policyDocument,
    });
  }
}
