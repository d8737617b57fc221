"""The history of events as a chain: each event's hash covers the one before it, and the end is signed.

What verification finds: an altered, missing or exchanged event, and an end that was cut off behind a signed head. What
it cannot find: a cut that took every head behind it along, and a history that the holder of the signing key wrote anew.
Only a head that was kept elsewhere shows those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.catalog import Tx, events
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
    findings: list[Finding] = []
    previous, expected = GENESIS, 1
    heads = _heads(tx)
    head = next(heads, None)
    signed = head is not None
    for event in _events(tx):
        while head is not None and head.seq < event.seq:
            findings.append(_cut(head))
            head = next(heads, None)
        findings += _judge(event, previous, expected)
        if head is not None and head.seq == event.seq:
            findings += _judge_head(head, event, signer_public)
            head = next(heads, None)
        previous, expected = event.hash, event.seq + 1
    while head is not None:
        findings.append(_cut(head))
        head = next(heads, None)
    if expected > 1 and not signed:
        findings.append(Finding(FindingKind.MISSING_HEAD, expected - 1, "no end of the history was ever signed"))
    return findings


def _judge(event: Event, previous: str, expected: int) -> Iterator[Finding]:
    if event.seq != expected:
        missing = f"event {expected}" if event.seq == expected + 1 else f"events {expected} to {event.seq - 1}"
        yield Finding(FindingKind.GAP, event.seq, f"{missing} missing")
    elif event.previous != previous:
        yield Finding(FindingKind.BROKEN_LINK, event.seq, f"event {event.seq} does not follow the one before it")
    try:
        intact = event_hash(event) == event.hash
    except ValueError:
        intact = False
    if not intact:
        yield Finding(FindingKind.ALTERED, event.seq, f"event {event.seq} is not what was written")


def _judge_head(head: EventHead, event: Event, signer_public: str) -> Iterator[Finding]:
    if head.hash != event.hash:
        yield Finding(FindingKind.ALTERED, head.seq, f"event {head.seq} is not the one that was signed")
    try:
        verify(signer_public, sshsig.HEAD, head_bytes(head), head.signature)
    except ValueError as e:
        yield Finding(FindingKind.BAD_SIGNATURE, head.seq, f"the signature over event {head.seq} does not hold: {e}")


def _cut(head: EventHead) -> Finding:
    return Finding(FindingKind.CUT, head.seq, f"event {head.seq} was signed and is not there")


def _events(tx: Tx) -> Iterator[Event]:
    seq = 0
    while page := events.list_after(tx, seq, limit=_PAGE):
        yield from page
        seq = page[-1].seq


def _heads(tx: Tx) -> Iterator[EventHead]:
    seq = 0
    while page := events.heads_after(tx, seq, limit=_PAGE):
        yield from page
        seq = page[-1].seq
