"""What a script in Python does for the same work as `tieline sync run`: simple-salesforce, and the database's cheapest way.

    ORG=URL DATABASE=PLACE python peers.py postgres|sqlite
    python peers.py count postgres|sqlite PLACE TABLE

ORG is a URL of `tieline-bench fixture sync`; PLACE a URL of PostgreSQL or a file of SQLite. The first prints how many
records it wrote, and reads all of them at each run, as such scripts do: it keeps no state. The second prints how many rows
a table has. What a process costs from its start to its end is measured from outside.
"""

import os
import sqlite3
import sys

FIELDS = (
    "Id AccountId FirstName LastName Email Phone Title Department MailingCity MailingCountry CreatedDate SystemModstamp"
).split()
NAMES = ", ".join(field.lower() for field in FIELDS)
UPDATES = ", ".join(f"{field.lower()} = excluded.{field.lower()}" for field in FIELDS[1:])
# Rows of a transaction of SQLite's: a page.
AT_ONCE = 2_000


def columns(moment):
    """The columns of the table, with this type for moments."""
    types = {"Id": "text PRIMARY KEY", "CreatedDate": moment, "SystemModstamp": moment}
    return ", ".join(f"{field.lower()} {types.get(field, 'text')}" for field in FIELDS)


def records():
    """All contacts, each as a tuple."""
    import requests
    from simple_salesforce import Salesforce

    org = os.environ["ORG"].rstrip("/")
    send_unchanged = requests.Session.send

    def send(self, request, **settings):
        # simple-salesforce insists on https; the fixture speaks plain HTTP.
        request.url = request.url.replace(org.replace("http:", "https:"), org, 1)
        return send_unchanged(self, request, **settings)

    requests.Session.send = send
    requests.Session.trust_env = False
    salesforce = Salesforce(session_id="00D!static", instance_url=org, version="60.0")
    for record in salesforce.query_all_iter(f"SELECT {','.join(FIELDS)} FROM Contact"):
        yield tuple(record[field] for field in FIELDS)


def into_postgres(url):
    """Into a staging table by COPY, and from there by one statement."""
    import psycopg

    count = 0
    with psycopg.connect(url) as database, database.cursor() as cursor:
        cursor.execute(f"CREATE TABLE contact_script ({columns('timestamptz')})")
        cursor.execute("CREATE TEMP TABLE stage (LIKE contact_script)")
        with cursor.copy(f"COPY stage ({NAMES}) FROM STDIN") as copy:
            for record in records():
                copy.write_row(record)
                count += 1
        cursor.execute(f"INSERT INTO contact_script SELECT * FROM stage ON CONFLICT (id) DO UPDATE SET {UPDATES}")
    return count


def into_sqlite(path):
    """A transaction for each page."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = wal")
    database.execute("PRAGMA synchronous = normal")
    database.execute(f"CREATE TABLE contact_script ({columns('text')})")
    places = ", ".join("?" * len(FIELDS))
    statement = f"INSERT INTO contact_script ({NAMES}) VALUES ({places}) ON CONFLICT (id) DO UPDATE SET {UPDATES}"
    count, batch = 0, []

    def write():
        nonlocal count
        database.executemany(statement, batch)
        database.commit()
        count += len(batch)
        batch.clear()

    for record in records():
        batch.append(record)
        if len(batch) == AT_ONCE:
            write()
    write()
    database.close()
    return count


def count_rows(kind, place, table):
    """Rows of a table, as its database counts them."""
    if kind == "sqlite":
        database = sqlite3.connect(place)
    else:
        import psycopg

        database = psycopg.connect(place)
    return database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]


if sys.argv[1] == "count":
    print(count_rows(*sys.argv[2:]))
else:
    print({"postgres": into_postgres, "sqlite": into_sqlite}[sys.argv[1]](os.environ["DATABASE"]))
