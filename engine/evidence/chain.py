"""The history of events as a chain: each event's hash covers the one before it, and the end is signed.

What verification finds: an altered, missing or exchanged event, and an end that was cut off behind a signed head. What
it cannot find: a cut that took every head behind it along, and a history that the holder of the signing key wrote anew.
Only a head that was kept elsewhere shows those.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from engine.catalog import Tx, bound, events
from engine.catalog.events import HeadLine, Line
from engine.clock import Clock
from engine.evidence import canonical, sshsig
from engine.evidence.signer import Signer, verify
from engine.model import ROW, Event, EventHead
from engine.redact import redact

GENESIS = "0" * 64
"""What stands as the previous hash of the first event."""

NOTHING = "-"
"""What stands for the hash of a row that is not there."""

_DOMAIN = b"odb/v1/event\0"
_PAGE = 1000


class FindingKind(StrEnum):
    GAP = "gap"
    ALTERED = "altered"
    BROKEN_LINK = "broken-link"
    CUT = "cut"
    BAD_SIGNATURE = "bad-signature"
    MISSING_HEAD = "missing-head"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with the history; ``seq`` is the event it was seen at."""

    kind: FindingKind
    seq: int
    detail: str


def append_event(
    tx: Tx,
    clock: Clock,
    *,
    actor: str,
    kind: str,
    subject: str,
    data: Mapping[str, str | int | bool | None] | None = None,
) -> Event:
    """Write the next event down, in the transaction of what it tells about and *after* that was changed.

    The event binds every row of evidence that the transaction has changed and no earlier event told of: their hashes
    before and now go into its data. Texts in ``data`` are redacted. Raises CatalogError, ValueError for an integer
    beyond 2^53 and for a key that is kept for rows.
    """
    return append_rows(tx, clock, actor=actor, kind=kind, subject=subject, data=data, rows=tx.take_untold())


def append_rows(
    tx: Tx,
    clock: Clock,
    *,
    actor: str,
    kind: str,
    subject: str,
    rows: Mapping[str, tuple[str | None, str | None]],
    data: Mapping[str, str | int | bool | None] | None = None,
) -> Event:
    """As :func:`append_event`, binding ``rows``: by label, the hash before and now (None: the row is not there)."""
    if any(key.startswith(ROW) for key in data or ()):
        raise ValueError(f"keys that begin with {ROW} are kept for rows")
    last = events.last(tx)
    safe = {key: redact(value) if isinstance(value, str) else value for key, value in (data or {}).items()}
    rows = {**_newest_head(tx, last), **rows}
    safe |= {f"{ROW}{label}": f"{before or NOTHING}>{now or NOTHING}" for label, (before, now) in rows.items()}
    previous = last.hash if last else GENESIS
    seq = last.seq + 1 if last else 1
    draft = Event(seq=seq, at=clock.now(), actor=actor, kind=kind, subject=subject, data=safe, previous=previous)
    event = Event(
        seq=seq,
        at=draft.at,
        actor=actor,
        kind=kind,
        subject=subject,
        data=safe,
        previous=previous,
        hash=event_hash(draft),
    )
    events.append(tx, event)
    return event


def _newest_head(tx: Tx, last: Event | None) -> dict[str, tuple[str | None, str | None]]:
    """The signed head at the event before this one, so that nobody can take it away either."""
    head = bound.KINDS["heads"]
    if last is None:
        return {}
    return {head.label((last.seq,)): (None, head.digest(row)) for row in tx.tuples(head.some([(last.seq,)]))}


def event_hash(event: Event) -> str:
    """SHA-256("odb/v1/event" NUL, previous hash as 32 bytes, canonical record without both hashes), in hex."""
    record = {
        "seq": event.seq,
        "at": event.at,
        "actor": event.actor,
        "kind": event.kind,
        "subject": event.subject,
        "data": event.data,
    }
    return hashlib.sha256(_DOMAIN + bytes.fromhex(event.previous) + canonical.encode(record)).hexdigest()


def sign_head(tx: Tx, signer: Signer, clock: Clock) -> EventHead | None:
    """Sign the end of the history; the head that is there already if nothing was added; None without any event."""
    last = events.last(tx)
    if last is None:
        return None
    newest = events.newest_head(tx)
    if newest is not None and newest.seq == last.seq:
        return newest
    signed_at = clock.now()
    bare = EventHead(seq=last.seq, hash=last.hash, signature="", signed_at=signed_at)
    signature = signer.sign(sshsig.HEAD, head_bytes(bare))
    head = EventHead(seq=last.seq, hash=last.hash, signature=signature, signed_at=signed_at)
    events.add_head(tx, head)
    return head


