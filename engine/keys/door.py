"""The door to the OS keyring: find a backend, keep the master key there, get it back.

Every write is read back before it counts. A foreign keyring is called in a child process with a time limit. The door
never falls back to a weaker backend, never makes a key, and says for each way of not having one which it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine import codec
from engine.cancel import CancelToken
from engine.errors import KeyAccessError
from engine.keys.backends import KINDS, OK, Kind, Reply, Request, kind_of, perform
from engine.keys.master import MasterKey
from engine.keys.systemd import CREDENTIALS_VARIABLE
from engine.model import BackendState
from engine.process import clean_environment, run
from engine.redact import holding

SERVICE_PREFIX = "offsitedb"
TIMEOUT_S = 10.0

# what a keyring's client needs to find its bus, its session and its files
_PASSED_ON = (
    "HOME",
    "USER",
    "LOGNAME",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "XDG_CURRENT_DESKTOP",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "KDE_FULL_SESSION",
    "KDE_SESSION_VERSION",
    "APPDATA",
    "LOCALAPPDATA",
    "USERPROFILE",
)
_MESSAGES = {
    "key.no-backend": "the keyring cannot be used",
    "key.locked": "the keyring is locked",
    "key.timeout": "the keyring did not answer in time",
    "key.weak-backend": "the keyring backend is not trusted with a master key",
    "key.write-failed": "the keyring did not keep the key",
    "key.missing": "the keyring does not hold the key",
}


class KeyStore(Protocol):
    """Who holds master keys: one keyring backend, or another holder that is handed in.

    ``load`` raises KeyAccessError ``key.missing`` when there is none; ``store`` returns only when the key can be read
    back; ``delete`` of what is not there is no error.
    """

    @property
    def name(self) -> str: ...

    def load(self, catalog_id: str, epoch: int) -> MasterKey: ...

    def store(self, catalog_id: str, master: MasterKey) -> None: ...

    def delete(self, catalog_id: str, epoch: int) -> None: ...


class OsKeyring:
    """The keyrings of this machine. ``timeout_s`` limits every call to a foreign one, in seconds.

    ``environment`` is where the session bus and the user's files are looked up (default: ours).
    """

    def __init__(
        self,
        service_prefix: str = SERVICE_PREFIX,
        *,
        timeout_s: float = TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._prefix = service_prefix
        self._timeout_s = timeout_s
        self._environment = os.environ if environment is None else environment

    def probe(self) -> tuple[BackendState, ...]:
        """Every backend of this platform in order of preference, then what is usable but not trusted.

        Takes up to ``timeout_s`` seconds when a keyring hangs; raises nothing.
        """
        kinds = [kind for kind in KINDS if kind.platform in (None, sys.platform)]
        with ThreadPoolExecutor(max_workers=len(kinds) + 1, thread_name_prefix="keyring-probe") as pool:
            listing = pool.submit(self._call, Request("list"))
            replies = list(pool.map(lambda kind: self._call(Request("probe", backend=kind.name)), kinds))
            weak = listing.result().found
        states = [
            BackendState(kind.name, reply.state == OK, reply.state, reply.detail)
            for kind, reply in zip(kinds, replies, strict=True)
        ]
        states += [BackendState(path, False, "key.weak-backend", _MESSAGES["key.weak-backend"]) for path in weak]
        return tuple(states)

    def choose(self) -> str:
        """The best backend that can be written to now.

        Raises KeyAccessError: ``key.locked``, ``key.timeout``, ``key.weak-backend`` or ``key.no-backend``, in this
        order of likelihood that the user can mend it, listing what was tried.
        """
        states = self.probe()
        for state in states:
            kind = kind_of(state.name)
            if state.usable and kind is not None and kind.writable:
                return state.name
        tried = "; ".join(f"{state.name}: {state.detail or state.state}" for state in states)
        reached = {state.state for state in states}
        for code in ("key.locked", "key.timeout", "key.weak-backend"):
            if code in reached:
                raise KeyAccessError(code, f"{_MESSAGES[code]} (tried {tried})")
        raise KeyAccessError("key.no-backend", f"no keyring on this machine can hold the master key (tried {tried})")

    def at(self, backend: str) -> BoundKeyring:
        """One backend as a :class:`KeyStore`. Raises KeyAccessError ``key.weak-backend`` for one we do not trust."""
        return BoundKeyring(self, _trusted(backend).name)

    def store(self, backend: str, catalog_id: str, master: MasterKey) -> None:
        """Keep ``master`` and read it back.

        Raises KeyAccessError: ``key.write-failed``, ``key.locked``, ``key.timeout``, ``key.no-backend``,
        ``key.weak-backend``.
        """
        _writable(backend)
        service, user = self._names(catalog_id, master.epoch)
        secret = master.text
        with holding(secret):
            self._demand(Request("set", backend, service, user, secret))
            kept = self._demand(Request("get", backend, service, user)).value
        if kept != secret:
            raise KeyAccessError("key.write-failed", f"{backend} did not give back what was written")

    def load(self, backend: str, catalog_id: str, epoch: int) -> MasterKey:
        """The key of ``epoch``; a systemd credential given to this very process comes before ``backend``.

        Whether it is the *right* key only the catalog's check record can say. Raises KeyAccessError: ``key.missing``,
        ``key.locked``, ``key.timeout``, ``key.no-backend``, ``key.weak-backend``, ``key.wrong`` for an entry that is
        no master key.
        """
        kind = _trusted(backend)
        service, user = self._names(catalog_id, epoch)
        text: str | None = None
        if os.environ.get(CREDENTIALS_VARIABLE) and kind.name != "systemd":
            text = perform(Request("get", "systemd", service, user)).value
        if text is None:
            text = self._demand(Request("get", backend, service, user)).value
        if text is None:
            raise KeyAccessError("key.missing", f"{backend} holds no master key {epoch} of catalog {catalog_id}")
        with holding(text):
            try:
                return MasterKey.parse(text, epoch)
            except ValueError as e:
                raise KeyAccessError("key.wrong", f"what {backend} holds is not a master key: {e}") from e

    def delete(self, backend: str, catalog_id: str, epoch: int) -> None:
        """Remove the key of ``epoch``, if it is there. Raises KeyAccessError as :meth:`store`."""
        _writable(backend)
        service, user = self._names(catalog_id, epoch)
        reply = self._call(Request("delete", backend, service, user))
        if reply.state not in (OK, "key.missing"):
            raise _error(backend, reply)

    def _names(self, catalog_id: str, epoch: int) -> tuple[str, str]:
        return f"{self._prefix}/{catalog_id}", f"master/{epoch}"

    def _demand(self, request: Request) -> Reply:
        reply = self._call(request)
        if reply.state != OK:
            raise _error(request.backend, reply)
        return reply

    def ask(self, request: Request) -> Reply:
        """Perform a request for something else than a master key, within the time limit. Raises nothing."""
        return self._call(request)

    def _call(self, request: Request) -> Reply:
        """Perform ``request`` here, or in a child where another program could keep us waiting."""
        kind = kind_of(request.backend)
        if kind is not None and not kind.foreign:
            return perform(request)
        package_root = str(Path(__file__).resolve().parents[2])
        environment = clean_environment(
            {name: self._environment[name] for name in _PASSED_ON if name in self._environment}
            | {"PYTHONPATH": package_root}  # -P keeps the working directory off the path; we may not be installed
        )
        try:
            finished = run(
                [sys.executable, "-P", "-m", "engine.keys.child"],
                name="keyring",
                cancel=CancelToken(),
                timeout_s=self._timeout_s,
                env=environment,
                stdin=codec.to_json(request).encode("utf-8"),
            )
        except subprocess.TimeoutExpired:
            return Reply("key.timeout", f"no answer within {self._timeout_s:g} s")
        if finished.status != 0:
            last = finished.stderr.strip().rpartition("\n")[2]
            return Reply("key.no-backend", f"the keyring client failed: {last or f'exit status {finished.status}'}")
        return codec.from_json(Reply, finished.stdout)


@dataclass(frozen=True, slots=True)
class BoundKeyring:
    """One backend of :class:`OsKeyring`, as a :class:`KeyStore`."""

    keyring: OsKeyring
    name: str

    def load(self, catalog_id: str, epoch: int) -> MasterKey:
        """As :meth:`OsKeyring.load`."""
        return self.keyring.load(self.name, catalog_id, epoch)

    def store(self, catalog_id: str, master: MasterKey) -> None:
        """As :meth:`OsKeyring.store`."""
        self.keyring.store(self.name, catalog_id, master)

    def delete(self, catalog_id: str, epoch: int) -> None:
        """As :meth:`OsKeyring.delete`."""
        self.keyring.delete(self.name, catalog_id, epoch)


def load_verified(store: KeyStore, catalog_id: str, epoch: int, check_record: str) -> MasterKey:
    """The key of ``epoch``, held against the catalog's key-check record.

    Raises KeyAccessError as ``store.load`` and :meth:`MasterKey.verify_check`.
    """
    master = store.load(catalog_id, epoch)
    master.verify_check(check_record, catalog_id)
    return master


def _trusted(backend: str) -> Kind:
    kind = kind_of(backend)
    if kind is None:
        raise KeyAccessError("key.weak-backend", f"{backend} is not on the list of trusted keyrings")
    return kind


def _writable(backend: str) -> None:
    if not _trusted(backend).writable:
        raise KeyAccessError(
            "key.write-failed",
            f"{backend} is read-only",
            hint="Run `offsitedb key install-systemd` and follow what it prints.",
        )


def _error(backend: str, reply: Reply) -> KeyAccessError:
    message = _MESSAGES.get(reply.state, "the keyring failed")
    return KeyAccessError(
        reply.state if reply.state in _MESSAGES else "key.no-backend",
        f"{message} ({backend}: {reply.detail})" if reply.detail else f"{message} ({backend})",
        context={"backend": backend},
        retry=reply.state in ("key.locked", "key.timeout"),
    )
