"""The client of the checkpoint API: ask for a checkpoint on another machine, and follow it to its end.

The key comes from stdin, ``OFFSITEDB_API_KEY`` or the OS keyring, never from the command line. It is sent over TLS, or
to this machine, and to nobody that the server redirects to. What was asked for once is asked again under the same
``Idempotency-Key`` when the network fails: one checkpoint comes of it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx

from engine import errors
from engine.access.apikeys import read_id
from engine.codec import from_plain
from engine.errors import CatalogError, ConfigError, OffsiteError, StillRunning
from engine.keys.backends import KINDS, OK, Request
from engine.keys.door import OsKeyring
from offsitedb_tui.api.answers import CheckpointAnswer, Problem, Refusal

VARIABLE = "OFFSITEDB_API_KEY"
KEYRING_SERVICE = "offsitedb-api"
LOOK_S = 50
_ANSWER_S = 30.0
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_AGAIN = (429, 502, 503, 504)
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Remote:
    """A server and the key for it."""

    url: httpx.URL
    key: str
    verify: ssl.SSLContext | bool


def read_url(text: str) -> httpx.URL:
    """The server's base URL. Raises ConfigError ``api.address``."""
    try:
        url = httpx.URL(text.strip().rstrip("/"))
    except (httpx.InvalidURL, ValueError) as e:
        raise ConfigError("api.address", "this is no URL") from e
    if url.scheme not in ("https", "http") or not url.host or url.query or url.fragment:
        raise ConfigError("api.address", "this is not the base URL of a server")
    if url.userinfo:
        raise ConfigError("api.address", "the URL holds a user or a password")
    if url.scheme == "http" and not _here(url.host):
        raise ConfigError(
            "api.address",
            "the key would cross the network in clear",
            hint=f"Use https:// with {url.host}; http:// is for this machine alone.",
        )
    return url


def find_key(url: httpx.URL, *, from_stdin: bool) -> str:
    """The key to present. Raises ConfigError ``api.no-key``, KeyAccessError."""
    if from_stdin:
        text = sys.stdin.read(1000).strip()
    else:
        text = os.environ.get(VARIABLE, "").strip() or _from_keyring(str(url)) or ""
    if not text:
        raise ConfigError("api.no-key", "there is no API key to present")
    if read_id(text) is None:
        raise ConfigError("api.no-key", "what was given is no API key: it is mistyped, or cut off")
    return text


def trust(ca_file: Path | None) -> ssl.SSLContext | bool:
    """Which certificates are trusted. Raises ConfigError ``api.address``."""
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as e:
        hint = "Give the CA's certificate as a PEM file."
        raise ConfigError("api.address", f"{ca_file} cannot be used as a CA: {e}", hint=hint) from e


