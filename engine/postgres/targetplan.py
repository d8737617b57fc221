"""What a restore would do at its target, in words and numbers, with everything that refuses it and the SQL that helps.

Decides on what was seen and selected; asks nobody. The room refuses to call a plan good that it knows will fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.model import Check, CheckStatus, DrillRecord, Snapshot, TableCount, Verdict
from engine.model.restoring import Parts, RestoreOptions, TableLoad, TargetContents, TargetPlan, TargetServer
from engine.postgres.address import Conninfo
from engine.postgres.selection import Selection
from engine.postgres.target import Existing, Look
from engine.postgres.tools import Toolset

_NAMED = 5


def make_plan(
    snapshot: Snapshot,
    connection: str,
    drill: DrillRecord | None,
    conninfo: Conninfo,
    seen: Look,
    selection: Selection,
    options: RestoreOptions,
    toolset: Toolset | None,
    is_source: bool | None,
) -> TargetPlan:
    """The plan with its findings. ``drill``: the snapshot's newest; ``is_source`` None: nobody could say."""
    facts, existing = seen.facts, seen.existing
    rows = {(t.schema, t.table): t.rows for t in snapshot.details.tables if not t.group}
    tables = [m for m in existing.made if m[0] == "table"]
    schema_only = options.parts is Parts.SCHEMA
    return TargetPlan(
        snapshot_id=snapshot.id,
        connection=connection,
        taken_at=snapshot.taken_at,
        source_version=snapshot.details.versions.server or "",
        options=options,
        target=TargetServer(conninfo.describe(), facts.database, facts.version, facts.role, facts.superuser, facts.tls),
        there=TargetContents(
            schemas=tuple(sorted({m[1] for m in existing.made})),
            tables=len(tables),
            others=len(existing.made) - len(tables),
            rows_estimate=existing.rows_estimate,
            size_bytes=facts.size_bytes,
            large_objects=existing.large_objects,
        ),
        pg_restore=toolset.version if toolset is not None else "",
        creates=selection.creates,
        loads=() if schema_only else tuple(TableLoad(*name, rows.get(name)) for name in selection.loads),
        drops=_drops(selection, existing) if options.clean else (),
        uses=selection.uses,
        left_out=selection.left_out,
        findings=(
            _proof(snapshot, drill),
            *_server_findings(snapshot, seen, is_source),
            *_content_findings(selection, existing, options),
            *_large_findings(existing, options),
            *_role_findings(snapshot, seen, selection, options),
        ),
    )


def expected(snapshot: Snapshot, selection: Selection, options: RestoreOptions) -> tuple[TableCount, ...]:
    """What must be counted at the target afterwards. Definitions alone: every table, empty."""
    if options.parts is Parts.SCHEMA:
        tables = [(e.schema or "", e.tag) for e in selection.kept if e.desc == "TABLE"]
        return tuple(TableCount(schema, table, 0) for schema, table in tables)
    loaded = set(selection.loads)
    made = {(e.schema or "", e.tag) for e in selection.kept if e.desc == "TABLE"}
    return tuple(t for t in snapshot.details.tables if (t.schema, t.table) in (made if t.group else loaded))


def _drops(selection: Selection, existing: Existing) -> tuple[str, ...]:
    """What is at the target and goes: what the snapshot holds, and what goes along with its tables."""
    tables = {(e.schema or "", e.tag) for e in selection.kept if e.desc in ("TABLE", "FOREIGN TABLE")}
    named = {(e.schema or "", e.tag) for e in selection.kept if e.desc == "SEQUENCE"}
    along = []
    for x in existing.carried:
        if x.on in tables and x.what == "publication":
            along.append(f"{x.on[0]}.{x.on[1]} from publication {x.name[1]}")
        elif x.on in tables and x.name not in named:
            along.append(f"sequence {x.name[0]}.{x.name[1]}, which {x.on[0]}.{x.on[1]} owns")
    large = [f"large object {span}" for span in spans(existing.large_there)]
    return (*selection.conflicts, *sorted(along), *large)


def spans(numbers: Iterable[int]) -> list[str]:
    """Each run of numbers as ``3..7``, one alone as ``9``."""
    found: list[list[int]] = []
    for n in sorted(numbers):
        if found and found[-1][1] == n - 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return [str(first) if first == last else f"{first}..{last}" for first, last in found]


def _proof(snapshot: Snapshot, drill: DrillRecord | None) -> Check:
    """Whether anybody has seen the snapshot come back."""
    instead = (
        f"`offsitedb drill {snapshot.id[:12]} --wait` proves it first; `offsitedb ledger` shows one that is PROVEN."
    )
    if drill is None:
        return Check(
            "restore.unproven", CheckStatus.WARN, "NOT PROVEN: no drill has restored this snapshot yet", instead
        )
    when = f"{drill.finished_at:%Y-%m-%d %H:%M} UTC"
    if drill.verdict.proven:
        return Check("restore.proven", CheckStatus.OK, f"{drill.verdict.value} by its newest drill, {when}")
    if drill.verdict is Verdict.FAILED:
        instead = f"`offsitedb receipt {drill.id[:12]}` says what failed; `offsitedb ledger` shows one that is PROVEN."
    text = f"NOT PROVEN: its newest drill, {when}, says {drill.verdict.value}"
    return Check("restore.unproven", CheckStatus.WARN, f"{text}: {drill.summary}" if drill.summary else text, instead)


