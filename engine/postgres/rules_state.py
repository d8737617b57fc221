"""The state a source is in: damaged, full, out of memory or locks, busy with something else."""

from __future__ import annotations

from engine.postgres.rule import Case, Place, Rule, literal, plain, rule

_SOURCE = (Place.SESSION, Place.DUMP)


def find_damage(table_sql: str) -> str:
    """SQL that names every page of a table whose rows cannot be read whole, toasted values included."""
    regclass = f"{literal(table_sql)}::regclass"
    return (
        "DO $do$ DECLARE p bigint; BEGIN\n"
        f"  FOR p IN 0 .. pg_relation_size({regclass}) / current_setting('block_size')::bigint - 1 LOOP\n"
        f"    BEGIN PERFORM length(r::text) FROM ONLY {table_sql} r\n"
        "      WHERE r.ctid >= format('(%s,0)', p)::tid AND r.ctid < format('(%s,0)', p + 1)::tid;\n"
        "    EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'page %: %', p, SQLERRM; END;\n"
        "  END LOOP;\n"
        "END $do$;"
    )


def _damage_hint(case: Case) -> str:
    if case.table is None:
        return (
            "Look which table it is: `CREATE EXTENSION IF NOT EXISTS amcheck; SELECT c.oid::regclass, h.* FROM pg_class"
            " c, verify_heapam(c.oid) h WHERE c.relkind IN ('r', 'm', 't');`. Keep the older snapshots: they may hold"
            " what is damaged now."
        )
    return (
        "Keep the older snapshots: they may hold what is damaged now. Run as a superuser at the source, read-only, to"
        f" find the rows (it names the pages):\n{find_damage(case.table_sql)}\n"
        "Check the disk and the kernel log of that machine, then restore the rows from a snapshot, or the server from"
        " a physical copy."
    )


def _large_hint(case: Case) -> str:
    if case.table is None:
        return "Look which table the message is about, and keep such values in pieces or as large objects."
    return (
        "No backup with pg_dump can hold it (bytea doubles as text: 512 MB are the limit). Which rows (it names the"
        f" pages):\n{find_damage(case.table_sql)}\n"
        "Keep such values in pieces or as large objects."
    )