class Client:
    """One checkpoint at one server. ``again`` is told when something is tried once more."""

    def __init__(self, remote: Remote, again: Callable[[str], None]) -> None:
        self._again = again
        self._where = str(remote.url)
        self._http = httpx.Client(
            base_url=remote.url,
            verify=remote.verify,
            follow_redirects=False,
            timeout=_ANSWER_S,
            headers={"authorization": f"Bearer {remote.key}", "user-agent": "offsitedb"},
        )
        self._pause = threading.Event()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def ask(self, database: str, tag: str | None) -> CheckpointAnswer:
        """Ask for a checkpoint. Raises CatalogError ``api.unreachable``, or what the server says."""
        body = {"database": database, "tag": tag}
        headers = {"idempotency-key": str(uuid.uuid4())}
        return self._answer("POST", "api/checkpoints", json=body, headers=headers)

    def look(self, checkpoint: str, wait_s: int) -> CheckpointAnswer:
        """The checkpoint as it is when it has ended, or after ``wait_s`` seconds."""
        timeout = httpx.Timeout(_ANSWER_S, read=wait_s + _ANSWER_S)
        return self._answer("GET", f"api/checkpoints/{checkpoint}", params={"wait": wait_s}, timeout=timeout)

    def follow(
        self, answer: CheckpointAnswer, timeout_s: float | None, tell: Callable[[CheckpointAnswer], None]
    ) -> CheckpointAnswer:
        """Wait for its end. Raises StillRunning after ``timeout_s`` seconds, or when the server is lost; it goes on."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            while not (answer.state.ended or answer.state.value == "blocked"):
                left = LOOK_S if end is None else min(LOOK_S, end - time.monotonic())
                if left <= 0:
                    raise self._goes_on(answer, f"the checkpoint has not ended after {timeout_s:g} s and goes on")
                tell(answer)
                answer = self.look(answer.id, max(1, round(left)))
        except CatalogError as e:
            if e.code != "api.unreachable":
                raise
            raise self._goes_on(answer, f"{e.message}; the checkpoint goes on there") from e
        return answer

    def _goes_on(self, answer: CheckpointAnswer, message: str) -> StillRunning:
        return StillRunning(
            "job.still-running",
            message,
            hint=f"Ask again: `curl -H @- {self._where}/api/checkpoints/{answer.id}`, or look on the server:"
            f" `offsitedb jobs show {answer.id[:12]}`.",
            context={"job": answer.id},
        )

    def _answer(self, method: str, path: str, **arguments: Any) -> CheckpointAnswer:
        """One answer of the server, asked for again when the network fails or it has no time now."""
        for pause_s in (*_PAUSES_S, None):
            try:
                response = self._http.request(method, path, **arguments)
            except httpx.TransportError as e:
                if pause_s is None or isinstance(e.__cause__ and e.__cause__.__cause__, ssl.SSLCertVerificationError):
                    raise CatalogError("api.unreachable", f"{self._where}: {_words(e)}") from e
                self._wait(f"{_words(e)}; trying again", pause_s)
                continue
            if response.status_code in _AGAIN and pause_s is not None:
                after = response.headers.get("retry-after", "")
                self._wait(f"the server answers {response.status_code}; trying again", _after(after, pause_s))
                continue
            return self._read(response)
        raise AssertionError

    def _wait(self, why: str, seconds: float) -> None:
        self._again(why)
        self._pause.wait(seconds)

    def _read(self, response: httpx.Response) -> CheckpointAnswer:
        try:
            plain = json.loads(response.content[:_LONGEST])
            if isinstance(plain, dict) and "request_id" in plain:
                _raise(from_plain(Refusal, plain).error)
            return from_plain(CheckpointAnswer, plain)
        except ValueError as e:
            raise CatalogError(
                "api.unreachable",
                f"what answers at {self._where} is not the checkpoint API (status {response.status_code})",
            ) from e


def failure(answer: CheckpointAnswer) -> Problem | None:
    """Why the checkpoint is no proof, if it is none."""
    if answer.ok:
        return None
    return answer.error or Problem("internal.error", "the server says nothing of why", "", 99)


def _raise(found: Problem) -> NoReturn:
    """What the server refused, as the same error here. Its hint is the server's."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OffsiteError)]
    kind = next((k for k in kinds if k.exit_status == found.exit_status and k is not OffsiteError), errors.Internal)
    try:
        raise kind(found.code, found.message, hint=found.hint)
    except KeyError:  # a code of a newer server
        raise errors.Internal("internal.error", f"{found.message} [{found.code}]", hint=found.hint) from None


def _from_keyring(url: str) -> str | None:
    """The key that the OS keyring holds for this server; None where there is none, or no keyring."""
    keyring = OsKeyring()
    for kind in KINDS:
        if kind.platform in (None, sys.platform) and kind.foreign:
            reply = keyring.ask(Request("get", kind.name, KEYRING_SERVICE, url))
            if reply.state == OK and reply.value:
                return reply.value
    return None


def _here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _after(text: str, otherwise: float) -> float:
    return min(float(text), 60.0) if text.isascii() and text.isdigit() else otherwise


def _words(e: Exception) -> str:
    return str(e) or type(e).__name__