def _fail(code: str, text: str, fix: str | None = None) -> Check:
    return Check(code, CheckStatus.FAIL, text, fix)


def _server_findings(snapshot: Snapshot, seen: Look, is_source: bool | None) -> Iterator[Check]:
    facts = seen.facts
    source_major = int((snapshot.details.versions.server or "0").split(".")[0])
    if facts.major < source_major:
        yield _fail(
            "restore.refused",
            f"the target is PostgreSQL {facts.version}, older than the source's {source_major}",
            f"Restore into PostgreSQL {source_major} or newer: an older server does not know what a newer one writes.",
        )
    if facts.in_recovery:
        yield _fail("restore.refused", "the target is a standby: nothing can be written there", "Name its primary.")
    if facts.encoding != snapshot.details.needs.encoding:
        yield Check(
            "restore.encoding",
            CheckStatus.WARN,
            f"the target's encoding is {facts.encoding}, the source's {snapshot.details.needs.encoding}: text that"
            " cannot be converted stops the restore",
            f"CREATE DATABASE name TEMPLATE template0 ENCODING '{snapshot.details.needs.encoding}';",
        )
    if is_source:
        yield _fail(
            "restore.target-is-source",
            "the target is the database that the snapshot was taken of",
            "Restore into a new database beside it (`CREATE DATABASE name;`), look at it, then rename the two.",
        )
    elif is_source is None:
        text = "whether the target is the source itself could not be found out: look at host and database once more"
        yield Check("restore.target-is-source", CheckStatus.INFO, text)
    if facts.tls.weaker_than_verify_full:
        how = "encrypted, the server's identity not verified" if facts.tls.in_use else "not encrypted"
        yield Check("restore.tls", CheckStatus.INFO, f"the connection to the target is {how}")


def _content_findings(selection: Selection, existing: Existing, options: RestoreOptions) -> Iterator[Check]:
    if not selection.kept:
        first = next((f": {x.kind} {x.name}: {x.reason}" for x in selection.left_out), "")
        yield _fail(
            "restore.refused", f"nothing is left to restore{first}", "Name that, too, or other tables or schemas."
        )
    if options.parts is Parts.DATA:
        if selection.missing:
            yield _fail(
                "restore.refused",
                f"not at the target: {_some(selection.missing)}; and --data-only makes no tables",
                "Restore without --data-only, or create the tables first.",
            )
        filled = sorted(f"{s}.{t}" for s, t in existing.filled)
        if filled:
            yield _fail(
                "restore.target-not-empty",
                f"tables that hold rows at the target already: {_some(filled)}",
                "Empty them first: `TRUNCATE " + ", ".join(_quoted(*n) for n in sorted(existing.filled)) + ";`",
            )
        return
    if options.clean:
        yield from _dropping(selection, existing)
    else:
        here = _in_the_way(selection, existing, options)
        if here:
            yield _fail(
                "restore.target-not-empty",
                f"the target is not empty: {_some(here)}",
                "Restore into a new, empty database (`CREATE DATABASE name;`), restore a part that is not there"
                " (--table, --schema), or say --clean to drop first what the snapshot holds.",
            )


def _in_the_way(selection: Selection, existing: Existing, options: RestoreOptions) -> list[str]:
    if options.whole:
        return [f"{kind} {schema}.{name}" for kind, schema, name in existing.made]
    inside = [f"{kind} {schema}.{name}" for kind, schema, name in existing.made if schema in options.schemas]
    return list(dict.fromkeys([*selection.conflicts, *inside]))


def _dropping(selection: Selection, existing: Existing) -> Iterator[Check]:
    """What stands on a table that is dropped and is not dropped itself keeps it from being dropped.

    A partition would not: it would go without a word. It is refused all the same, because nobody selected it.
    """
    relations = ("TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW")
    dropped = {(e.schema or "", e.tag) for e in selection.kept if e.desc in relations}
    leaning = sorted(
        {f"{x.what} {x.name[0]}.{x.name[1]}" for x in existing.leaning if x.on in dropped and x.name not in dropped}
    )
    if leaning:
        yield _fail(
            "restore.refused",
            f"--clean cannot drop what others stand on: {', '.join(leaning[:_NAMED])}",
            "Restore these tables, too, or restore into a new database and copy the rows from there.",
        )
    for x in existing.leaning:
        if x.what == "partition" and x.name in dropped and x.on not in dropped:
            root, leaf = _quoted(*x.on), _quoted(*x.name)
            yield Check(
                "restore.detached",
                CheckStatus.WARN,
                f"partition {leaf} comes back as a table by itself, because {root} is not restored with it",
                f"ALTER TABLE {root} ATTACH PARTITION {leaf} FOR VALUES …;",
            )


