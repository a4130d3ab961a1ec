"""Creates the SAM template's stack in moto, stage prod with all options, and looks whether everything is there.

Usage: stack.py TEMPLATE ENDPOINT [vpc]

moto's CloudFormation does not know the types in LACKS. What can be made by the services' own APIs in moto is made so, from
the template's properties: secrets, alarms, policies of queues, topic and keys. Prints what was made by whom.
"""

import io
import json
import re
import sys
import zipfile
from collections import Counter

import boto3
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

BY_API = {
    "AWS::CloudWatch::Alarm",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::SecretsManager::Secret",
}
# Nothing in moto makes an API of a description.
LACKS = BY_API | {"AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage"}
ACCOUNT, REGION, NAME = "123456789012", "eu-central-1", "tieline-prod"
template_file, endpoint, with_vpc = sys.argv[1], sys.argv[2], sys.argv[3:] == ["vpc"]


def client(service):
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )


def plain(file):
    """What CloudFormation is given: the translator takes no local paths, so they are uploads, as after `sam package`."""

    class NoManagedPolicies:
        def load(self):
            return {}

    template = yaml_parse(open(file).read())
    for resource in template["Resources"].values():
        for name in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][name] = "s3://bucket/code.zip"
    return transform(template, {}, NoManagedPolicies())


class Values:
    """The template's expressions, for what CloudFormation in moto does not make."""

    def __init__(self, template, parameters, physical):
        self.template, self.physical = template, physical
        self.known = {name: told.get("Default") for name, told in template["Parameters"].items()} | parameters
        self.known |= {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::NoValue": None}
        self.known |= {"AWS::StackName": NAME, "AWS::URLSuffix": "amazonaws.com"}

    def holds(self, condition):
        if isinstance(condition, str):
            condition = self.template["Conditions"][condition]
        ((kind, parts),) = condition.items()
        match kind:
            case "Fn::Equals":
                return len({str(self.of(part)) for part in parts}) == 1
            case "Fn::Not":
                return not self.holds(parts[0])
            case "Fn::And":
                return all(map(self.holds, parts))
            case "Condition":
                return self.holds(parts)
        raise ValueError(kind)

    def attribute(self, resource, name):
        kind, there = self.template["Resources"][resource]["Type"], self.physical[resource]
        match kind, name:
            case "AWS::SQS::Queue", "QueueName":
                return there.rsplit("/", 1)[-1]
            case "AWS::SQS::Queue", "Arn":
                return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{there.rsplit('/', 1)[-1]}"
            case "AWS::KMS::Key", "Arn":
                return client("kms").describe_key(KeyId=there)["KeyMetadata"]["Arn"]
            case "AWS::Logs::LogGroup", "Arn":
                return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{there}:*"
        raise ValueError(f"{kind} {name}")

    def of(self, value):
        if isinstance(value, list):
            return [part for part in map(self.of, value) if part is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((kind, parts),) = value.items()
            match kind:
                case "Ref":
                    return self.known[parts] if parts in self.known else self.physical[parts]
                case "Fn::GetAtt":
                    return self.attribute(*(parts if isinstance(parts, list) else parts.split(".", 1)))
                case "Fn::If":
                    return self.of(parts[1] if self.holds(parts[0]) else parts[2])
                case "Fn::FindInMap":
                    name, first, second = map(self.of, parts)
                    return self.template["Mappings"][name][first][second]
                case "Fn::Sub":
                    text, own = (parts, {}) if isinstance(parts, str) else parts
                    return re.sub(r"\$\{([^}]+)\}", lambda found: str(self.named(found[1], own)), text)
        return {name: part for name, part in ((name, self.of(part)) for name, part in value.items()) if part is not None}

    def named(self, name, own):
        if name in own:
            return self.of(own[name])
        return self.of({"Fn::GetAtt": name} if "." in name else {"Ref": name})


def make(kind, properties):
    """By the service's own API."""
    properties.pop("Tags", None)
    match kind:
        case "AWS::SecretsManager::Secret":
            if wish := properties.pop("GenerateSecretString", None):
                properties["SecretString"] = client("secretsmanager").get_random_password(**wish)["RandomPassword"]
            client("secretsmanager").create_secret(**properties)
        case "AWS::CloudWatch::Alarm":
            client("cloudwatch").put_metric_alarm(**properties)
        case "AWS::SQS::QueuePolicy":
            policy = json.dumps(properties["PolicyDocument"])
            for queue in properties["Queues"]:
                client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
        case "AWS::SNS::TopicPolicy":
            policy = json.dumps(properties["PolicyDocument"])
            for topic in properties["Topics"]:
                client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
        case "AWS::SNS::Subscription":
            client("sns").subscribe(**properties)


whole = plain(template_file)
resources = whole["Resources"]
lacking = {name: resource for name, resource in resources.items() if resource["Type"] in LACKS}
# What the rest says of them.
stand_ins = {
    "Connection": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:tieline/prod/connection",
    "MasterKey": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:tieline/prod/master-key",
    "Api": "api123",
}


def without_lacking(value):
    if isinstance(value, list):
        return [without_lacking(part) for part in value]
    if isinstance(value, dict):
        if value.keys() == {"Ref"} and value["Ref"] in stand_ins:
            return stand_ins[value["Ref"]]
        return {name: without_lacking(part) for name, part in value.items()}
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda found: stand_ins.get(found[1], found[0]), value)
    return value


given = without_lacking({**whole, "Resources": {n: r for n, r in resources.items() if n not in lacking}})
for resource in given["Resources"].values():
    if resource["Type"] == "AWS::KMS::Key":
        # moto's own API fails on a policy that is no text.
        resource["Properties"]["KeyPolicy"] = json.dumps({"Version": "2012-10-17", "Statement": []})

s3 = client("s3")
s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as files:
    files.writestr("handler.cjs", "")
s3.put_object(Bucket="bucket", Key="code.zip", Body=archive.getvalue())
s3.put_object(Bucket="bucket", Key="template.json", Body=json.dumps(given))
parameters = {
    "Stage": "prod",
    "AlarmEmail": "ops@example.com",
    "RotatingRefreshToken": "true",
    "Tracing": "true",
    "ReservedConcurrency": "20",
    "MoreSigningKeys": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/mrk-1",
}
if with_vpc:
    ec2 = client("ec2")
    parameters["VpcId"] = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    parameters["SubnetIds"] = ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2])
    parameters["VpcEndpoints"] = "true"
    parameters["RouteTableIds"] = ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"]
