"""What a host lacks on which something is restored: texts that say nothing about the archive.

Such a drill could not verify. The room refuses whatever an archive could say of itself: its texts come from the server
and from pg_restore, but code of the archive can raise any text, and then nothing counts as proven.
"""

from __future__ import annotations

from engine.postgres.rule import Case, Place, Rule, plain, rule

_HERE = (Place.RESTORE,)
_FORMATS = {"1.15": 16, "1.16": 17}
"""First major whose pg_dump writes that format."""


def _extension_hint(case: Case) -> str:
    name = case.name("name") or case.name("library") or "NAME"
    shown = plain(name.rsplit("/", 1)[-1], 100)
    return (
        f"Install the package that holds {shown} for the server's major where the drill runs (for example"
        f" `apt install postgresql-{case.near.major or 'MAJOR'}-{shown.replace('_', '-')}`), then drill again; or let"
        " drills use a server that has it: `offsitedb scratch add`."
    )


HOST_RULES: tuple[Rule, ...] = (
    rule(
        "shared-memory-size",
        _HERE,
        r"could not resize shared memory segment",
        "drill.scratch",
        "the scratch server ran out of shared memory (/dev/shm is small, as in a container)",
        "Give the container more: `docker run --shm-size=1g …`, then drill again.",
        host=True,
    ),
    rule(
        "semaphores",
        _HERE,
        r"could not create semaphores",
        "drill.scratch",
        "the system gives no more semaphores to PostgreSQL servers",
        "Raise them: `sysctl kernel.sem='250 32000 100 1024'`, or end other servers on this host, then drill again.",
        host=True,
    ),
    rule(
        "scratch-disk",
        _HERE,
        r"No space left on device|Disk quota exceeded|could not extend file",
        "drill.disk",
        "the disk of the drill is full, which says nothing about the snapshot",
        "Make room below the scratch directory or move it with OFFSITEDB_RUNTIME, then drill again.",
        host=True,
    ),
    rule(
        "locale",
        _HERE,
        r"collation \"(?P<name>[^\n\"]*)\" for encoding \"[^\n]*\" does not exist|could not create locale"
        r"|ICU is not supported in this build|could not open collator for locale",
        "drill.locale-missing",
        "a locale of the source is not on the drill host, which says nothing about the snapshot",
        host=True,
    ),
    rule(
        "library",
        _HERE,
        r"could not (?:access file|load library) \"(?P<library>[^\n\"]*)\"",
        "drill.extension-missing",
        "a library of an extension is not on the drill host, which says nothing about the snapshot",
        _extension_hint,
        host=True,
    ),
    rule(
        "extension",
        _HERE,
        r"could not open extension control file|extension \"(?P<name>[^\n\"]*)\" (?:is not available|does not exist"
        r"|has no installation script)",
        "drill.extension-missing",
        "an extension of the source is not on the drill host in this version, which says nothing about the snapshot",
        _extension_hint,
        host=True,
    ),
    rule(
        "archive-version",
        _HERE,
        r"unsupported version \((?P<version>1\.\d{1,2})\) in file header",
        "drill.tool-missing",
        "pg_restore here is older than the pg_dump that wrote the archive (format {version})",
        lambda case: (
            "Install the programs of the source's major, this one or a newer:"
            f" `offsitedb postgres install {_FORMATS.get(case.name('version'), 'MAJOR')}`."
        ),
        host=True,
    ),
    rule(
        "newer-setting",
        _HERE,
        r"unrecognized configuration parameter \"(?P<name>transaction_timeout|restrict_nonsystem_relation_kind"
        r"|idle_session_timeout|default_toast_compression)\"",
        "drill.tool-missing",
        "the server is older than the pg_dump that wrote the archive: it does not know {name}",
        "Restore into a server of the source's major; nothing is lost when only this statement fails.",
        host=True,
    ),
    rule(
        "scratch-locks",
        _HERE,
        r"out of shared memory",
        "drill.scratch",
        "the server that was restored into has too small a lock table for so many tables at once",
        "On a server of your own: `ALTER SYSTEM SET max_locks_per_transaction = 4096;` and a restart.",
        host=True,
    ),
    rule(
        "scratch-memory",
        _HERE,
        r"out of memory|could not fork|Cannot allocate memory",
        "drill.scratch",
        "memory ran out where the drill runs, which says nothing about the snapshot",
        "A process of a drill may have half of this host's memory, and 2 GiB at the least. Read at the source what code"
        " runs on this object; if it may need so much, drill on a host with more memory, or set drill.jobs = 1 in"
        " config.toml.",
        host=True,
    ),
    rule(
        "scratch-gone",
        _HERE,
        r"server closed the connection unexpectedly|the database system is (?:shutting down|in recovery mode)"
        r"|could not connect to server|connection to server on socket|\Aconnection to server at",
        "drill.scratch",
        "the server that was restored into ended or cut the connection, which says nothing about the snapshot",
        "Look for an out-of-memory kill on the drill host (`dmesg | grep -i 'killed process'`), then drill again.",
        host=True,
    ),
)
