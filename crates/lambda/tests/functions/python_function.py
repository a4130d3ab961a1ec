"""A Lambda function as somebody writes it with simple-salesforce; AWS's own runtime for Python runs it.

The function asks the broker on localhost for a token, and once more when the org refuses one.
"""

import hashlib
import os

import requests
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceExpiredSession

BROKER = f"http://localhost:{os.environ.get('TIELINE_BROKER_PORT', '2774')}/v1/token"


def ask(seen=None):
    params = {"refresh": 1, "seen": hashlib.sha256(seen.encode()).hexdigest()} if seen else {}
    secret = os.environ["AWS_SESSION_TOKEN"]
    answer = requests.get(BROKER, params=params, headers={"X-Tieline-Token": secret}, timeout=65)
    body = answer.json()
    if not answer.ok:
        raise RuntimeError(f"{body['code']}: {body['message']}")
    return body


def salesforce(told):
    return Salesforce(
        instance_url=told["instance_url"], session_id=told["access_token"], version=told["api_version"]
    )


def handler(event, context):
    told = ask()
    try:
        found = salesforce(told).query("SELECT Id FROM Contact")
    except SalesforceExpiredSession:
        told = ask(seen=told["access_token"])
        found = salesforce(told).query("SELECT Id FROM Contact")
    digest = hashlib.sha256(told["access_token"].encode()).hexdigest()
    return {"totalSize": found["totalSize"], "token": digest}
