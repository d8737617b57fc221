"""What a database consists of, read from the catalog: at the source inside pg_dump's snapshot, and again in the copy.

Columns of one table travel as one object of kind "column" under the table's name, because there are so many of them:
its facts are a JSON list of (column, facts). Long definitions are kept as a hash of what is compared of them. The room
reads catalogs, sequences, and the greatest value of columns with an index; it runs no code of the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from engine.definition import essence
from engine.model import SequenceState, Structure, StructureObject
from engine.postgres import structurequeries
from engine.postgres.session import Connection
from engine.postgres.sessiontext import pin, undone

_SHOWN_CHARS = 400
"""A definition up to this length is kept as it is, so that people can read both sides of a difference."""
_MOST_BYTES = 16 << 20
"""About 30,000 tables. More does not belong into a row of the catalog."""
_BATCH = 100


class _AnyText(Loader):
    """What a database of encoding SQL_ASCII holds may be no text in UTF-8: written the same way on both sides."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A sequence, its owning column, and whether that column's greatest value costs nothing to find."""

    schema: str
    sequence: str
    name: str
    owner: tuple[str, str, str] | None
    cheap: bool


def read_structure(
    conn: Connection, readable: Sequence[tuple[str, str]], counted: Sequence[tuple[str, str]]
) -> Structure:
    """Everything that a dump from the open transaction holds, and where its sequences stand before it.

    ``readable``: sequences whose value the dump holds; ``counted``: tables whose rows it holds. The transaction's
    settings and locks are afterwards as they were. What is too much to be kept is unread.

    Raises psycopg.Error, and UnicodeDecodeError for a sequence whose name is no text.
    """
    with undone(conn):
        pin(conn)
        objects = tuple(_objects(conn, captured_only=True))
        known = frozenset(readable)
        sequences = [s for s in _sequences(conn) if (s.schema, s.sequence) in known]
    values, greatest = _values(conn, sequences), _greatest(conn, sequences, frozenset(counted))
    if sum(len(o.kind) + len(o.name) + len(o.facts) for o in objects) > _MOST_BYTES:
        return Structure((), unread=f"the source has {len(objects):,} objects: more than are kept for a comparison")
    return Structure(objects, tuple(_state(s, values, greatest) for s in sequences if s.name in values))


def read_again(conn: Connection, taken: Structure) -> Structure:
    """``taken`` after the dump has ended: sequences as they stand now, and only objects that are still the same.

    Sequences are outside of any snapshot: what the dump read lies between the two looks. One that was set back
    meanwhile says nothing and is left out. PostgreSQL writes many definitions as they are now, whatever the snapshot,
    and so does pg_dump: of an object that was replaced meanwhile either one may be in the dump. Raises psycopg.Error.
    """
    with undone(conn):
        pin(conn)
        same = frozenset(_objects(conn, captured_only=True))
        wanted = {s.name for s in taken.sequences}
        sequences = [s for s in _sequences(conn) if s.name in wanted]
    now = _values(conn, sequences)
    states = [replace(s, last_value=now.get(s.name)) for s in taken.sequences if s.name in now]
    return Structure(
        tuple(o for o in taken.objects if o in same),
        tuple(s for s in states if (s.last_value is None) == (s.owner_max is None)),
    )


def read_whole(conn: Connection) -> Structure:
    """All that is in this database, whoever may read it, from the open transaction. Raises psycopg.Error."""
    with undone(conn):
        pin(conn)
        objects = tuple(_objects(conn, captured_only=False))
        sequences = list(_sequences(conn))
    values = _values(conn, sequences)
    return Structure(objects, tuple(SequenceState(s.name, values.get(s.name)) for s in sequences))


def why_unread(where: str, error: psycopg.Error | UnicodeDecodeError) -> str:
    """In words, for a receipt."""
    if isinstance(error, UnicodeDecodeError):
        return f"it could not be read {where}: a name is not text in UTF-8"
    said = (error.diag.message_primary or str(error)).strip() or "no message"
    return f"it could not be read {where}: {said[:_SHOWN_CHARS]}"


