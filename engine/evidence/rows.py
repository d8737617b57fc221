"""The rows of the catalog bound to the history: what the events say of each, compared with what is there.

Every change of a row that is evidence is told by an event that holds the row's hash before and after it. So a row that
was altered behind the program's back is found, also when the program changed it again later; so is a row that went, and
one that no event knows. Who holds the signing key can write another history: this room cannot tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.catalog import Tx, bound, events
from engine.catalog.bound import Key, Kind
from engine.clock import Clock
from engine.errors import CatalogError
from engine.evidence import chain
from engine.model import ROW

ADOPTED = "catalog.adopted"
"""The event that binds rows from before rows were bound, as they were found."""
REBUILT = "catalog.rebuilt"
"""The same for a catalog that was rebuilt from its destinations."""
CHANGED = "catalog.changed"
"""Rows that were changed without an event of their own: nothing is changed untold."""
_ADOPTING = frozenset({ADOPTED, REBUILT})
_AT_ONCE = 1000
_LONG = {"snapshots": 50, "drills": 50, "restores": 50, "reconciliations": 50}
"""Rows at once where one may have megabytes: a snapshot with the structure of ten thousand tables."""


class RowFindingKind(StrEnum):
    ALTERED = "row-altered"
    MISSING = "row-missing"
    UNKNOWN = "row-unknown"
    BETWEEN = "row-altered-between"
    UNREADABLE = "rows-unreadable"


@dataclass(frozen=True, slots=True)
class RowFinding:
    """One row that is not as the history says. ``seq``: the newest event that tells of it, where there is one."""

    kind: RowFindingKind
    label: str
    detail: str
    seq: int | None = None

    @property
    def words(self) -> str:
        what, key = bound.parts(self.label)
        return f"{what} {key}" if key and what != "the installation" else what


def to_adopt(tx: Tx) -> bool:
    """Whether the catalog is from before rows were bound. Raises CatalogError."""
    first = events.list_after(tx, 0, limit=1)
    if not first or first[0].kind in _ADOPTING or any(key.startswith(ROW) for key in first[0].data):
        return False
    return not any(events.list_recent(tx, kind=kind, limit=1) for kind in (ADOPTED, REBUILT))


def adopt(tx: Tx, clock: Clock, *, actor: str, kind: str = ADOPTED) -> int:
    """Bind every row as it is found, in events of the kind ``kind``; how many rows.

    For rows that came without a history: of a catalog from before rows were bound, or of one that was rebuilt
    (:data:`REBUILT`). Raises CatalogError.
    """
    tx.take_untold()
    rows: dict[str, tuple[str | None, str | None]] = {}
    total = 0

    def write() -> None:
        nonlocal total
        if rows:
            total += len(rows)
            chain.append_rows(tx, clock, actor=actor, kind=kind, subject="catalog", data={"rows": len(rows)}, rows=rows)
            rows.clear()

    for one in bound.KINDS.values():
        for key, digest in every(tx, one):
            rows[one.label(key)] = (digest, digest)
            if len(rows) >= _AT_ONCE:
                write()
    write()
    return total


def tell_rest(tx: Tx, clock: Clock, actor: str) -> None:
    """An event for rows that were changed and that nobody told of."""
    rows = tx.take_untold()
    if rows:
        tables = sorted({label.partition("/")[0] for label in rows})
        data: dict[str, str | int | bool | None] = {"tables": ", ".join(tables), "rows": len(rows)}
        chain.append_rows(tx, clock, actor=actor, kind=CHANGED, subject="catalog", data=data, rows=rows)


def every(tx: Tx, kind: Kind) -> Iterator[tuple[Key, str]]:
    """Key and hash of each row that is there and is evidence, by key. Raises CatalogError."""
    after: Key | None = None
    at_once = _LONG.get(kind.name, _AT_ONCE)
    while page := tx.tuples(kind.every(after, at_once)):
        for row in page:
            yield tuple(row[: kind.keys]), kind.digest(row)
        after = tuple(page[-1][: kind.keys])


class Known:
    """What the events say of every row, while they are read from the first to the last."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[bytes | None, int]] = {}
        """By label: the row's hash (None: it is not there) and the event that said so last."""
        self._last = 0
        self.adopted: dict[str, tuple[int, int]] = {}
        """Rows that were bound as they were found: by the kind of event, how many, and the last event that did so."""

    def hear(self, seq: int, kind: str, data: Mapping[str, object]) -> Iterator[RowFinding]:
        """The next event; what does not follow from those before it."""
        self._last = seq
        for key, value in data.items():
            if not key.startswith(ROW):
                continue
            label = key[len(ROW) :]
            before_text, _, now_text = str(value).partition(">")
            before, now = _hash(before_text), _hash(now_text)
            was, last = self._rows.get(label, (None, None))
            fresh = last is None and kind in _ADOPTING
            if fresh:
                self.adopted[kind] = (self.adopted.get(kind, (0, 0))[0] + 1, seq)
            if before != was and not fresh:
                since = "before" if last is None else f"after event {last} and before"
                detail = f"it was changed {since} event {seq}, and no event tells of that"
                yield RowFinding(RowFindingKind.BETWEEN, label, detail, seq)
            self._rows[label] = (now, seq)

    def compare(self, tx: Tx) -> Iterator[RowFinding | None]:
        """Every row that is there against what was heard of it; None for each that is as it should be."""
        for kind in bound.KINDS.values():
            try:
                for key, digest in every(tx, kind):
                    yield self._judge(kind, key, digest)
            except CatalogError as e:
                yield RowFinding(RowFindingKind.UNREADABLE, kind.name, f"they cannot be read: {e.message}")
                self._rows = {k: v for k, v in self._rows.items() if not k.startswith(f"{kind.name}/")}
        for label, (left, seq) in self._rows.items():
            if left is not None:
                yield RowFinding(RowFindingKind.MISSING, label, f"event {seq} tells of it, and it is not there", seq)

    def _judge(self, kind: Kind, key: Key, digest: str) -> RowFinding | None:
        label = kind.label(key)
        if label not in self._rows and not kind.tracked and key == (self._last,):
            return None  # the newest end of the history: the next event will tell of it
        was, seq = self._rows.pop(label, (None, None))
        if seq is None:
            return RowFinding(RowFindingKind.UNKNOWN, label, "it is there, and no event tells of it")
        if was is None:
            return RowFinding(RowFindingKind.UNKNOWN, label, f"event {seq} says that it went, and it is there", seq)
        if was.hex() != digest:
            return RowFinding(RowFindingKind.ALTERED, label, f"it is not what event {seq} left behind", seq)
        return None


def _hash(text: str) -> bytes | None:
    """What an event says of a row; what cannot be read fits no row."""
    if text == chain.NOTHING:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
