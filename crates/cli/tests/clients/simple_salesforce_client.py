"""Works on an org with simple-salesforce, the way a script that somebody wrote for Salesforce does.

It reads every Contact and writes one of its own. Prints one line of JSON if everything was as on Salesforce;
otherwise it fails with exit code 1. REQUESTS_CA_BUNDLE names the certificate authority of the org.
"""

import json
import os
import re
import sys

from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)

CONTACT_ID = re.compile(r"003[0-9A-Za-z]{15}")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")
ALL_CONTACTS = "SELECT Id, LastName, SystemModstamp FROM Contact ORDER BY Id"
NAME = {"FirstName": "👩‍🚀 Zoë", "LastName": "שלום"}


def expect(condition, message):
    """Fails with a message; `assert` would say nothing under `python -O`."""
    if not condition:
        raise AssertionError(message)


def expect_equal(found, wanted, what):
    """Fails and says both values if they differ."""
    expect(found == wanted, f"{what}: found {found!r}, wanted {wanted!r}")


def refused(exception, call):
    """Makes a call that has to be refused with this exception, and returns the first error of the answer."""
    try:
        result = call()
    except exception as error:
        return error.content[0]
    raise AssertionError(f"not refused with {exception.__name__}: {result!r}")


def read_contacts(org, wanted):
    """Reads every contact, page by page."""
    result = org.query_all(ALL_CONTACTS)
    records = result["records"]
    expect_equal(result["done"], True, "done")
    expect_equal(result["totalSize"], wanted, "totalSize")
    expect_equal(len({record["Id"] for record in records}), wanted, "distinct ids")
    expect_equal(len(records), wanted, "records")
    for record in records:
        expect(CONTACT_ID.fullmatch(record["Id"]), f"not a contact's id: {record['Id']!r}")
        expect(record["LastName"], f"{record['Id']} has no LastName")
        expect(TIMESTAMP.fullmatch(record["SystemModstamp"]), f"not a timestamp: {record['SystemModstamp']!r}")
    return len(records)


def describe(org):
    """Looks at the description of Contact, at the list of objects and at the limits."""
    fields = {field["name"]: field for field in org.Contact.describe()["fields"]}
    expect_equal(fields["LastName"]["createable"], True, "LastName createable")
    expect("Contact" in {item["name"] for item in org.describe()["sobjects"]}, "the list of objects has no Contact")
    expect(org.limits()["DailyApiRequests"]["Max"] > 0, "limits has no DailyApiRequests")


def write_contact(org):
    """Creates, reads, updates and deletes a contact, and returns its id."""
    created = org.Contact.create(NAME)
    expect_equal((created["success"], created["errors"]), (True, []), "create")
    contact_id = created["id"]
    expect(CONTACT_ID.fullmatch(contact_id), f"not a contact's id: {contact_id!r}")

    fresh = org.Contact.get(contact_id)
    expect_equal({key: fresh[key] for key in NAME}, NAME, "the new contact")
    expect_equal(fresh["IsDeleted"], False, "IsDeleted of the new contact")

    expect_equal(org.Contact.update(contact_id, {"LastName": "שלום 2"}), 204, "status of the update")
    changed = org.Contact.get(contact_id)
    expect_equal((changed["FirstName"], changed["LastName"]), (NAME["FirstName"], "שלום 2"), "the changed contact")
    expect(changed["SystemModstamp"] >= fresh["SystemModstamp"], "SystemModstamp went back")

    expect_equal(org.Contact.delete(contact_id), 204, "status of the delete")
    error = refused(SalesforceResourceNotFound, lambda: org.Contact.get(contact_id))
    expect_equal(error["errorCode"], "NOT_FOUND", "errorCode of a deleted contact")

    soql = f"SELECT Id, IsDeleted FROM Contact WHERE Id = '{contact_id}'"
    expect_equal(org.query_all(soql)["totalSize"], 0, "a deleted contact in a query")
    deleted = org.query_all(soql, include_deleted=True)["records"]
    expect_equal([record["IsDeleted"] for record in deleted], [True], "the deleted contact with include_deleted")
    return contact_id


def main():
    """Runs every check and prints the summary."""
    instance_url = os.environ["SF_INSTANCE_URL"]
    org = Salesforce(instance_url=instance_url, session_id=os.environ["SF_ACCESS_TOKEN"], version="67.0")
    contacts = read_contacts(org, int(os.environ["EXPECT_CONTACTS"]))
    describe(org)
    created = write_contact(org)

    error = refused(SalesforceMalformedRequest, lambda: org.query("SELECT FROM Contact"))
    expect_equal(error["errorCode"], "MALFORMED_QUERY", "errorCode of a broken query")
    stranger = Salesforce(instance_url=instance_url, session_id="00D000000000000!expired", version="67.0")
    error = refused(SalesforceExpiredSession, lambda: stranger.query(ALL_CONTACTS))
    expect_equal(error["errorCode"], "INVALID_SESSION_ID", "errorCode of an expired session")

    print(json.dumps({"contacts": contacts, "created": created, "ok": True}))


if __name__ == "__main__":
    sys.exit(main())