def head_bytes(head: EventHead) -> bytes:
    """What the signature of a head covers: canonical ``{"hash":…,"seq":…,"signed_at":…}``."""
    return canonical.encode({"seq": head.seq, "hash": head.hash, "signed_at": head.signed_at})


def verify_chain(tx: Tx, signer_public: str) -> list[Finding]:
    """Everything that is wrong with the history, in its order; an empty list means that it holds.

    ``signer_public``: the signing key in hex. Raises CatalogError when the rows cannot be read at all.
    """
    return [finding for told in walk(tx, signer_public) for finding in told.findings]


@dataclass(frozen=True, slots=True)
class Told:
    """One event on the way from the first to the last. ``seq`` None: behind the last one, what is wrong there.

    ``data`` is empty where it cannot be read. ``signed_at``: when a head was signed here, as it is stored.
    """

    seq: int | None
    kind: str
    data: Mapping[str, object]
    findings: tuple[Finding, ...]
    signed_at: str | None = None


def walk(tx: Tx, signer_public: str) -> Iterator[Told]:
    """Every event in its order, judged. Raises CatalogError."""
    previous, expected = GENESIS, 1
    heads = _pages(tx, events.head_lines_after)
    head = next(heads, None)
    signed = head is not None
    for line in _pages(tx, events.lines_after):
        findings: list[Finding] = []
        while head is not None and head.seq < line.seq:
            findings.append(_cut(head))
            head = next(heads, None)
        data = _data(line)
        findings += _judge(line, data, previous, expected)
        signed_at = None
        if head is not None and head.seq == line.seq:
            findings += _judge_head(head, line, signer_public)
            signed_at, head = head.signed_at, next(heads, None)
        yield Told(line.seq, line.kind, data or {}, tuple(findings), signed_at)
        previous, expected = line.hash, line.seq + 1
    left = [_cut(one) for one in (*(() if head is None else (head,)), *heads)]
    if expected > 1 and not signed:
        left.append(Finding(FindingKind.MISSING_HEAD, expected - 1, "no end of the history was ever signed"))
    yield Told(None, "", {}, tuple(left))


def _judge(line: Line, data: dict[str, object] | None, previous: str, expected: int) -> Iterator[Finding]:
    if line.seq != expected:
        missing = f"event {expected}" if line.seq == expected + 1 else f"events {expected} to {line.seq - 1}"
        yield Finding(FindingKind.GAP, line.seq, f"{missing} missing")
    elif line.previous != previous:
        yield Finding(FindingKind.BROKEN_LINK, line.seq, f"event {line.seq} does not follow the one before it")
    if data is None or _line_hash(line, data) != line.hash:
        yield Finding(FindingKind.ALTERED, line.seq, f"event {line.seq} is not what was written")


def _data(line: Line) -> dict[str, object] | None:
    """The event's data; None where it is not as it is written."""
    try:
        data = json.loads(line.data)
        written = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and written == line.data else None


def _line_hash(line: Line, data: dict[str, object]) -> str | None:
    """As :func:`event_hash`: of what we write the two forms are equal, and this one takes a tenth of the time."""
    record = {
        "seq": line.seq,
        "at": line.at,
        "actor": line.actor,
        "kind": line.kind,
        "subject": line.subject,
        "data": data,
    }
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
        return hashlib.sha256(_DOMAIN + bytes.fromhex(line.previous) + text.encode()).hexdigest()
    except (TypeError, ValueError, RecursionError):
        return None


def _judge_head(head: HeadLine, line: Line, signer_public: str) -> Iterator[Finding]:
    if head.hash != line.hash:
        yield Finding(FindingKind.ALTERED, head.seq, f"event {head.seq} is not the one that was signed")
    try:
        signed = {"hash": head.hash, "seq": head.seq, "signed_at": head.signed_at}
        verify(signer_public, sshsig.HEAD, canonical.encode(signed), head.signature)
    except (TypeError, ValueError, AttributeError) as e:
        yield Finding(FindingKind.BAD_SIGNATURE, head.seq, f"the signature over event {head.seq} does not hold: {e}")


def _cut(head: HeadLine) -> Finding:
    return Finding(FindingKind.CUT, head.seq, f"event {head.seq} was signed and is not there")


L = TypeVar("L", Line, HeadLine)


def _pages(tx: Tx, read: Callable[..., list[L]]) -> Iterator[L]:
    seq = 0
    while page := read(tx, seq, limit=_PAGE):
        yield from page
        seq = page[-1].seq
