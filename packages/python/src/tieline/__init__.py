"""simple-salesforce with a token that is always valid, from the tieline broker on this machine.

    from tieline import connect

    sf = connect()
    sf.query("SELECT Id, Name FROM Account")
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import Any, Dict, Optional, Tuple
from urllib.parse import urlsplit

import requests
import requests.adapters
import simple_salesforce

__all__ = ["Broker", "Salesforce", "TielineError", "connect"]

# The broker answers within a minute.
_PATIENCE = 65
_EXTENSION = "/opt/extensions/tieline-extension"


class TielineError(Exception):
    """Why there is no token: `code` to branch on, whether it may work later as it is, and the next act."""

    def __init__(self, code: str, message: str, hint: str, retryable: bool = False) -> None:
        super().__init__(f"{message}\nhint: {hint}")
        self.code = code
        self.hint = hint
        self.retryable = retryable


class Broker:
    """The token broker on this machine: the extension in AWS Lambda, `tieline broker` elsewhere."""

    def __init__(self, secret: str, port: int = 2774) -> None:
        self._secret = secret
        self._url = f"http://localhost:{port}/v1/token"
        self._session = requests.Session()
        # Loopback needs no proxy, and must not be sent through one.
        self._session.trust_env = False

    @classmethod
    def from_environment(cls) -> "Broker":
        """`TIELINE_BROKER_TOKEN` says that there is one; in Lambda the layer with the extension does.

        Raises `TielineError` with the code `configuration` where there is none.
        """
        env = os.environ
        secret = env.get("TIELINE_BROKER_TOKEN")
        if not secret and env.get("AWS_LAMBDA_FUNCTION_NAME"):
            if env.get("TIELINE_BROKER") == "on" or os.path.exists(_EXTENSION):
                secret = env.get("AWS_SESSION_TOKEN") or env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        if not secret or env.get("TIELINE_BROKER") == "off":
            raise TielineError(
                "configuration",
                "there is no broker to ask for a token",
                "add the layer with tieline-extension to the function, or run `tieline broker` (TIELINE_BROKER_TOKEN)",
            )
        return cls(secret, int(env.get("TIELINE_BROKER_PORT") or 2774))

    def token(self, connection: str = "default", refused: Optional[str] = None) -> Dict[str, Any]:
        """A valid token of an org, or another one than `refused`: `access_token`, `instance_url`, `api_version`, …"""
        params = {"connection": connection}
        if refused is not None:
            params["seen"] = hashlib.sha256(refused.encode()).hexdigest()
        try:
            answer = self._session.get(
                self._url, params=params, headers={"X-Tieline-Token": self._secret}, timeout=_PATIENCE
            )
            told = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise TielineError(
                "broker_unreachable",
                f"the broker at {self._url} does not answer ({type(error).__name__})",
                "see that it runs: the layer in Lambda, `tieline broker` elsewhere",
                retryable=True,
            ) from None
        if not answer.ok:
            raise TielineError(told["code"], told["message"], told["hint"], told["retryable"])
        return told

    def __repr__(self) -> str:
        return f"Broker({self._url})"


class _AfterAPause(requests.adapters.HTTPAdapter):
    """Sends nothing on a connection from before a pause.

    A Lambda function is frozen between its invocations. A gateway may forget its connections meanwhile, and nobody can
    tell it: the first call after the thaw would fail, and one that creates something must not be made again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._used_at = 0.0
        self._turn = threading.Lock()

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        began = time.time()
        with self._turn:
            if not 0 <= began - self._used_at <= 1:
                # A new one, not an emptied one: another thread may be about to use the old one.
                self.init_poolmanager(self._pool_connections, self._pool_maxsize, block=self._pool_block)
            self._used_at = began
        try:
            return super().send(*args, **kwargs)
        finally:
            with self._turn:
                # A call that was under way in a freeze says nothing about the connections beside it.
                self._used_at = time.time() if 0 <= time.time() - began <= 1 else 0.0


class Salesforce(simple_salesforce.Salesforce):
    """simple-salesforce's client; a token that the org refuses is replaced, and the call made again.

    It may be used by several threads: a token that many calls were refused with is replaced once.
    """

    def __init__(self, broker: Broker, connection: str = "default", **arguments: Any) -> None:
        self._broker = broker
        self._connection = connection
        self._lock = threading.Lock()
        # The token that a thread's last request carried: another thread may have replaced it since.
        self._sent = threading.local()
        self._token = ""
        told = broker.token(connection)
        arguments.setdefault("version", told["api_version"])
        super().__init__(session_id=told["access_token"], instance_url=told["instance_url"], **arguments)
        if os.environ.get("AWS_LAMBDA_FUNCTION_NAME") and arguments.get("session") is None:
            self.session.mount("https://", _AfterAPause())
        # simple-salesforce calls this when the org has answered INVALID_SESSION_ID.
        self._salesforce_login_partial = self._other_token

    def renew(self) -> None:
        """Takes the broker's token of now: before work that must not be interrupted by a refusal, such as a bulk job."""
        told = self._broker.token(self._connection)
        self.session_id = told["access_token"]

    def _other_token(self) -> Tuple[str, str]:
        refused = getattr(self._sent, "token", self._token)
        with self._lock:
            if self._token == refused:
                told = self._broker.token(self._connection, refused=refused)
                self._token = told["access_token"]
                self.sf_instance = urlsplit(told["instance_url"]).netloc
            return self._token, self.sf_instance

    @property
    def session_id(self) -> str:  # type: ignore[override]
        self._sent.token = self._token
        return self._token

    @session_id.setter
    def session_id(self, token: str) -> None:
        self._token = token

    @property
    def headers(self) -> Dict[str, str]:  # type: ignore[override]
        return {**self._headers, "Authorization": f"Bearer {self.session_id}"}

    @headers.setter
    def headers(self, headers: Dict[str, str]) -> None:
        self._headers = headers


_shared: Dict[Tuple[str, str], Salesforce] = {}
_shared_lock = threading.Lock()


def connect(connection: str = "default") -> Salesforce:
    """The client of one of the broker's connections, the same for all who ask; made at the first call.

    In Lambda call it in the handler: the client outlives the invocation, and its token is renewed when it must be.
    """
    broker = Broker.from_environment()
    key = (repr(broker), connection)
    with _shared_lock:
        if key not in _shared:
            _shared[key] = Salesforce(broker, connection)
        return _shared[key]
