"""What a server of the user's says to a restore into it: here the target is the matter, as often as the archive.

What is wrong with the archive itself is in ``rules_restore``, for drills and targets alike.
"""

from __future__ import annotations

from engine.postgres.rule import Case, Place, Rule, plain, rule

_HERE = (Place.TARGET,)
_AGAIN = "then restore again"
REFUSED_THERE = (
    "The target refuses this object, and the message says why. Restore what it needs along with it (more --table, or"
    " the whole snapshot), or mend it at the target, then restore again."
)


def _install(case: Case) -> str:
    name = plain((case.name("name") or case.name("library") or "NAME").rsplit("/", 1)[-1], 100)
    return (
        f"See whether the target has it: `SELECT * FROM pg_available_extensions WHERE name = '{name}';`. Install its"
        f" package there (for example `apt install postgresql-{case.near.major or 'MAJOR'}-{name.replace('_', '-')}`;"
        f" a managed service has a list to choose from), {_AGAIN}."
    )


TARGET_RULES: tuple[Rule, ...] = (
    rule(
        "target-lost",
        _HERE,
        r"server closed the connection|could not receive data|could not send data|connection to server"
        r"|terminating connection|SSL SYSCALL|no connection to the server|connection reset|the database system is"
        r" (?:shutting down|in recovery mode)",
        "restore.failed",
        "the connection to the target was lost, and with it what was restored in this transaction",
        "Look into the target's log for a crash, a full disk or somebody who ended the session, and at the network;"
        f" {_AGAIN}.",
    ),
    rule(
        "target-disk",
        _HERE,
        r"no space left on device|disk quota exceeded|could not extend file",
        "restore.failed",
        "the target's disk is full",
        "Make room there, then restore again. What takes it: `SELECT datname, pg_size_pretty(pg_database_size(oid))"
        " FROM pg_database ORDER BY pg_database_size(oid) DESC;`.",
    ),
    rule(
        "target-read-only",
        _HERE,
        r"in a read-only transaction|during recovery",
        "restore.failed",
        "the target takes no writes: it is a standby, or its sessions are read-only by default",
        "See which: `SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only');`. A standby has a"
        " primary to restore into; else, as the owner: `BEGIN READ WRITE; ALTER DATABASE {dbname} RESET"
        " default_transaction_read_only; COMMIT;` and restore again.",
    ),
    rule(
        "target-large-object",
        _HERE,
        r"pg_largeobject_metadata_oid_index|large object \d+ already exists",
        "restore.failed",
        "the target has a large object of the same number already",
        "Numbers of large objects are one list for the whole database. Restore into a new database: `CREATE DATABASE"
        " copy TEMPLATE template0;`.",
    ),
    rule(
        "target-there",
        _HERE,
        r"already exists(?!\.)|multiple primary keys",
        "restore.failed",
        "the target has something of that name already",
        "It came to be after the plan was made. Look at the target, then plan again; `--clean` drops it first.",
    ),
    rule(
        "target-dependants",
        _HERE,
        r"because other objects depend on it",
        "restore.failed",
        "something at the target that is not in the snapshot stands on it",
        "Restore into a new database instead: `CREATE DATABASE copy TEMPLATE template0;`.",
    ),
    rule(
        "target-rows",
        _HERE,
        r"violates foreign key constraint|violates unique constraint|duplicate key value",
        "restore.failed",
        "the rows do not fit to what is at the target, or to each other",
        "Restore the tables that belong together, into a new database if need be.",
    ),
    rule(
        "target-check",
        _HERE,
        r"violates check constraint",
        "restore.failed",
        "a CHECK at the target refuses these rows",
        "It is another one than at the source, or it reads a table that is loaded later. Look at it there, or restore"
        " the table with its definition into a new database.",
    ),
    rule(
        "target-lock",
        _HERE,
        r"due to lock timeout|could not obtain lock|deadlock detected",
        "restore.failed",
        "another session at the target holds what the restore needs",
        "See who: `SELECT pid, usename, application_name, left(query, 80) FROM pg_stat_activity WHERE pid = ANY (SELECT"
        f" unnest(pg_blocking_pids(pid)) FROM pg_stat_activity);`; wait for it or end it, {_AGAIN}.",
    ),
    rule(
        "target-cancelled",
        _HERE,
        r"canceling statement",
        "restore.failed",
        "a limit at the target, or somebody there, ended the statement",
        "See the limits: `SELECT coalesce(r.rolname, 'every role'), setconfig FROM pg_db_role_setting s LEFT JOIN"
        " pg_roles r ON r.oid = s.setrole WHERE array_to_string(setconfig, ' ') LIKE '%timeout%';`; as an"
        f" administrator `ALTER ROLE {{role}} SET statement_timeout = 0;`, {_AGAIN}.",
    ),
    rule(
        "target-extension",
        _HERE,
        r"could not open extension control file|extension \"(?P<name>[^\n\"]*)\" (?:is not available|does not exist"
        r"|has no installation script|must be (?:installed|loaded))|could not (?:access file|load library)"
        r" \"(?P<library>[^\n\"]*)\"",
        "restore.failed",
        "the target does not have an extension of the source, or not in this version",
        _install,
    ),
    rule(
        "target-rights",
        _HERE,
        r"permission denied|must be owner of|must have privileges|must be superuser|only (?:superusers?|roles with)"
        r"|must be (?:a )?member of|must be able to SET ROLE",
        "restore.failed",
        "the connecting role lacks a right at the target",
        "Restore as the owner of the database, or into a new one: `CREATE DATABASE copy TEMPLATE template0;`.",
    ),
    rule(
        "target-locks",
        _HERE,
        r"out of shared memory",
        "restore.failed",
        "one transaction holds more locks here than the target has",
        "Restore with `--jobs 2`, or raise it there, which needs a restart: `ALTER SYSTEM SET"
        " max_locks_per_transaction = 4096;`.",
    ),
    rule(
        "target-memory",
        _HERE,
        r"out of memory|cannot allocate memory",
        "restore.failed",
        "the target ran out of memory",
        f"Lower maintenance_work_mem there (`ALTER ROLE {{role}} SET maintenance_work_mem = '64MB';`), {_AGAIN}.",
    ),
    rule(
        "target-encoding",
        _HERE,
        r"has no equivalent in encoding|invalid byte sequence for encoding",
        "restore.failed",
        "the target's encoding does not hold text of {table_name}",
        "Restore into a database of the source's encoding: `CREATE DATABASE copy ENCODING 'UTF8' TEMPLATE template0;`.",
    ),
    rule(
        "target-locale",
        _HERE,
        r"collation \"(?P<name>[^\n\"]*)\" for encoding|could not create locale|ICU is not supported in this build"
        r"|could not open collator for locale",
        "restore.failed",
        "the target does not have a locale of the source",
        "Install it on that server (for en_US.UTF-8: `localedef -i en_US -f UTF-8 en_US.UTF-8`, and a restart of"
        f" PostgreSQL); see which there are: `SELECT collname, collprovider FROM pg_collation;`, {_AGAIN}.",
    ),
    rule(
        "target-older",
        _HERE,
        r"unrecognized configuration parameter \"(?P<name>transaction_timeout|restrict_nonsystem_relation_kind"
        r"|idle_session_timeout|default_toast_compression)\"",
        "restore.failed",
        "the target is older than the pg_restore that speaks to it: it does not know {name}",
        "Restore with programs of the target's major: `offsitedb postgres install MAJOR`.",
    ),
    rule(
        "target-missing",
        _HERE,
        r"(?:relation|type|schema|function|operator|collation) [^\n]* does not exist(?!.*(?:SQL function \"|PL/pgSQL"
        r" function ))",
        "restore.failed",
        "it needs something that is neither in what is restored nor at the target",
        REFUSED_THERE,
    ),
)
