"""The keyring backends that may hold a master key, and the one place that calls them.

An allow-list by class path: ``keyring`` would otherwise fall back to a backend that discards what it is given, or to a
plaintext file. Every failure of a backend becomes one of our codes here. The room neither retries nor prompts; whether
a call may hang for ever is for ``engine.keys.door`` to care about, which runs the foreign ones in a child.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import closing
from dataclasses import dataclass

import keyring.backend
from keyring.backends.chainer import ChainerBackend
from keyring.errors import InitError, KeyringError, KeyringLocked, PasswordDeleteError, PasswordSetError

OK = "ok"


@dataclass(frozen=True, slots=True)
class Kind:
    """One allowed backend. ``foreign``: another program answers, perhaps never. ``platform``: None means any."""

    name: str
    class_path: str
    foreign: bool
    platform: str | None
    writable: bool = True


KINDS = (  # in order of preference
    Kind("secret-service", "keyring.backends.SecretService.Keyring", True, "linux"),
    Kind("kwallet", "keyring.backends.kwallet.DBusKeyring", True, "linux"),
    Kind("macos", "keyring.backends.macOS.Keyring", True, "darwin"),
    Kind("windows", "keyring.backends.Windows.WinVaultKeyring", True, "win32"),
    Kind("kernel", "engine.keys.kernel.KernelKeyring", False, "linux"),
    Kind("systemd", "engine.keys.systemd.SystemdCredentials", False, "linux", writable=False),
)
_OF_KEYRING_ITSELF = "keyring.backends."  # fail, null, chainer, libsecret: neither chosen nor worth a warning


@dataclass(frozen=True, slots=True)
class Request:
    """``op`` is probe, get, set, delete, or list (foreign class paths that ``keyring`` would have used)."""

    op: str
    backend: str = ""
    service: str = ""
    user: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """``state`` is ``ok`` or an error code; ``value`` the secret of a get, None when there is none."""

    state: str
    detail: str = ""
    value: str | None = None
    found: tuple[str, ...] = ()


def kind_of(name: str) -> Kind | None:
    """The allowed backend called ``name``, here or on another platform."""
    return next((kind for kind in KINDS if kind.name == name), None)


def perform(request: Request) -> Reply:
    """Do what ``request`` asks. Never raises for what a keyring says; may block for as long as the backend does."""
    if request.op == "list":
        return Reply(OK, found=_unapproved())
    kind = kind_of(request.backend)
    if kind is None:
        return Reply("key.weak-backend", f"{request.backend} is not on the list of trusted keyrings")
    try:
        return _perform(kind, request)
    except (KeyringLocked, InitError) as e:
        return Reply("key.locked", str(e) or "the keyring is locked")
    except PasswordSetError as e:
        return Reply("key.write-failed", str(e) or "the keyring refused to store the key")
    except PasswordDeleteError as e:
        return Reply("key.missing", str(e) or "the keyring holds no such key")
    except (KeyringError, RuntimeError, ImportError, OSError) as e:
        return Reply("key.no-backend", str(e) or type(e).__name__)


def _perform(kind: Kind, request: Request) -> Reply:
    if kind.platform not in (None, sys.platform):
        return Reply("key.no-backend", f"not on this platform ({sys.platform})")
    backend = _load(kind)
    if kind.name == "secret-service":
        reply = _secret_service_state()
        if reply.state != OK:
            return reply
    match request.op:
        case "probe":
            return Reply(OK, "ready" if kind.writable else "ready, read-only")
        case "get":
            return Reply(OK, value=backend.get_password(request.service, request.user))
        case "set":
            backend.set_password(request.service, request.user, request.value)
        case "delete":
            backend.delete_password(request.service, request.user)
        case _:
            return Reply("internal.error", f"no operation {request.op!r}")
    return Reply(OK)


def _load(kind: Kind) -> keyring.backend.KeyringBackend:
    """An instance of exactly this class: what a configuration file or another package prefers is not asked."""
    module, _, name = kind.class_path.rpartition(".")
    backend_class = getattr(importlib.import_module(module), name)
    if not issubclass(backend_class, keyring.backend.KeyringBackend):
        raise TypeError(f"{kind.class_path} is no keyring backend")
    float(backend_class.priority)  # raises RuntimeError, with the reason, where it cannot work
    backend = backend_class()
    assert isinstance(backend, keyring.backend.KeyringBackend)
    return backend


def _secret_service_state() -> Reply:
    """Whether the default collection is unlocked, found out without a prompt: a headless host would wait for ever."""
    import secretstorage
    from secretstorage.exceptions import ItemNotFoundException, SecretStorageException

    try:
        with closing(secretstorage.dbus_init()) as connection:
            if not secretstorage.check_service_availability(connection):
                return Reply("key.no-backend", "no Secret Service runs on the session bus")
            if secretstorage.Collection(connection).is_locked():
                return Reply("key.locked", "the default collection of the Secret Service is locked")
    except ItemNotFoundException:
        return Reply("key.locked", "the Secret Service has no default collection; it makes one at the first unlock")
    except SecretStorageException as e:
        return Reply("key.no-backend", str(e) or "the Secret Service does not answer")
    return Reply(OK)


def _unapproved() -> tuple[str, ...]:
    """Class paths, outside of ``keyring`` itself and our list, that ``keyring`` finds usable; chainers looked into."""
    found: set[str] = set()
    waiting = list(keyring.backend.get_all_keyring())
    while waiting:
        backend = waiting.pop()
        path = f"{type(backend).__module__}.{type(backend).__qualname__}"
        if isinstance(backend, ChainerBackend):
            waiting += list(backend.backends)
        elif not path.startswith(_OF_KEYRING_ITSELF) and path not in {kind.class_path for kind in KINDS}:
            found.add(path)
    return tuple(sorted(found))
