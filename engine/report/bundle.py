"""A bundle: the folder that holds one report and everything that it rests on, with its sums and their signature.

Files are written one after the other into a folder that has no name yet; only the whole one is named.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.codec import to_plain
from engine.evidence import canonical, sshsig
from engine.evidence.chain import head_bytes
from engine.evidence.signer import Signer, allowed_signers, fingerprint
from engine.model import Event, EventHead
from engine.model.report import Report
from engine.report.wording import verify_text

SUMS, SIGNATURE, STAMP = "SHA256SUMS", "SHA256SUMS.sig", "SHA256SUMS.tsr"
BESIDE = frozenset((SUMS, SIGNATURE, STAMP))
"""What is made over the sums, and so is in none. The time stamp may be missing, and may come later."""
REPORT_JSON, EVENTS, HEAD, SIGNERS, VERIFY_TXT = (
    "report.json",
    "events.jsonl",
    "head.txt",
    "allowed_signers",
    "VERIFY.txt",
)
RENDERED = ("report.html", "report.pdf", "report.txt")
RECEIPTS = "receipts"
_READ = 1024 * 1024

Renderers = Mapping[str, Callable[[Report], bytes]]
"""By file name: what makes it of a report."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle that is whole. ``sums_sha256``: of ``SHA256SUMS``."""

    sums_sha256: str
    size_bytes: int


def receipt_name(drill_id: str) -> str:
    """Where a receipt lies in a bundle."""
    return f"{RECEIPTS}/{drill_id}.json"


def event_line(event: Event, *, withheld: bool = False) -> bytes:
    """One line of ``events.jsonl``: the event as it was hashed, or of one that is withheld its place in the chain."""
    if withheld:
        plain: dict[str, Any] = {"seq": event.seq, "previous": event.previous, "hash": event.hash}
    else:
        plain = to_plain(event)
    return canonical.encode(plain) + b"\n"


def head_text(head: EventHead) -> bytes:
    """``head.txt``: what was signed, on one line, and its signature (``ssh-keygen -Y verify -n offsitedb-head``)."""
    return head_bytes(head) + b"\n" + head.signature.encode("ascii")


def complete(folder: Path, report: Report, head: EventHead, renderers: Renderers, signer: Signer) -> Sealed:
    """Write everything that is not there yet (receipts and events are), the sums, and the signature over them."""
    files: dict[str, bytes] = {name: render(report) for name, render in renderers.items()}
    files[REPORT_JSON] = canonical.encode(report)
    files[HEAD] = head_text(head)
    files[SIGNERS] = allowed_signers(signer.public_hex).encode("ascii")
    files[VERIFY_TXT] = verify_text(fingerprint(signer.public_hex)).encode("utf-8")
    for name, data in files.items():
        put(folder / name, data)
    sums = b"".join(f"{digest}  {name}\n".encode("ascii") for name, digest in sorted(_digests(folder)))
    put(folder / SUMS, sums)
    put(folder / SIGNATURE, signer.sign(sshsig.REPORT, sums).encode("ascii"))
    for place in (folder / RECEIPTS, folder):
        _sync(place)
    size = sum(path.stat().st_size for path in _files(folder))
    return Sealed(hashlib.sha256(sums).hexdigest(), size)


def put(path: Path, data: bytes) -> None:
    """Write a new file, mode 0600, on the disk when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def lay_beside(folder: Path, stamp: bytes, beside: Path) -> None:
    """A time stamp into a bundle that has its name, in one step by way of the new file ``beside``.

    Raises FileExistsError where one is there, OSError.
    """
    try:
        put(beside, stamp)
        (folder / STAMP).hardlink_to(beside)
    finally:
        beside.unlink(missing_ok=True)
    _sync(folder)


def name_it(folder: Path, final: Path) -> None:
    """The folder at its place, which is empty before. Raises OSError."""
    folder.rename(final)
    _sync(final.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in _files(folder):
        hashed = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_READ):
                hashed.update(block)
        yield str(path.relative_to(folder)), hashed.hexdigest()
