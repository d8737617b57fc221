"""The table of contents of a custom-format archive, read from the archive itself.

``pg_restore --list`` prints names with their newlines replaced and without quotes, so a schema or owner with a space
in its name cannot be told from its neighbours there. The archive's own header says everything exactly, definitions
and dependencies included; the room reads it, for format versions 1.14 to 1.16 (pg_dump 14 to 18), and has the list
compared with pg_restore's (:func:`listed_ids`). Nothing here is executed, every length is checked against the file.
What it changes, in a copy of one's own and without moving a byte: an entry has nothing to drop (:func:`forget_drops`),
and a column no note of the server's own (:func:`forget_versions`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from engine.errors import CouldNotVerify, DrillFailed

NEWEST_FORMAT = (1, 16)
_OLDEST_FORMAT = (1, 14)
_CUSTOM = 1  # archCustom in pg_backup_archiver.h; 1.14 and 1.15 differ only in how compression is written
_READ_BYTES = 1 << 20
_MAX_ENTRIES = 10_000_000
_MAX_TEXT_BYTES = 1 << 30  # PostgreSQL's own limit on one value
_LIST_LINE = re.compile(r"^(\d+); \d+ \d+ ", re.MULTILINE)
_NO_END = rb"(?:(?!;\n).)*?"
_COLUMN_SET = re.compile(
    rb"ALTER (?:FOREIGN )?TABLE ONLY " + _NO_END + rb" ALTER COLUMN " + _NO_END + rb" SET \(([^()\n;]*)\);", re.DOTALL
)
_VERSION = re.compile(rb"(?:\A|, )pg_attver=\d+(?=, |\Z)")
"""A column option that servers since 18.7, 17.12, 16.16, 15.20 and 14.25 keep for themselves. Their pg_dump leaves it
out; an older one writes it down, and no older server takes it."""


@dataclass(frozen=True, slots=True)
class TocEntry:
    """One object of the archive. ``desc`` is its kind in pg_dump's words, ``tag`` its name as pg_dump wrote it.

    ``depends_on`` are dump ids, also of objects that are not in the archive. ``tableam`` is the access method that is
    set before the definition runs. ``drop_at``: where the statement that drops it stands in the file, its length first;
    ``definition_at`` the same of the definition.
    """

    dump_id: int
    desc: str
    schema: str | None
    tag: str
    owner: str
    definition: str
    depends_on: tuple[int, ...] = ()
    has_data: bool = False
    tableam: str | None = None
    drop_at: int = field(default=0, compare=False)
    definition_at: int = field(default=0, compare=False)

    @property
    def versions(self) -> int:
        """Columns whose version the definition sets: a note of the server's own."""
        return sum(bool(_VERSION.search(found[1])) for found in _COLUMN_SET.finditer(_raw(self)))

    @property
    def name(self) -> str:
        """Schema and tag, as shown to people."""
        return f"{self.schema}.{self.tag}" if self.schema else self.tag


@dataclass(frozen=True, slots=True)
class Toc:
    """What the archive says of itself. Versions as pg_dump wrote them, for example "15.18 (Debian 15.18-0+deb12u1)"."""

    format: tuple[int, int]
    dbname: str
    server_version: str
    dump_version: str
    entries: tuple[TocEntry, ...]
    int_bytes: int = 4


def read_toc(fd: int) -> Toc:
    """The table of contents of the archive that ``fd`` is open on, whatever its position.

    Raises DrillFailed ``drill.restore`` when it is not a whole custom-format header, CouldNotVerify
    ``drill.tool-missing`` when the format is newer than this version knows.
    """
    reader = _Reader(fd)
    if reader.raw(5) != b"PGDMP":
        raise _damaged("it does not begin like a PostgreSQL archive")
    version = (reader.byte(), reader.byte())
    reader.byte()  # revision
    if version > NEWEST_FORMAT:
        raise CouldNotVerify(
            "drill.tool-missing",
            f"the archive has format {version[0]}.{version[1]}, newer than this version can read",
            hint="Update OffsiteDB console.",
        )
    if version < _OLDEST_FORMAT:
        raise _damaged(f"it has format {version[0]}.{version[1]}, which PostgreSQL 14 and later do not write")
    reader.int_bytes, reader.offset_bytes = reader.byte(), reader.byte()
    if reader.byte() != _CUSTOM or not 1 <= reader.int_bytes <= 8 or not 1 <= reader.offset_bytes <= 8:
        raise _damaged("it is not in custom format")
    if version >= (1, 15):
        reader.byte()  # compression algorithm
    else:
        reader.integer()  # compression level
    for _ in range(7):
        reader.integer()  # struct tm of its creation
    dbname, server_version, dump_version = (reader.text() or "" for _ in range(3))
    count = reader.integer()
    if not 0 <= count <= _MAX_ENTRIES:
        raise _damaged(f"it claims {count} entries")
    entries = tuple(_entry(reader, version) for _ in range(count))
    return Toc(version, dbname, server_version, dump_version, entries, reader.int_bytes)


