"""Shared libraries that PostgreSQL's binaries need and this machine lacks, as the loader itself says (Linux, glibc)."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from engine.cancel import CancelToken
from engine.process import clean_environment, run

_TIMEOUT_S = 20.0

_PACKAGES = {
    # start of a library's name -> Debian package
    "libxml2": "libxml2",
    "libxslt": "libxslt1.1",
    "liblz4": "liblz4-1",
    "libzstd": "libzstd1",
    "libgssapi_krb5": "libgssapi-krb5-2",
    "libkrb5": "libkrb5-3",
    "libssl": "libssl3",
    "libcrypto": "libssl3",
    "libossp-uuid": "libossp-uuid16",
    "libuuid": "libuuid1",
    "libreadline": "libreadline8",
    "libedit": "libedit2",
    "libldap": "libldap-2.5-0",
    "libz": "zlib1g",
}


def missing_libraries(binaries: Iterable[Path], libdir: Path | None) -> tuple[str, ...]:
    """Names of the libraries that ``binaries`` cannot find, with ``libdir`` searched first. () where nobody can say."""
    ldd = shutil.which("ldd")
    files = [str(b) for b in binaries]
    if ldd is None or sys.platform != "linux" or not files:
        return ()
    env = clean_environment({"LD_LIBRARY_PATH": str(libdir)} if libdir is not None else None)
    try:
        done = run([ldd, *files], name="ldd", cancel=CancelToken(), timeout_s=_TIMEOUT_S, env=env)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.findall(r"^\s*(\S+) => not found", done.stdout.decode("utf-8", "replace"), re.MULTILINE)
    return tuple(sorted(set(found)))


@functools.lru_cache(maxsize=512)
def module_lacks(module: Path, libdir: Path) -> tuple[str, ...]:
    """Libraries that one loadable module cannot find; remembered for the life of the process."""
    return missing_libraries([module], libdir)


def debian_packages(libraries: Iterable[str]) -> tuple[str, ...]:
    """The packages that hold ``libraries``, as far as they are known."""
    stems = (name.split(".so")[0] for name in libraries)
    return tuple(sorted({_PACKAGES[s] for s in stems if s in _PACKAGES}))
