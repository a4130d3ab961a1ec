"""Checks a signed request with AWS's own code: reads it as JSON from standard input, prints `valid` or what differs."""

import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

told = json.load(sys.stdin)
headers = {name.lower(): value for name, value in told["headers"]}
scheme, rest = headers["authorization"].split(" ", 1)
parts = dict(part.strip().split("=", 1) for part in rest.split(","))
_, date, region, service, _ = parts["Credential"].split("/")
signed = parts["SignedHeaders"].split(";")

request = AWSRequest(method="POST", url=told["url"], data=told["body"].encode())
for name in signed:
    request.headers[name] = headers[name]
request.context["timestamp"] = headers["x-amz-date"]
# What the header claims about the body is not believed: the body is hashed again.
del request.headers["x-amz-content-sha256"]
auth = SigV4Auth(Credentials(told["key"], told["secret"], told["token"]), service, region)
body = auth.payload(request)
if body != headers["x-amz-content-sha256"]:
    sys.exit(f"the body's digest is {body}")
request.headers["x-amz-content-sha256"] = body
signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
for needed in ["host", "x-amz-date", "x-amz-target", "x-amz-security-token"]:
    if needed not in signed:
        sys.exit(f"{needed} is not signed")
if signature != parts["Signature"]:
    sys.exit("the signature differs\n" + auth.canonical_request(request))
print(f"valid {service} {region}")
