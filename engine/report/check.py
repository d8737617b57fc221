"""A bundle checked from end to end: sums, signature, receipts, history, every figure. Without catalog and key."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.codec import from_plain
from engine.errors import FormatError
from engine.evidence import canonical, sshsig
from engine.evidence.chain import event_hash, head_bytes
from engine.evidence.receipts import read_receipt
from engine.evidence.signer import allowed_signers, fingerprint, openssh_public, verify
from engine.model import Event, EventHead
from engine.model.report import REPORT_VERSION, STAMP_CHECK, BundleCheck, BundleStamp, BundleVerdict, Report
from engine.report import bundle, stamp
from engine.report.reading import Bundle, opened
from engine.report.recount import Difference, Reduced, recount, reduce
from engine.report.wording import NOT_PROVEN, moment_utc, stamp_shows

_SHOWN = 5
"""Differences that are told one by one."""
_LINE = re.compile(rb"([0-9a-f]{64})  ([A-Za-z0-9._/-]+)\n")
_WRONG = (ValueError, KeyError, TypeError, IndexError, AttributeError, FormatError)


def check(path: Path, *, expected: str | None = None, roots: stamp.Roots = ()) -> BundleVerdict:
    """Everything that is wrong with the bundle at ``path``: a folder, a zip or a tar file.

    ``expected``: the fingerprint ``SHA256:…`` that the signing key has to have; None: any key, which is shown.
    ``roots``: what a time stamp has to be vouched for by; none: of a stamp structure and digest alone are looked at.
    Raises FormatError ``format.bundle`` for what is no bundle at all.
    """
    with opened(path) as found:
        return _Checking(found, expected, roots).run()


class _Checking:
    def __init__(self, found: Bundle, expected: str | None, roots: stamp.Roots) -> None:
        self.bundle, self.expected, self.roots = found, expected, roots
        self.stamp: BundleStamp | None = None
        self.checks: list[BundleCheck] = []
        self.public = ""
        self.report: Report | None = None
        self.plain: dict[str, Any] = {}
        self.receipts: list[Reduced] = []
        self.events: list[dict[str, Any]] = []

    def run(self) -> BundleVerdict:
        steps = (
            ("files", self._files),
            ("signature", self._signature),
            ("report", self._report),
            ("receipts", self._receipts),
            ("history", self._history),
            ("figures", self._figures),
        )
        for name, step in steps:
            self._take(name, step)
        if bundle.STAMP in self.bundle.names:
            self._take(STAMP_CHECK, self._stamp)
        report = self.report
        return BundleVerdict(
            ok=all(c.ok for c in self.checks),
            month="" if report is None else report.period.month,
            revision=0 if report is None else report.revision,
            signer=openssh_public(self.public) if self.public else "",
            signer_fingerprint=fingerprint(self.public) if self.public else "",
            checks=tuple(self.checks),
            does_not_show=NOT_PROVEN,
            stamp=self.stamp,
        )

    def _take(self, name: str, step: Callable[[], str]) -> None:
        try:
            self.checks.append(BundleCheck(name, True, step()))
        except _WRONG as e:
            said = e.message if isinstance(e, FormatError) else f"{type(e).__name__}: {e}" if not str(e) else str(e)
            self.checks.append(BundleCheck(name, False, said))

    def _files(self) -> str:
        sums = dict(self._sums())
        if self.bundle.strange:
            raise ValueError(f"what does not belong to it: {', '.join(self.bundle.strange[:_SHOWN])}")
        there = self.bundle.names - bundle.BESIDE
        missing, more = sorted(sums.keys() - there), sorted(there - sums.keys())
        if missing or more:
            raise ValueError("; ".join(f"{n} {what}" for n, what in self._named(missing, more)))
        wrong = [name for name, digest in sums.items() if _sha256(self.bundle.read(name)) != digest]
        if wrong:
            raise ValueError(f"not what was signed: {', '.join(wrong[:_SHOWN])}")
        return f"{len(sums)} files are as their sums say"

    def _named(self, missing: list[str], more: list[str]) -> Iterator[tuple[str, str]]:
        yield from ((name, "is missing") for name in missing[:_SHOWN])
        yield from ((name, "is in no sum") for name in more[:_SHOWN])

    def _sums(self) -> Iterator[tuple[str, str]]:
        data = self.bundle.read(bundle.SUMS)
        found = list(_LINE.finditer(data))
        if b"".join(m[0] for m in found) != data:
            raise ValueError(f"{bundle.SUMS} is not in the form that we write")
        names = [m[2] for m in found]
        if names != sorted(set(names)):
            raise ValueError(f"{bundle.SUMS} names something twice or out of order")
        yield from ((m[2].decode(), m[1].decode()) for m in found)

    def _signature(self) -> str:
        text = self.bundle.read(bundle.SIGNERS).decode("ascii")
        self.public = _public_in(text)
        if allowed_signers(self.public) != text:
            raise ValueError(f"{bundle.SIGNERS} is not in the form that we write")
        armored = self.bundle.read(bundle.SIGNATURE).decode("ascii")
        verify(self.public, sshsig.REPORT, self.bundle.read(bundle.SUMS), armored)
        mine = fingerprint(self.public)
        if self.expected is not None and mine != self.expected:
            raise ValueError(f"signed by {mine}, not by {self.expected}")
        return f"{bundle.SUMS} is signed by {mine}"

    def _stamp(self) -> str:
        try:
            found = stamp.read(self.bundle.read(bundle.STAMP), self.bundle.read(bundle.SUMS), roots=self.roots)
        except ValueError as e:
            raise ValueError(f"{bundle.STAMP} is refused: {e}") from e
        held, accuracy = bool(self.roots), found.accuracy.total_seconds() if found.accuracy is not None else None
        built_at = None if self.report is None else self.report.built_at
        shows = stamp_shows(found.at, found.accuracy, found.authority, held=held, built_at=built_at)
        self.stamp = BundleStamp(found.at, accuracy, found.authority, held, shows)
        against = "held against the CA that was given" if held else "its authority's signature was not checked"
        return f"{moment_utc(found.at)} by {found.authority}: {against}"

    def _report(self) -> str:
        plain = canonical.decode(self.bundle.read(bundle.REPORT_JSON))
        if plain.get("v") != REPORT_VERSION:
            raise ValueError(f"version {plain.get('v')} of the report is not known here")
        self.report = canonical.restore(Report, plain)
        self.plain = plain
        if self.report.installation.signer != openssh_public(self.public):
            raise ValueError("the report names another signing key")
        revision = f"revision {self.report.revision}"
        return f"{self.report.period.month}, {revision}, of {_n(len(self.report.connections), 'connection')}"

    def _receipts(self) -> str:
        for name in sorted(self.bundle.names):
            if not name.startswith(f"{bundle.RECEIPTS}/"):
                continue
            data = self.bundle.read(name)
            receipt = read_receipt(data.decode("utf-8"), self.public)
            if name != bundle.receipt_name(receipt.drill_id):
                raise ValueError(f"{name} holds another drill's receipt")
            # read a second time as plain JSON: what is counted is what is written
            self.receipts.append(reduce(json.loads(data)["receipt"], _sha256(data)))
        return f"{_n(len(self.receipts), 'receipt')}, each signed"

    def _history(self) -> str:
        previous: str | None = None
        for number, line in enumerate(self.bundle.read(bundle.EVENTS).splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                raise ValueError(f"line {number} of {bundle.EVENTS} is cut off")
            plain = canonical.decode(line[:-1])
            if "kind" in plain:
                event = canonical.restore(Event, plain)
                if event_hash(event) != event.hash:
                    raise ValueError(f"event {event.seq} is not what was written")
            elif plain.keys() != {"seq", "previous", "hash"}:
                raise ValueError(f"line {number} of {bundle.EVENTS} is no event")
            if previous is not None and (plain["previous"] != previous or plain["seq"] != self.events[-1]["seq"] + 1):
                raise ValueError(f"event {plain['seq']} does not follow the one before it")
            previous = plain["hash"]
            self.events.append(plain)
        self._head()
        withheld = sum("kind" not in e for e in self.events)
        return f"{_n(len(self.events), 'event')} up to the signed end hold together" + (
            f" ({withheld} of other connections withheld)" if withheld else ""
        )

    def _head(self) -> None:
        signed, _, armored = self.bundle.read(bundle.HEAD).partition(b"\n")
        plain = {**canonical.decode(signed), "signature": armored.decode("ascii")}
        head = from_plain(EventHead, plain)
        verify(self.public, sshsig.HEAD, head_bytes(head), head.signature)
        if head_bytes(head) != signed:
            raise ValueError("the head is not in the form that we write")
        last = self.events[-1] if self.events else {}
        if (last.get("seq"), last.get("hash")) != (head.seq, head.hash):
            raise ValueError("the history does not end where its signed end says")
        if self.report is None:
            raise ValueError("there is no report to hold it against")
        v = self.report.verifying
        said = EventHead(v.head_seq, v.head_hash, v.head_signature, v.head_signed_at)
        if said != head or (v.first_seq, v.last_seq) != (self.events[0]["seq"], head.seq):
            raise ValueError("the report names another end of the history")

    def _figures(self) -> str:
        if self.report is None:
            raise ValueError("there is no report to hold them against")
        wrong = recount(self.plain, self.receipts, self.events)
        if wrong:
            raise ValueError(_told(wrong))
        return "every figure follows from the receipts and the history"


def _told(wrong: list[Difference]) -> str:
    told = [f"{d.figure}: the report says {d.said}, counted {d.recounted}" for d in wrong[:_SHOWN]]
    return "; ".join([*told, *([f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else [])])


def _public_in(text: str) -> str:
    """The raw key in hex of an ``allowed_signers`` file. Raises ValueError."""
    found = re.search(r" ssh-ed25519 ([A-Za-z0-9+/=]+)\n$", text)
    if found is None:
        raise ValueError(f"{bundle.SIGNERS} holds no Ed25519 key")
    return base64.b64decode(found[1], validate=True)[-32:].hex()


def _n(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