def forget_drops(fd: int, toc: Toc, ids: Collection[int]) -> None:
    """Let these entries of the archive that ``fd`` is open on have nothing to drop, as many have from the start.

    No byte moves: the statement becomes an empty one, and its bytes blanks in the field behind it, how to copy data,
    which entries that hold none do not use. An entry that holds data or uses that field is left as it is.
    """
    for entry in toc.entries:
        if entry.dump_id not in ids or entry.has_data:
            continue
        reader = _Reader(fd, toc.int_bytes, entry.drop_at)
        size = reader.integer()
        if size <= 0:
            continue
        reader.raw(size)
        if reader.integer() > 0:
            continue
        length = size.to_bytes(toc.int_bytes, "little")
        os.pwrite(fd, b"\0" + bytes(toc.int_bytes) + b"\0" + length + b" " * size, entry.drop_at)


def forget_versions(fd: int, toc: Toc) -> None:
    """Blank the versions of columns in the definitions of the archive that ``fd`` is open on. No byte moves."""
    for entry in toc.entries:
        if "pg_attver" not in entry.definition or not entry.versions:
            continue
        raw = _raw(entry)
        blanked = _COLUMN_SET.sub(_without_version, raw)
        os.pwrite(fd, blanked, entry.definition_at + 1 + toc.int_bytes)


def _without_version(found: re.Match[bytes]) -> bytes:
    statement, options = found[0], found[1]
    rest = _VERSION.sub(b"", options).removeprefix(b", ")
    if rest == options:
        return statement
    if not rest:
        return b" " * len(statement)
    return statement.replace(b"(" + options + b");", b"(" + rest + b");").ljust(len(statement))


def _raw(entry: TocEntry) -> bytes:
    return entry.definition.encode("utf-8", "surrogateescape")


def listed_ids(listing: str) -> frozenset[int]:
    """The dump ids that ``pg_restore --list --verbose`` printed."""
    return frozenset(int(match[1]) for match in _LIST_LINE.finditer(listing))


def _entry(reader: _Reader, version: tuple[int, int]) -> TocEntry:
    """One entry, field by field in the order of ReadToc() in pg_backup_archiver.c."""
    dump_id = reader.integer()
    if dump_id <= 0:
        raise _damaged(f"an entry has the id {dump_id}")
    has_data = reader.integer() != 0
    reader.text()  # oid of its catalog
    reader.text()  # its oid there
    tag = reader.text() or ""
    desc = reader.text() or ""
    reader.integer()  # section
    definition_at = reader.at
    definition = reader.text() or ""
    drop_at = reader.at
    reader.text()  # how to drop it
    reader.text()  # how to copy its data
    schema = reader.text()
    reader.text()  # tablespace
    tableam = reader.text()
    if version >= (1, 16):
        reader.integer()  # relkind
    owner = reader.text() or ""
    reader.text()  # WITH OIDS, for ever "false"
    depends: list[int] = []
    while (text := reader.text()) is not None:
        if not text.isdigit():
            raise _damaged(f"entry {dump_id} depends on {text[:20]!r}")
        depends.append(int(text))
    reader.raw(1 + reader.offset_bytes)  # where its data lie
    return TocEntry(
        dump_id,
        desc,
        schema or None,
        tag,
        owner,
        definition,
        tuple(depends),
        has_data,
        tableam or None,
        drop_at,
        definition_at,
    )


class _Reader:
    """Little-endian integers and counted strings, as WriteInt() and WriteStr() of pg_dump leave them."""

    def __init__(self, fd: int, int_bytes: int = 4, at: int = 0) -> None:
        self.int_bytes = int_bytes
        self.offset_bytes = 8
        self._fd = fd
        self._at = at
        self._buffer = b""
        self._used = 0

    @property
    def at(self) -> int:
        """Where the next field begins in the file."""
        return self._at - len(self._buffer) + self._used

    def raw(self, size: int) -> bytes:
        while len(self._buffer) - self._used < size:
            more = os.pread(self._fd, max(_READ_BYTES, size), self._at)
            if not more:
                raise _damaged("it ends inside its table of contents")
            self._buffer = self._buffer[self._used :] + more
            self._used = 0
            self._at += len(more)
        taken = self._buffer[self._used : self._used + size]
        self._used += size
        return taken

    def byte(self) -> int:
        return self.raw(1)[0]

    def integer(self) -> int:
        negative = self.byte()
        value = int.from_bytes(self.raw(self.int_bytes), "little")
        return -value if negative else value

    def text(self) -> str | None:
        size = self.integer()
        if size < 0:
            return None
        if size > _MAX_TEXT_BYTES:
            raise _damaged(f"a text in it claims {size} bytes")
        return self.raw(size).decode("utf-8", "surrogateescape")


def _damaged(how: str) -> DrillFailed:
    return DrillFailed(
        "drill.restore",
        f"the archive's table of contents cannot be read: {how}",
        hint="Take a new checkpoint now; this snapshot does not restore.",
    )
