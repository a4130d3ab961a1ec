"""Loads and exports contacts with both Bulk APIs of simple-salesforce, the way a script that somebody wrote does.

Prints one line of JSON if everything was as on Salesforce; otherwise it fails with exit code 1. REQUESTS_CA_BUNDLE
names the certificate authority of the org.
"""

import csv
import io
import json
import os
import sys

from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest

NAMES = ["plain", " spaces ", 'a "quote", a comma', "two\nlines", "👩‍🚀 Zoë", "שלום"]
MISSING = "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"
PAGE = 1_000


def expect(condition, message):
    """Fails with a message; `assert` would say nothing under `python -O`."""
    if not condition:
        raise AssertionError(message)


def expect_equal(found, wanted, what):
    """Fails and says both values if they differ."""
    expect(found == wanted, f"{what}: found {found!r}, wanted {wanted!r}")


def rows(text):
    """The rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def results(text):
    """The rows of a result file, which come without a charset: requests then takes them for Latin-1."""
    return rows(text.encode("latin-1").decode())


def names(org, condition):
    """The last names of contacts in the order of their ids."""
    found = org.query_all(f"SELECT LastName FROM Contact WHERE {condition} ORDER BY Id")["records"]
    return [record["LastName"] for record in found]


def export(org, wanted):
    """Reads every contact, page by page."""
    query = org.bulk2.Contact.query("SELECT Id, LastName FROM Contact", max_records=PAGE, wait=0.1)
    pages = [rows(page) for page in query]
    expect_equal(max(len(page) for page in pages), PAGE, "rows of a page")
    expect_equal(len(pages), -(-wanted // PAGE), "pages")
    ids = [row["Id"] for page in pages for row in page]
    expect_equal((len(ids), len(set(ids))), (wanted, wanted), "exported contacts")
    return len(ids)


def load(org):
    """Inserts, updates, upserts and deletes with Bulk API 2.0."""
    contact = org.bulk2.Contact
    records = [{"LastName": name, "Email": f"p{n}@example.com"} for n, name in enumerate(NAMES)]
    [job] = contact.insert(records=records + [{"LastName": "", "Email": "nobody@example.com"}], wait=0.1)
    counts = (job["numberRecordsProcessed"], job["numberRecordsFailed"], job["numberRecordsTotal"])
    expect_equal(counts, (7, 1, 7), "counts of the insert")
    successful = results(contact.get_successful_records(job["job_id"]))
    expect_equal([row["LastName"] for row in successful], NAMES, "names in the results")
    expect_equal({row["sf__Created"] for row in successful}, {"true"}, "sf__Created")
    failed = results(contact.get_failed_records(job["job_id"]))
    expect_equal([row["sf__Error"] for row in failed], [MISSING], "sf__Error")
    expect_equal(results(contact.get_unprocessed_records(job["job_id"])), [], "unprocessed records")
    expect_equal(names(org, "Email LIKE 'p_@example.com'"), NAMES, "names in the org")
    ids = [row["sf__Id"] for row in successful]

    [job] = contact.update(records=[{"Id": ids[0], "LastName": "changed"}], wait=0.1)
    expect_equal(job["numberRecordsFailed"], 0, "failures of the update")
    upserts = [{"Email": "p1@example.com", "LastName": "upserted"}, {"Email": "p9@example.com", "LastName": "new"}]
    [job] = contact.upsert(records=upserts, external_id_field="Email", wait=0.1)
    created = [row["sf__Created"] for row in results(contact.get_successful_records(job["job_id"]))]
    expect_equal(created, ["false", "true"], "sf__Created of the upsert")
    expect_equal(names(org, "Email LIKE 'p_@example.com'"), ["changed", "upserted", *NAMES[2:], "new"], "changed names")
    [job] = contact.delete(records=[{"Id": record} for record in ids], wait=0.1)
    expect_equal((job["numberRecordsProcessed"], job["numberRecordsFailed"]), (6, 0), "counts of the delete")
    expect_equal(names(org, "Email LIKE 'p_@example.com'"), ["new"], "names after the delete")


def load_classic(org):
    """The same with the first Bulk API."""
    contact = org.bulk.Contact
    records = [{"LastName": name, "Email": f"q{n}@example.com", "Phone": "v1"} for n, name in enumerate(NAMES)]
    answers = contact.insert(records + [{"LastName": None, "Phone": "v1"}])
    expect_equal([result["success"] for result in answers], [True] * 6 + [False], "success of the insert")
    expect_equal(answers[-1]["errors"][0]["statusCode"], "REQUIRED_FIELD_MISSING", "statusCode")
    ids = [result["id"] for result in answers[:-1]]
    answers = contact.update([{"Id": ids[0], "LastName": "changed"}])
    expect_equal([(result["id"], result["created"]) for result in answers], [(ids[0], False)], "update")
    answers = contact.upsert([{"Email": "q1@example.com", "LastName": "upserted"}], "Email")
    expect_equal([result["id"] for result in answers], [ids[1]], "upsert")
    found = contact.query("SELECT Id, LastName FROM Contact WHERE Phone = 'v1' ORDER BY Id")
    expect_equal([row["LastName"] for row in found], ["changed", "upserted", *NAMES[2:]], "query")
    answers = contact.delete([{"Id": record} for record in ids])
    expect_equal([result["success"] for result in answers], [True] * 6, "success of the delete")


def main():
    """Runs every check and prints the summary."""
    token = os.environ["SF_ACCESS_TOKEN"]
    org = Salesforce(instance_url=os.environ["SF_INSTANCE_URL"], session_id=token, version="67.0")
    contacts = export(org, int(os.environ["EXPECT_CONTACTS"]))
    load(org)
    load_classic(org)
    try:
        next(org.bulk2.Contact.query("SELECT MailingAddress FROM Contact", wait=0.1))
    except SalesforceMalformedRequest as error:
        expect_equal(error.content[0]["errorCode"], "API_ERROR", "errorCode of a compound field")
    else:
        raise AssertionError("a compound field is not refused")
    print(json.dumps({"contacts": contacts, "ok": True}))


if __name__ == "__main__":
    sys.exit(main())
