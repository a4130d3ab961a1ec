"""What programs in Python do for the same work as `bench/tokens`: simple-salesforce, a dict with a lock, and PyJWT.

    ORG="$(the line of tieline emulate --json)" python peers.py herd|lookup|sign

One line of JSON for each number. The org is on the same machine, so times in `ms` contain its own work.
"""

import functools
import importlib.metadata
import json
import os
import sys
import threading
import time

ORG = json.loads(os.environ["ORG"])
DEAD_TOKEN = ORG["access_token"][:-8] + "deadDEAD"  # the org has never given it out
TOKEN_LATENCY_MS = 150
SMALL_QUERY = "SELECT Id FROM Contact LIMIT 1"
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def report(case, who, unit, value, **extra):
    """Prints one number."""
    value = value if isinstance(value, int) else float(f"{value:.6g}")
    print(json.dumps({"case": case, "who": who, "unit": unit, "value": value, **extra}), flush=True)


def version(package):
    """The version of a package that is installed."""
    return importlib.metadata.version(package)


def control(method, path, body=None):
    """A call of the org's control API."""
    import requests

    answer = requests.request(method, ORG["control_url"] + path, json=body, timeout=30)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def token_requests():
    """How many token requests the org has had, of all grants."""
    return sum(control("GET", "/ledger")["token_requests"].values())


def shared_client(threads):
    """One Salesforce object for all threads, with a dead session and a pool that has room for each of them."""
    import requests
    from simple_salesforce import Salesforce

    session = requests.Session()
    adapter = requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=threads)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    client = Salesforce(instance_url=ORG["instance_url"], session_id=DEAD_TOKEN, version="67.0", session=session)
    # It makes https:// of every instance URL; the org speaks HTTP unless it was started with --tls.
    client.base_url = f"{ORG['instance_url']}/services/data/v67.0/"
    return client


def log_in_again(client):
    """Trades the refresh token for a session and gives it to the client that all threads share."""
    import requests

    form = {
        "grant_type": "refresh_token",
        "client_id": ORG["client_id"],
        "client_secret": ORG["client_secret"],
        "refresh_token": ORG["refresh_token"],
    }
    answer = requests.post(ORG["login_url"] + "/services/oauth2/token", data=form, timeout=60)
    answer.raise_for_status()
    client.session_id = answer.json()["access_token"]
    client.headers["Authorization"] = "Bearer " + client.session_id


def with_login(client):
    """The usual decorator: if the session has expired, log in again and repeat the call once.

    It is ours. A client that was made from a session id does not log in again by itself.
    """
    from simple_salesforce.exceptions import SalesforceExpiredSession

    def decorate(call):
        @functools.wraps(call)
        def guarded(*args, **kwargs):
            try:
                return call(*args, **kwargs)
            except SalesforceExpiredSession:
                log_in_again(client)
                return call(*args, **kwargs)

        return guarded

    return decorate


def herd():
    """Many threads at once, with one client whose session is dead.

    How many of them log in differs from run to run: threads that get to their query late find the new session.
    """
    threads = 500
    client = shared_client(threads)
    gate = threading.Event()
    served, errors = [], []

    @with_login(client)
    def query():
        return client.query(SMALL_QUERY)

    def work():
        gate.wait()
        try:
            served.append(len(query()["records"]))
        except Exception as error:  # whatever it is, this caller was not served
            errors.append(repr(error)[:200])

    control("DELETE", "/faults")
    slow = {"path": "/services/oauth2/token", "method": "POST", "delay_ms": TOKEN_LATENCY_MS, "times": 100_000}
    control("POST", "/faults", slow)
    try:
        before = token_requests()
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        began = time.perf_counter()
        gate.set()
        for worker in workers:
            worker.join()
        wall_ms = (time.perf_counter() - began) * 1000
        count = token_requests() - before
    finally:
        control("DELETE", "/faults")
    who = f"simple-salesforce {version('simple-salesforce')}"
    extra = {"callers": threads, "failed": threads - len(served), "guard": "retry decorator of ours"}
    if errors:
        extra["error"] = errors[0]
    report("herd-threads-500", who, "count", count, **extra)
    report("herd-threads-500", who, "ms", wall_ms, **extra)


class ConnectionCache:
    """The cache that services write for themselves: by app and refresh token, for half an hour, behind a lock."""

    LIFETIME = 30 * 60

    def __init__(self):
        self._entries = {}
        self._lock = threading.Lock()

    def put(self, client_id, refresh_token, connection):
        """Stores a connection."""
        with self._lock:
            self._entries[f"{client_id}:{refresh_token}"] = (connection, time.monotonic())

    def get(self, client_id, refresh_token):
        """The connection if there is one that is young enough."""
        key = f"{client_id}:{refresh_token}"
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and time.monotonic() - entry[1] < self.LIFETIME:
                return entry[0]
            return None


def lookup():
    """A warm cache, asked again and again by one thread."""
    rounds = 1_000_000
    client_id, refresh_token = ORG["client_id"], ORG["refresh_token"]
    cache = ConnectionCache()
    cache.put(client_id, refresh_token, {"access_token": ORG["access_token"], "instance_url": ORG["instance_url"]})

    def ask(count):
        found = 0
        for _ in range(count):
            if cache.get(client_id, refresh_token) is not None:
                found += 1
        return found

    ask(100_000)
    wall, cpu = time.perf_counter(), time.process_time()
    found = ask(rounds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if found != rounds:
        raise AssertionError(f"only {found} of {rounds} lookups found something")
    report("lookup-dict", "Python dict with a lock", "per_s", rounds / wall, rounds=rounds, keys=1)
    report("lookup-dict", "Python dict with a lock", "cpu_us", cpu * 1e6 / rounds, rounds=rounds, keys=1)


def sign():
    """An assertion for the JWT bearer flow, made and signed."""
    try:
        import jwt
    except ImportError:
        print("PyJWT is not installed: nothing to measure", file=sys.stderr)
        return
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    rounds = 300
    with open(ORG["private_key_file"], "rb") as file:
        pem = file.read()

    def assertion(key):
        exp = int(time.time()) + 180
        claims = {"iss": ORG["client_id"], "sub": ORG["username"], "aud": ORG["login_url"], "exp": exp}
        return jwt.encode(claims, key, algorithm="RS256")

    for how, key in (("PEM each time", pem), ("key parsed once", load_pem_private_key(pem, password=None))):
        for _ in range(10):
            assertion(key)
        cpu = time.process_time()
        for _ in range(rounds):
            assertion(key)
        cpu = time.process_time() - cpu
        report("sign", f"PyJWT {version('PyJWT')}, {how}", "cpu_us", cpu * 1e6 / rounds, rounds=rounds)


CASES = {"herd": herd, "lookup": lookup, "sign": sign}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in CASES:
        sys.exit(f"one of {', '.join(CASES)} is wanted")
    CASES[sys.argv[1]]()
