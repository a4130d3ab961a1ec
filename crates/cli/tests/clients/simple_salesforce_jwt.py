"""Logs in with simple-salesforce by JWT bearer, as the files of `tieline setup jwt` say, and calls the API.

simple-salesforce asks https://login.salesforce.com, and nothing else: an adapter of requests takes those requests to the
org of the test instead. Everything else is as a script for Salesforce would have it.
"""

import json
import os
from urllib.parse import urlsplit, urlunsplit

import requests
from simple_salesforce import Salesforce, SalesforceLogin

with open(os.environ["JWT_CONFIG"], encoding="utf-8") as file:
    CONFIG = json.load(file)


class ToTheOrg(requests.adapters.HTTPAdapter):
    """Sends what is meant for the login host to the org."""

    def send(self, request, **options):
        org = urlsplit(CONFIG["loginUrl"])
        request.url = urlunsplit(urlsplit(request.url)._replace(scheme=org.scheme, netloc=org.netloc))
        return super().send(request, **options)


session = requests.Session()
session.mount("https://login.salesforce.com", ToTheOrg())
token, host = SalesforceLogin(
    username=CONFIG["username"],
    consumer_key=CONFIG["clientId"],
    privatekey_file=CONFIG["privateKeyFile"],
    session=session,
)
org = Salesforce(session_id=token, instance_url=CONFIG["instanceUrl"], session=session)
found = org.query("SELECT Id FROM Contact")

# Its deploy posts to a path of its own and leaves stray text between the elements.
package = os.environ["PACKAGE_ZIP_FILE"]
job, state = org.deploy(package, sandbox=True, checkOnly=True, singlePackage=True)["asyncId"], None
status = org.checkDeployStatus(job)
print(json.dumps({"ok": True, "contacts": found["totalSize"], "deploy": status["state"], "errors": status["deployment_detail"]["total_count"]}))
