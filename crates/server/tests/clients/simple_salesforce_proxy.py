"""Works on an org through tieline's proxy with simple-salesforce: the proxy is the instance, an API key the session.

It speaks HTTPS only; the test's service is on loopback without it, so an adapter of requests takes the place of the
TLS that stands before a real service. Prints `ok` if everything was as on Salesforce; otherwise it fails.
"""

import os

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceResourceNotFound


class WithoutTls(HTTPAdapter):
    """Sends what is meant for HTTPS over HTTP."""

    def send(self, request, **kwargs):
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **kwargs)


def expect(condition, message):
    """Fails with a message; `assert` would say nothing under `python -O`."""
    if not condition:
        raise AssertionError(message)


def refused(exception, call):
    """Makes a call that has to be refused with this exception."""
    try:
        call()
    except exception:
        return
    raise AssertionError(f"not refused with {exception.__name__}")


session = requests.Session()
session.mount("https://127.0.0.1", WithoutTls())
instance = os.environ["PROXY_URL"].removeprefix("http://")
org = Salesforce(instance=instance, session_id=os.environ["PROXY_KEY"], session=session, version="67.0")

found = org.query_all("SELECT Id, LastName FROM Contact ORDER BY Id")["records"]
expect(len(found) == int(os.environ["EXPECT_CONTACTS"]), f"{len(found)} contacts")
expect(org.Contact.describe()["name"] == "Contact", "describe")
made = org.Contact.create({"LastName": "Proxy"})
expect(made["success"], made)
expect(org.Contact.update(made["id"], {"FirstName": "Zoë"}) == 204, "update")
expect(org.Contact.get(made["id"])["FirstName"] == "Zoë", "get")
expect(org.Contact.delete(made["id"]) == 204, "delete")
refused(SalesforceResourceNotFound, lambda: org.Contact.get(made["id"]))
refused(SalesforceMalformedRequest, lambda: org.query("SELECT"))
expect(org.limits()["DailyApiRequests"]["Max"] > 0, "limits")
loaded = org.bulk2.Contact.insert(records=[{"LastName": "Bulk1"}, {"LastName": "Bulk2"}])
expect(sum(job["numberRecordsProcessed"] for job in loaded) == 2, loaded)
print("ok")