def _objects(conn: Connection, *, captured_only: bool) -> Iterator[StructureObject]:
    columns: dict[str, list[tuple[str, str]]] = {}
    cursor = conn.cursor()
    cursor.adapters.register_loader("text", _AnyText)
    raw = conn.info.parameter_status("server_encoding") == "SQL_ASCII"
    if raw:  # the server refuses to hand out as UTF-8 what is not
        cursor.execute("SET LOCAL client_encoding = 'SQL_ASCII'")
    for query in structurequeries.OBJECTS:
        for kind, name, part, facts, captured in cursor.execute(query.encode()).fetchall():
            if captured_only and not captured:
                continue
            if part:
                columns.setdefault(str(name), []).append((str(part), str(facts)))
            else:
                yield StructureObject(str(kind), str(name), _shown(str(facts)))
    if raw:
        cursor.execute("SET LOCAL client_encoding = 'UTF8'")
    for name, parts in columns.items():
        yield StructureObject("column", name, json.dumps([(p, _shown(f)) for p, f in parts], ensure_ascii=False))


def _shown(facts: str) -> str:
    return facts if len(facts) <= _SHOWN_CHARS else f"{facts[:60].rstrip()} … {_hash(facts)}"


def _hash(facts: str) -> str:
    return hashlib.sha256(essence(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _sequences(conn: Connection) -> Iterator[_Sequence]:
    rows = conn.execute(structurequeries.SEQUENCES.encode()).fetchall()
    for schema, sequence, name, owner_schema, table, column, cheap in rows:
        owner = None if column is None else (str(owner_schema), str(table), str(column))
        yield _Sequence(str(schema), str(sequence), str(name), owner, bool(cheap))


def _values(conn: Connection, sequences: Sequence[_Sequence]) -> dict[str, int | None]:
    """Where each stands now; None: never used. Some at a time, because each one read is locked."""
    found: dict[str, int | None] = {}
    for batch in _batches(sequences):
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::int, CASE WHEN is_called THEN last_value END FROM {}").format(
                sql.Literal(n), sql.Identifier(s.schema, s.sequence)
            )
            for n, s in enumerate(batch)
        )
        with undone(conn):
            for n, value in conn.execute(query).fetchall():
                assert isinstance(n, int)
                found[batch[n].name] = value if isinstance(value, int) else None
    return found


def _greatest(
    conn: Connection, sequences: Sequence[_Sequence], counted: frozenset[tuple[str, str]]
) -> dict[str, int | None]:
    """The greatest value in the owning column, where an index has it and the rows may be read."""
    cheap = [s for s in sequences if s.cheap and s.owner is not None and s.owner[:2] in counted]
    found: dict[str, int | None] = {}
    for batch in _batches(cheap):
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::int, max({})::int8 FROM ONLY {}").format(
                sql.Literal(n), sql.Identifier(s.owner[2]), sql.Identifier(*s.owner[:2])
            )
            for n, s in enumerate(batch)
            if s.owner is not None
        )
        with undone(conn):
            for n, value in conn.execute(query).fetchall():
                assert isinstance(n, int)
                found[batch[n].name] = value if isinstance(value, int) else None
    return found


def _state(s: _Sequence, values: dict[str, int | None], greatest: dict[str, int | None]) -> SequenceState:
    """Before the dump. A source may stand behind its own column: then the copy must not stand behind the source."""
    now, top = values[s.name], greatest.get(s.name)
    least = now if now is None or top is None else min(now, top)
    owner = None if s.owner is None else sql.Identifier(*s.owner).as_string()
    return SequenceState(s.name, now, owner, least)


def _batches(sequences: Sequence[_Sequence]) -> Iterator[Sequence[_Sequence]]:
    for i in range(0, len(sequences), _BATCH):
        yield sequences[i : i + _BATCH]
