"""What programs in Python do for the same work as `bench/src/client.rs`: simple-salesforce.

    ORG=URL python peers.py 'query'|'query, gzip'|'bulk query'|'bulk query: file'|'ingest'|'50 callers'|'first query'

ORG is a URL of `tieline-bench fixture`. One line of JSON for each number. `first query` prints nothing but its peak of
memory: what a process costs from its start to its end is measured from outside.
"""

import csv
import io
import json
import os
import resource
import sys
import tempfile
import threading
import time

import requests
from simple_salesforce import Salesforce

ORG = os.environ["ORG"].rstrip("/")
WHO = "simple-salesforce"
SOQL = (
    "SELECT Id,AccountId,FirstName,LastName,Email,Phone,Title,Department,MailingCity,MailingCountry,CreatedDate,"
    "SystemModstamp FROM Contact"
)
send_unchanged = requests.Session.send


def send(self, request, **settings):
    """simple-salesforce insists on https; the fixture speaks plain HTTP."""
    request.url = request.url.replace(ORG.replace("http:", "https:"), ORG, 1)
    return send_unchanged(self, request, **settings)


requests.Session.send = send
requests.Session.trust_env = False
org = Salesforce(session_id="00D!static", instance_url=ORG, version="60.0")


def peak():
    """The kernel's line about the most memory that this process has had."""
    with open("/proc/self/status") as status:
        return next(line for line in status if line.startswith("VmHWM:"))


def used():
    """CPU time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def report(case, who, unit, value):
    """Prints one number."""
    print(json.dumps({"case": case, "who": who, "unit": unit, "value": value}), flush=True)


def measured(case, who, work):
    """Does some work, which answers for how many records or calls, and prints what it took."""
    wall, cpu = time.perf_counter(), used()
    count = work()
    report(case, who, "cpu_us", (used() - cpu) * 1e6 / count)
    report(case, who, "wall_s", time.perf_counter() - wall)
    report(case, who, "peak_mb", int(peak().split()[1]) / 1024)


def query():
    """One record after the other, which is its cheapest way."""
    return sum(1 for _ in org.query_all_iter(SOQL))


def bulk_query():
    """Pages as text, and the csv module over them: what its examples do."""
    pages = org.bulk2.Contact.query(SOQL, wait=0)
    return sum(1 for page in pages for _ in csv.DictReader(io.StringIO(page)))


def bulk_query_to_files():
    """Pages to files, unparsed."""
    with tempfile.TemporaryDirectory() as folder:
        return sum(page["number_of_records"] for page in org.bulk2.Contact.download(SOQL, path=folder, wait=0))


def ingest():
    """Records as dicts, all at once: that is what it takes."""
    rows = [
        {
            "FirstName": f"First{n}",
            "LastName": f"Last, {n}",
            "Email": f"user{n}@example.com",
            "Phone": f"+1 555 {n}",
            "External_Id__c": f"EXT-{n}",
        }
        for n in range(1_000_000)
    ]
    return sum(job["numberRecordsProcessed"] for job in org.bulk2.Contact.insert(records=rows, wait=0))


def callers():
    """Fifty threads."""
    until, calls = time.perf_counter() + 5, []

    def one():
        while time.perf_counter() < until:
            org.query("SELECT Id,LastName FROM Contact LIMIT 1")
            calls.append(1)

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(calls)


case = sys.argv[1]
if case == "first query":
    org.query("SELECT Id FROM Contact LIMIT 1")
    print(peak())
elif case == "bulk query: file":
    measured("bulk query", f"{WHO}, to files", bulk_query_to_files)
else:
    cases = {"query": query, "query, gzip": query, "bulk query": bulk_query, "ingest": ingest, "50 callers": callers}
    measured(case, WHO, cases[case])