def _large_findings(existing: Existing, options: RestoreOptions) -> Iterator[Check]:
    """Large objects have no names but their numbers, and one that is there cannot be made again."""
    there = spans(existing.large_there)
    if not there:
        return
    if options.clean:
        text = (
            f"--clean unlinks large objects that are at the target, the snapshot's take their place: {_some(there)};"
            " rows there that name these numbers read other content afterwards"
        )
        yield Check("restore.large-objects", CheckStatus.WARN, text)
        return
    last = "" if options.parts is Parts.DATA else ", or say --clean: it unlinks these and no others"
    yield _fail(
        "restore.target-not-empty",
        f"large objects that are at the target already: {_some(there)}",
        "Restore into a new, empty database, restore a part (--table, --schema: it takes no large objects), unlink"
        f" them when nothing there needs them (`SELECT lo_unlink({min(existing.large_there)});`){last}.",
    )


def _role_findings(snapshot: Snapshot, seen: Look, selection: Selection, options: RestoreOptions) -> Iterator[Check]:
    facts, existing = seen.facts, seen.existing
    role = _ident(facts.role)
    if options.superuser_objects and not facts.superuser:
        yield _fail("restore.refused", f"--superuser-objects needs a superuser, and {facts.role} is none", None)
    if options.parts is not Parts.DATA:
        schemas = {e.schema for e in selection.kept if e.schema}
        closed = sorted(schemas & existing.no_create)
        if closed:
            sql = "\n".join(f"GRANT CREATE, USAGE ON SCHEMA {_ident(s)} TO {role};" for s in closed)
            yield _fail("restore.refused", f"{facts.role} may create nothing in the schema {', '.join(closed)}", sql)
        if any(e.desc == "SCHEMA" for e in selection.kept) and not existing.may_create_schemas:
            sql = f"GRANT CREATE ON DATABASE {_ident(facts.database)} TO {role};"
            yield _fail("restore.refused", f"{facts.role} may create no schema in this database", sql)
    for name, has_files in selection.extensions_lacking:
        text = f"extension {name} is not at the target: it and what needs it is left out"
        fix = f"As superuser at the target: CREATE EXTENSION {_ident(name)};"
        if not has_files:
            fix = f"Install its package for PostgreSQL {facts.major} on the target's host. {fix}"
        yield Check("restore.extension", CheckStatus.WARN, text, fix)
    if selection.roles_lacking:
        yield _fail(
            "restore.refused",
            f"policies name roles that the target does not have: {', '.join(selection.roles_lacking)}",
            "\n".join(f"CREATE ROLE {_ident(r)} NOLOGIN;" for r in selection.roles_lacking),
        )
    lost = [x.name for x in selection.left_out if x.kind == "table data"]
    if lost:
        yield Check("restore.rows-left-out", CheckStatus.WARN, f"rows are left out, see below: {_some(lost)}")
    yield from _ownership(snapshot, facts.role, existing, options)
    if facts.superuser:
        yield Check(
            "restore.superuser",
            CheckStatus.WARN,
            f"{facts.role} IS A SUPERUSER: functions, triggers and CHECKs of the snapshot run with all its rights"
            " while they are restored. A plain owner can do it:",
            f"CREATE ROLE restorer LOGIN PASSWORD '…';\nALTER DATABASE {_ident(facts.database)} OWNER TO restorer;\n"
            "ALTER SCHEMA public OWNER TO restorer;",
        )
    elif options.parts is not Parts.SCHEMA:
        text = f"functions, triggers and CHECKs of the snapshot run as {facts.role} while they are restored"
        yield Check("restore.code", CheckStatus.INFO, text)


def _ownership(snapshot: Snapshot, role: str, existing: Existing, options: RestoreOptions) -> Iterator[Check]:
    if options.parts is Parts.DATA:
        return
    absent = sorted({r.name for r in snapshot.details.needs.roles} - existing.roles)
    text = f"owners and grants are not restored: everything belongs to {role}"
    if absent:
        text += f"; roles of the source that are not here: {', '.join(absent)}"
    yield Check("restore.owner", CheckStatus.INFO, text)


def _some(names: tuple[str, ...] | list[str]) -> str:
    """``a, b and 3 more``."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return ", ".join(names[:_NAMED]) + f" and {len(names) - _NAMED:,} more"


def _ident(name: str) -> str:
    plain = name.replace("_", "a").isalnum() and name.isascii() and name == name.lower() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


def _quoted(schema: str, table: str) -> str:
    return f"{_ident(schema)}.{_ident(table)}"
