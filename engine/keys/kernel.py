"""The Linux kernel keyring as a ``keyring`` backend: key type "user" in the user keyring ``@u``, readable by our uid.

For servers without a desktop session. A key in ``@u`` is by default unreadable from another login session, although
the user is the same; so a key is made in the process keyring, where we possess it, given its permissions, and only then
linked into ``@u``: it is never there half made, and the link replaces an older key of the same name in one step. It
does not survive a reboot. The room never calls ``request_key``, which could ask another program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from dataclasses import dataclass

from keyring.backend import KeyringBackend
from keyring.compat import properties
from keyring.errors import PasswordDeleteError, PasswordSetError

_KEY_SPEC_PROCESS_KEYRING = -2
_KEY_SPEC_USER_KEYRING = -4
_GET_KEYRING_ID, _SETPERM, _LINK, _UNLINK, _SEARCH, _READ = 0, 5, 8, 9, 10, 11  # linux/keyctl.h
_PERMISSIONS = 0x3F1B0000
"""Possessor everything, user view, read, search and link; group and others nothing (keyctl_setperm(3))."""
_NOT_THERE = (errno.ENOKEY, errno.EKEYEXPIRED, errno.EKEYREVOKED)
_MAX_PAYLOAD_BYTES = 32_767  # of key type "user" (keyrings(7))


@dataclass(frozen=True, slots=True)
class _Numbers:
    add_key: int
    keyctl: int


# asm/unistd_64.h and asm-generic/unistd.h
_NUMBERS = {"x86_64": _Numbers(248, 250), "aarch64": _Numbers(217, 219)}


class KernelKeyring(KeyringBackend):
    """Keys named ``<service>:<user name>``."""

    @properties.classproperty
    def priority(self) -> float:
        """Low: a desktop keyring is preferred. Raises RuntimeError where the kernel or a sandbox forbids keys."""
        check_usable()
        return 0.5

    def get_password(self, service: str, username: str) -> str | None:
        """The text, or None when there is none. Raises OSError."""
        key = _search(_name(service, username))
        return None if key is None else _read(key).decode("utf-8")

    def set_password(self, service: str, username: str, password: str) -> None:
        """Store or replace. Raises keyring's PasswordSetError."""
        try:
            _store(_name(service, username), password.encode("utf-8"))
        except OSError as e:
            raise PasswordSetError(f"the kernel keyring refused the key: {e.strerror}") from e

    def delete_password(self, service: str, username: str) -> None:
        """Unlink the key. Raises keyring's PasswordDeleteError when there is none."""
        key = _search(_name(service, username))
        if key is None:
            raise PasswordDeleteError("no such key in the user keyring")
        _keyctl(_UNLINK, key, _KEY_SPEC_USER_KEYRING)


def check_usable() -> None:
    """Raise RuntimeError, saying why, where keys cannot be had (no Linux, ENOSYS, or a sandbox's EPERM)."""
    if sys.platform != "linux" or platform.machine() not in _NUMBERS:
        raise RuntimeError("there is a kernel keyring only on Linux, on x86_64 and aarch64")
    try:
        _keyctl(_GET_KEYRING_ID, _KEY_SPEC_USER_KEYRING, 1)
        _search("offsitedb:probe")
    except OSError as e:
        raise RuntimeError(f"the kernel keyring cannot be used here: {e.strerror}") from e


def _name(service: str, username: str) -> str:
    name = f"{service}:{username}"
    if "\0" in name:
        raise ValueError("a key name cannot contain NUL")
    return name


def _store(name: str, payload: bytes) -> None:
    key = _add_key(name, payload, _KEY_SPEC_PROCESS_KEYRING)
    try:
        _keyctl(_SETPERM, key, _PERMISSIONS)
        _keyctl(_LINK, key, _KEY_SPEC_USER_KEYRING)
    finally:
        _keyctl(_UNLINK, key, _KEY_SPEC_PROCESS_KEYRING)


def _search(name: str) -> int | None:
    try:
        return _keyctl(_SEARCH, _KEY_SPEC_USER_KEYRING, b"user\0", name.encode("utf-8") + b"\0", 0)
    except OSError as e:
        if e.errno in _NOT_THERE:
            return None
        raise


def _read(key: int) -> bytes:
    buffer = ctypes.create_string_buffer(_MAX_PAYLOAD_BYTES)
    length = _keyctl(_READ, key, ctypes.addressof(buffer), len(buffer))
    return buffer.raw[:length]


def _add_key(name: str, payload: bytes, keyring: int) -> int:
    number = _NUMBERS[platform.machine()].add_key
    return _syscall(number, b"user\0", name.encode("utf-8") + b"\0", payload, len(payload), keyring)


def _keyctl(operation: int, *arguments: int | bytes) -> int:
    return _syscall(_NUMBERS[platform.machine()].keyctl, operation, *arguments)


def _syscall(number: int, *arguments: int | bytes) -> int:
    """Call the kernel, every argument a long or a pointer. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    longs = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *longs))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