cloudformation = client("cloudformation")
cloudformation.create_stack(
    StackName=NAME,
    TemplateURL="https://s3.amazonaws.com/bucket/template.json",
    Capabilities=["CAPABILITY_IAM"],
    Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
)
stack = cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]
assert stack["StackStatus"] == "CREATE_COMPLETE", stack
made = cloudformation.describe_stack_resources(StackName=NAME)["StackResources"]
physical = {resource["LogicalResourceId"]: resource.get("PhysicalResourceId") for resource in made if "LogicalResourceId" in resource}

values = Values(whole, parameters, physical | stand_ins)
by_api, missing = Counter(), Counter()
for resource in lacking.values():
    if "Condition" in resource and not values.holds(resource["Condition"]):
        continue
    if resource["Type"] in BY_API:
        make(resource["Type"], values.of(resource["Properties"]))
        by_api[resource["Type"]] += 1
    else:
        missing[resource["Type"]] += 1
for name, resource in resources.items():
    if resource["Type"] == "AWS::KMS::Key":
        policy = json.dumps(values.of(resource["Properties"]["KeyPolicy"]))
        client("kms").put_key_policy(KeyId=physical[name], PolicyName="default", Policy=policy)

# What somebody would find in the console.
assert client("dynamodb").describe_table(TableName="tieline-prod-tokens")["Table"]["KeySchema"] == [
    {"AttributeName": "key", "KeyType": "HASH"}
]
sqs = client("sqs")
queues = {url.rsplit("/", 1)[-1]: url for url in sqs.list_queues()["QueueUrls"]}
assert queues.keys() == {"tieline-prod-leads", "tieline-prod-leads-dead"}, queues
attributes = sqs.get_queue_attributes(QueueUrl=queues["tieline-prod-leads"], AttributeNames=["All"])["Attributes"]
assert "leads-dead" in attributes["RedrivePolicy"] and "SecureTransport" in attributes["Policy"], attributes
secret = lambda name: client("secretsmanager").get_secret_value(SecretId=f"tieline/prod/{name}")["SecretString"]
assert re.fullmatch("[0-9a-f]{64}", secret("master-key"))
signing = json.loads(secret("connection"))["TIELINE_SIGNING_KEY"]
assert signing.removeprefix("kms:").startswith(f"arn:aws:kms:{REGION}:"), signing
aliases = {alias["AliasName"] for alias in client("kms").list_aliases()["Aliases"]}
assert {"alias/tieline-prod-signing", "alias/tieline-prod-data"} <= aliases, aliases
alarms = {alarm["AlarmName"]: alarm for alarm in client("cloudwatch").describe_alarms()["MetricAlarms"]}
wanted = "auth-failures login-rate error-rate latency throttles api-calls-left certificate lag dead-letters".split()
assert alarms.keys() == {f"tieline-prod-{name}" for name in wanted}, alarms.keys()
assert all(alarm["AlarmActions"] and alarm["AlarmDescription"] for alarm in alarms.values())
dashboard = json.loads(client("cloudwatch").get_dashboard(DashboardName=NAME)["DashboardBody"])
shown = json.dumps(dashboard)
for metric in [*sys.stdin.read().split(), "ApproximateAgeOfOldestMessage"]:
    assert f'"{metric}"' in shown, f"the dashboard does not show {metric}"
function = client("lambda").list_functions()["Functions"][0]
assert function["Environment"]["Variables"]["TIELINE_TOKEN_STORE"] == "dynamodb:tieline-prod-tokens", function
sources = client("lambda").list_event_source_mappings()["EventSourceMappings"]
assert sources[0]["FunctionResponseTypes"] == ["ReportBatchItemFailures"], sources
assert client("events").list_rules()["Rules"][0]["ScheduleExpression"] == "rate(15 minutes)"
if with_vpc:
    endpoints = client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    assert {e["ServiceName"].rsplit(".", 1)[-1] for e in endpoints} >= {"secretsmanager", "kms", "sqs", "logs", "dynamodb"}

print(json.dumps({"cloudformation": len(physical), "by api": by_api, "not in moto": missing}))