STATE_RULES: tuple[Rule, ...] = (
    # a damaged value asks for absurd amounts of memory, a large one for a little more than 1 GB
    rule(
        "too-large",
        _SOURCE,
        r"invalid memory alloc request size [12]\d{9}\b|cannot enlarge string buffer|string of \d+ bytes is too long",
        "pg.dump-failed",
        "a row of {table_name} is larger than 1 GB as text, which PostgreSQL cannot hand out to anybody",
        _large_hint,
    ),
    rule(
        "damaged",
        _SOURCE,
        r"invalid page in block|could not read block|missing chunk number \d+ for toast value|unexpected chunk"
        r"|invalid memory alloc request size|compressed (?:pglz|lz4) data is corrupt|could not access status of"
        r" transaction|uncommitted xmin|found xmin|found multixact|read only \d+ of \d+ bytes"
        r"|could not open file \"base/",
        "pg.damaged",
        "the source itself is damaged: {table_name} cannot be read whole, by a backup as little as by anybody else",
        _damage_hint,
    ),
    rule(
        "catalog",
        (Place.DUMP,),
        r"(?P<what>schema|role|function|type|extension|parent table|table|collation|access method) with OID"
        r" (?P<oid>\d+) (?:does not exist|[^\n]*not found)",
        "pg.damaged",
        "the source's own catalog is damaged: something in it stands on a {what} (number {oid}) that is gone",
        lambda case: (
            "Keep the older snapshots. What stands on it, for a superuser to mend or drop at the source (a role that is"
            " gone: `ALTER TABLE … OWNER TO …;`):\n"
            "SELECT classid::regclass, objid, deptype FROM pg_depend WHERE refobjid = {0} UNION ALL SELECT"
            " classid::regclass, objid, deptype FROM pg_shdepend WHERE refobjid = {0};".format(case.name("oid"))
        ),
    ),
    rule(
        "source-library",
        _SOURCE,
        r"could not (?:access file|load library) \"(?P<library>[^\n\"]*)\"",
        "pg.dump-failed",
        "the library {library} of an extension is gone from the database server, and rows cannot be read without it",
        lambda case: (
            "Typical after an upgrade of the server without that of its extensions. Install the extension's package on"
            " the database server; which one it is:\n"
            "SELECT DISTINCT e.extname, e.extversion FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass"
            " AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid WHERE p.probin ="
            f" {literal(case.name('library'))};"
        ),
    ),
    rule(
        "source-recursion",
        _SOURCE,
        r"stack depth limit exceeded(?:.*?(?:SQL function|PL/pgSQL function) (?P<function>[^\n]*?\)|\"[^\n]*?\"))?",
        "pg.dump-failed",
        "code of the database calls itself until the server's stack is full",
        lambda case: (
            "Look at {} at the source: it has no end, or needs more stack: `ALTER SYSTEM SET max_stack_depth = '6MB';"
            " SELECT pg_reload_conf();` (below `ulimit -s` of the server).".format(
                plain(case.name("function", "the function in the message"), 200)
            )
        ),
    ),
    rule(
        "temp-limit",
        _SOURCE,
        r"temporary file size exceeds temp_file_limit",
        "pg.resources",
        "the server gives the role {role} less room for temporary files than reading takes",
        "Run as a superuser: `ALTER ROLE {role} SET temp_file_limit = -1;`.",
    ),
    rule(
        "recovery-conflict",
        _SOURCE,
        r"due to conflict with recovery",
        "pg.conflict",
        "the standby cancelled the backup to go on replaying the primary's changes",
        "On the standby, as a superuser: `ALTER SYSTEM SET hot_standby_feedback = on; ALTER SYSTEM SET"
        " max_standby_streaming_delay = '1h'; SELECT pg_reload_conf();`; or back up the primary.",
        retry=True,
    ),
    rule(
        "source-disk",
        _SOURCE,
        r"no space left on device|disk quota exceeded|could not extend file|disk full",
        "pg.resources",
        "the database server's own disk is full",
        "Make room on the server. What takes it: `SELECT datname, pg_size_pretty(pg_database_size(oid)) FROM"
        " pg_database ORDER BY pg_database_size(oid) DESC;`, `SELECT pg_size_pretty(sum(size)) FROM pg_ls_waldir();`,"
        " and slots that hold WAL back: `SELECT slot_name, active, restart_lsn FROM pg_replication_slots;`.",
    ),
    rule(
        "locks-exhausted",
        _SOURCE,
        r"out of shared memory|max_locks_per_transaction",
        "pg.resources",
        "the database has more tables than the server's lock table takes at once",
        "Raise it at the source, which needs a restart: `ALTER SYSTEM SET max_locks_per_transaction = 1024;` (it holds"
        " max_locks_per_transaction × max_connections locks; see how many are needed:"
        " `SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'i', 'S');`).",
    ),
    rule(
        "source-memory",
        _SOURCE,
        r"out of memory|cannot allocate memory",
        "pg.resources",
        "memory ran out while the database was read",
        "If the server said it: lower work_mem there or give it memory. If pg_dump said it: give this machine memory.",
    ),
    rule(
        "slots",
        _SOURCE,
        r"too many (?:connections|clients)|remaining connection slots",
        "pg.unreachable",
        "the server has no free connection",
        "A backup takes three for as long as it lasts. See who holds them: `SELECT usename, application_name, state,"
        " count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC;`; then raise max_connections (or the"
        " role's limit: `ALTER ROLE {role} CONNECTION LIMIT -1;`), or run the checkpoint at another hour.",
        retry=True,
    ),
)
