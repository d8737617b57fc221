"""What stands between a drill and the host: bubblewrap, plain namespaces, or only another OS user.

A drill executes other people's schemas, so every program of it runs without network and sees as little of the host as
the host lets us arrange. What the host offers is not read off version numbers: each kind is really tried, with a
program that lists the network interfaces it sees. The room refuses to pretend: :class:`Sandbox` says in ``facts`` what
is in force, and that is what the receipt says.
"""

from __future__ import annotations

import functools
import os
import pwd
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.cancel import CancelToken
from engine.errors import CouldNotVerify
from engine.model import Isolation
from engine.process import RunAs, run

DRILL_USER = "offsitedb-drill"
"""The OS user that scratch clusters run as in a root installation. Never ``nobody``: other services share that one."""

_KINDS = (("bubblewrap", "bwrap"), ("unshare", "unshare"))
_TRY_TIMEOUT_S = 20.0
_FILE_SIZE_BYTES = 4 << 30  # PostgreSQL cuts its own files at 1 GiB; nothing else has business being larger
_PROCESSES = 1024
_OPEN_FILES = 8192
_MEMORY_BYTES = 2 << 30
"""A process of a drill may have this much private memory, or half of the machine's where that is more."""
_SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
_HOST_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_HOST_FILES = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/nsswitch.conf",
    "/etc/localtime",
    "/etc/locale.alias",
    "/etc/ssl",
    "/etc/pki",
    "/var/cache/postgresql",  # Debian links its text search dictionaries there
)
_TMP = str(Path("/", "tmp"))  # an empty one, inside
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/gai.conf", "/etc/services")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How to start a program of a drill. Start ``wrap(argv, …)`` with ``run_as=sandbox.spawn_as``."""

    facts: Isolation
    run_as: RunAs | None
    """The OS user the wrapped program ends up as; None: as we are."""

    @property
    def spawn_as(self) -> RunAs | None:
        """The user to give to ``process.spawn``; namespaces made by root change the user inside themselves."""
        return None if self.facts.sandbox == "unshare" else self.run_as

    @property
    def takes_all_along(self) -> bool:
        """Whether ending the wrapped program surely ends every process that it started (a PID namespace does)."""
        return self.facts.sandbox != "none"

    def wrap(
        self,
        argv: Sequence[str | Path],
        *,
        writable: tuple[Path, ...],
        readable: tuple[Path, ...],
        network: bool = False,
        passwd: Path | None = None,
    ) -> list[str]:
        """``argv`` behind the sandbox and its resource limits.

        ``writable`` and ``readable`` are the only places outside ``/usr`` that a bubblewrap sandbox sees (other kinds
        cannot hide the rest). ``passwd``: a file to show as ``/etc/passwd``, so that PostgreSQL finds its user.
        ``network``: leave the host's network in reach (pg_dump needs it).
        """
        limited = [*_limits(self.run_as, memory=not network), *(str(a) for a in argv)]
        if self.facts.sandbox == "bubblewrap":
            return [*_bubblewrap(writable, readable, network, passwd), "--", *limited]
        if self.facts.sandbox == "unshare":
            return [*_unshare(self.run_as, network), *limited]
        return limited


def choose(*, required: bool, drill_user: RunAs | None) -> Sandbox:
    """The strongest sandbox that works here; tried once per process.

    Raises CouldNotVerify ``drill.isolation`` when ``required`` and none keeps the network out of reach.
    """
    sandbox = _choose(drill_user)
    if required:
        demand_no_network(sandbox)
    return sandbox


def demand_no_network(sandbox: Sandbox) -> None:
    """Raise CouldNotVerify ``drill.isolation`` unless ``sandbox`` keeps the network out of reach."""
    if sandbox.facts.network != "none":
        raise CouldNotVerify(
            "drill.isolation",
            'drill.isolation is "required", and neither bubblewrap nor network namespaces work on this host',
            context={"sandbox": sandbox.facts.sandbox},
        )


def why_not(kind: str, drill_user: RunAs | None) -> str | None:
    """Why ``kind`` ("bubblewrap", "unshare") is not in force on this host, in its own words; None when it works."""
    program = dict(_KINDS)[kind]
    if _find(program) is None:
        return f"{program} is not installed"
    return _trial(Sandbox(Isolation(user="", network="none", sandbox=kind), drill_user))


@functools.cache
def _choose(drill_user: RunAs | None) -> Sandbox:
    name = drill_user.name if drill_user is not None else _own_name()
    for kind, program in _KINDS:
        sandbox = Sandbox(Isolation(user=name, network="none", sandbox=kind), drill_user)
        if _find(program) is not None and _trial(sandbox) is None:
            return sandbox
    return Sandbox(Isolation(user=name, network="host", sandbox="none"), drill_user)


