"""The package with the real simple-salesforce, a broker and a local org; prints `ok`. `cargo xtask test` runs it."""

import os
import re
import threading
import time
from pathlib import Path

import requests
from tieline import Broker, Salesforce, TielineError, connect

CONTROL = os.environ["CONTROL_URL"]


def control(method, path, body=None):
    answer = requests.request(method, f"{CONTROL}/{path}", json=body, timeout=10)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def logins():
    return control("GET", "ledger")["logins"]


def code_of(call):
    try:
        call()
    except TielineError as error:
        assert "\nhint: " in str(error)
        return error.code
    raise AssertionError("no error")


sf = connect()
assert sf is connect() and sf.sf_version == "67.0"
assert sf.query("SELECT Id FROM Contact")["totalSize"] == 3
assert logins() == 1

# A session that the org has ended, noticed by many threads at once, by the client and by an object of it.
made = sf.Contact.create({"LastName": "From Python"})
old = sf.session_id
control("POST", "tokens/revoke", {"all": True})
found = []
queries = [lambda: found.append(sf.query("SELECT Id FROM Contact")["totalSize"]) for _ in range(10)]
reads = [lambda: found.append(sf.Contact.get(made["id"])["LastName"]) for _ in range(10)]
threads = [threading.Thread(target=work) for work in queries + reads]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(map(str, found)) == ["4"] * 10 + ["From Python"] * 10, found
assert sf.session_id != old and logins() == 2
sf.renew()
assert logins() == 2

# The programs of the README.
page = Path(os.environ["README"]).read_text()
first, second = re.findall(r"```python\n(.*?)```", page, re.S)
names = {}
exec(first, names)
assert names["found"]["totalSize"] == 4
exec(second, names)
assert names["handler"]({"lastName": "From a handler"}, None)["success"]

# In Lambda, connections that have died during a freeze cost neither a call nor a duplicate.
os.environ["AWS_LAMBDA_FUNCTION_NAME"] = "orders"
frozen = Salesforce(Broker.from_environment())
before = frozen.query("SELECT Id FROM Contact")["totalSize"]
control("DELETE", "connections")
time.sleep(1.1)
frozen.Contact.create({"LastName": "Once"})
assert frozen.query("SELECT Id FROM Contact")["totalSize"] == before + 1

assert code_of(lambda: connect("absent")) == "unknown_connection"
assert code_of(lambda: Broker("wrong secret", int(os.environ["TIELINE_BROKER_PORT"])).token()) == "forbidden"
assert code_of(lambda: Broker("x", 1).token()) == "broker_unreachable"
os.environ["TIELINE_BROKER"] = "off"
assert code_of(connect) == "configuration"
assert os.environ["TIELINE_BROKER_TOKEN"] not in repr(sf.__dict__["_broker"])
print("ok")