def drill_user() -> RunAs | None:
    """The OS user for scratch clusters: as root ``offsitedb-drill``, created if absent; else None (as we are).

    Raises CouldNotVerify ``drill.isolation`` with the command when the user is absent and cannot be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(DRILL_USER)
    except KeyError:
        _create_drill_user()
        entry = pwd.getpwnam(DRILL_USER)
    if entry.pw_uid == 0:
        raise CouldNotVerify(
            "drill.isolation",
            f"the OS user {DRILL_USER} has uid 0",
            hint=f"Remove the user ({_useradd_text()} makes a proper one).",
        )
    return RunAs(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_drill_user() -> None:
    argv = _useradd()
    try:
        finished = run(argv, name="useradd", cancel=CancelToken(), timeout_s=_TRY_TIMEOUT_S)
        said = finished.stderr if finished.status else ""
    except (OSError, subprocess.TimeoutExpired) as e:
        said = str(e)
    try:
        pwd.getpwnam(DRILL_USER)  # another worker may have been faster
    except KeyError as e:
        raise CouldNotVerify(
            "drill.isolation",
            f"the OS user {DRILL_USER} does not exist and could not be created: {said or 'no message'}",
            hint=f"Create it once as root: `{_useradd_text()}`.",
        ) from e


def _useradd() -> list[str]:
    nologin = _find("nologin") or "/usr/sbin/nologin"
    return [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        nologin,
        DRILL_USER,
    ]


def _useradd_text() -> str:
    return " ".join(_useradd())


def _trial(sandbox: Sandbox) -> str | None:
    """Start a program in it and look: only the loopback interface may be there. What went wrong, if anything did."""
    cat = _find("cat") or "/bin/cat"
    argv = sandbox.wrap([cat, "/proc/self/net/dev"], writable=(), readable=())
    try:
        finished = run(
            argv, name=sandbox.facts.sandbox, cancel=CancelToken(), timeout_s=_TRY_TIMEOUT_S, run_as=sandbox.spawn_as
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    if finished.status != 0:
        return finished.stderr.strip() or f"exit status {finished.status}"
    interfaces = {line.split(":")[0].strip() for line in finished.stdout.decode().splitlines() if ":" in line}
    return None if interfaces == {"lo"} else "the network is still in reach"


def _limits(run_as: RunAs | None, *, memory: bool) -> list[str]:
    prlimit = _find("prlimit")
    if prlimit is None:
        return []
    # private memory of one process: shared buffers do not count, a backend that eats memory gets an error of its own
    own = [f"--data={_at_most(resource.RLIMIT_DATA, max(_MEMORY_BYTES, _ram_bytes() // 2))}"] if memory else []
    own.append(f"--nofile={_at_most(resource.RLIMIT_NOFILE, _OPEN_FILES)}")
    # the kernel counts processes per user: only a user of its own may have a limit that is ours to set
    processes = [f"--nproc={_PROCESSES}"] if run_as is not None else []
    return [prlimit, "--core=0", f"--fsize={_FILE_SIZE_BYTES}", *processes, *own, "--"]


def _at_most(kind: int, wanted: int) -> int:
    """``wanted``, or the limit that we are under ourselves: an ordinary user cannot go above it."""
    hard = resource.getrlimit(kind)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _ram_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _bubblewrap(
    writable: tuple[Path, ...], readable: tuple[Path, ...], network: bool, passwd: Path | None
) -> list[str]:
    argv = [_find("bwrap") or "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if network:
        argv.append("--share-net")
    argv += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", _TMP]
    for link in _HOST_LINKS:
        path = Path(link)
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), link]
        elif path.exists():
            argv += ["--ro-bind", link, link]
    for name in (*_HOST_FILES, *(_NETWORK_FILES if network else ())):
        argv += ["--ro-bind-try", name, name]
    argv += ["--ro-bind-try", str(passwd or "/etc/passwd"), "/etc/passwd"]
    for path in readable:
        if not path.is_relative_to("/usr"):
            argv += ["--ro-bind", str(path), str(path)]
    for path in writable:
        argv += ["--bind", str(path), str(path)]
    return [*argv, "--chdir", "/"]


def _unshare(run_as: RunAs | None, network: bool) -> list[str]:
    argv = [_find("unshare") or "unshare", "--ipc", "--uts", "--pid", "--fork", "--kill-child=KILL"]
    if not network:
        argv.append("--net")
    if run_as is None:
        argv += ["--user", "--map-current-user"]  # PostgreSQL refuses uid 0, so not --map-root-user
    argv.append("--")
    inner = [_find("setpriv") or "setpriv", "--no-new-privs", "--pdeathsig", "KILL"]
    if run_as is not None:
        inner += [f"--reuid={run_as.uid}", f"--regid={run_as.gid}", "--clear-groups", "--inh-caps=-all"]
    return [*argv, *inner, "--"]


def _find(program: str) -> str | None:
    return shutil.which(program, path=_SEARCH)


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
