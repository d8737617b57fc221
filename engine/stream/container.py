"""The container of an artifact: magic, length, canonical JSON header; and the FLOE stream bound to them.

The header says how to find the data key and what lies inside; it names no host, no table and no plaintext size. Its
bytes are the associated data of the FLOE stream, so an edited header opens nothing. The room refuses to repair: a
header that is not byte for byte what we would write is not read. docs/ARTIFACT.md has the byte tables.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import rfc8785

from engine import floe
from engine.errors import FormatError
from engine.model import Recipient

MAGIC = b"ODBART01"
VERSION = 1
COMP = "gzip"
DUMP = "pg_dump-Fc"
SEG = 1_048_576
"""The sealed segment size in bytes, fixed in v1."""
MAX_BYTES = 48 << 40
"""Of an artifact as a whole."""
MAX_HEADER_LEN = 65_536
PREFIX_LEN = 12
"""Magic and length: what must be read to know how long the header is, in bytes."""

RECIPIENT_MASTER = "master"
RECIPIENT_RECOVERY = "hpke-mlkem768x25519"
MAX_RECIPIENTS = 16
_MAX_CT_LEN = 4096  # base64url characters; an HPKE-wrapped key has 1,558

_HEADER_KEYS = frozenset(
    {"artifact_id", "catalog_id", "comp", "connection_id", "created_at", "dump", "recipients", "seg", "v"}
)
_RECIPIENT_KEYS = frozenset({"ct", "kid", "t"})
_HEX_ID = re.compile(r"[0-9a-f]{32}")  # 128 random bits
_ID = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,62}[0-9A-Za-z])?")  # harmless in a path
_KID = re.compile(r"[0-9a-f]{16}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_AAD_PREFIX = b"odb/v1/artifact\0"


class ByteSource(Protocol):
    """Bytes that can be read once, from the start. A read may give fewer bytes than asked for; none at the end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class ArtifactHeader:
    """The clear header. ``artifact_id`` is 32 hex digits, ``created_at`` RFC 3339 in UTC, ``seg`` bytes."""

    artifact_id: str
    catalog_id: str
    connection_id: str
    created_at: str
    recipients: tuple[Recipient, ...]
    comp: str = COMP
    dump: str = DUMP
    seg: int = SEG
    v: int = VERSION


def encode_preamble(header: ArtifactHeader) -> bytes:
    """Magic, length and canonical JSON of ``header``.

    Raises ValueError for a header that a reader would refuse: it would be our mistake and no damaged object.
    """
    plain: dict[str, Any] = {
        "v": header.v,
        "artifact_id": header.artifact_id,
        "catalog_id": header.catalog_id,
        "connection_id": header.connection_id,
        "created_at": header.created_at,
        "comp": header.comp,
        "dump": header.dump,
        "seg": header.seg,
        "recipients": [{"t": r.t, "kid": r.kid, "ct": r.ct} for r in header.recipients],
    }
    try:
        _header_of(plain)
    except FormatError as e:
        raise ValueError(f"not a header of version {VERSION}: {e}") from e
    text = rfc8785.dumps(plain)
    if len(text) > MAX_HEADER_LEN:
        raise ValueError(f"the header has {len(text)} bytes, more than {MAX_HEADER_LEN}")
    return MAGIC + len(text).to_bytes(4, "big") + text


def read_preamble(source: ByteSource) -> tuple[ArtifactHeader, bytes]:
    """The header at the start of ``source``, and its exact bytes; ``source`` then stands at the FLOE header.

    Raises FormatError: ``format.header``, ``format.version`` or ``format.truncated``.
    """
    prefix = read_exactly(source, PREFIX_LEN)
    preamble = prefix + read_exactly(source, header_length(prefix))
    return parse_preamble(preamble), preamble


def header_length(prefix: bytes) -> int:
    """The length of the JSON header in bytes, from the first 12 bytes of an artifact. Raises FormatError."""
    if not prefix.startswith(MAGIC[:6]):
        _refuse("the object does not begin like an artifact")
    if not prefix.startswith(MAGIC):
        raise FormatError("format.version", f"the container version {prefix[6:8]!r} is not known")
    length = int.from_bytes(prefix[len(MAGIC) : PREFIX_LEN], "big")
    if not 1 <= length <= MAX_HEADER_LEN:
        _refuse(f"the header length {length} is outside 1 to {MAX_HEADER_LEN}")
    return length


def parse_preamble(preamble: bytes) -> ArtifactHeader:
    """The header in ``preamble`` (magic, length, JSON; nothing more). Raises FormatError as :func:`read_preamble`."""
    if len(preamble) < PREFIX_LEN or len(preamble) != PREFIX_LEN + header_length(preamble[:PREFIX_LEN]):
        _refuse("the header has another length than it declares")
    raw = preamble[PREFIX_LEN:]
    try:
        plain = json.loads(
            raw.decode("ascii"), object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float
        )
    except (ValueError, RecursionError) as e:
        raise FormatError(
            "format.header", "the header is not plain ASCII JSON with unique keys and whole numbers"
        ) from e
    header = _header_of(plain)
    if rfc8785.dumps(plain) != raw:
        _refuse("the header is not in canonical form")
    return header


def artifact_aad(preamble: bytes) -> bytes:
    """The FLOE associated data that binds the stream to every byte before it."""
    return _AAD_PREFIX + hashlib.sha256(preamble).digest()


def open_encryptor(dek: bytes, preamble: bytes) -> floe.Encryptor:
    """The FLOE encryptor of the artifact that begins with ``preamble``; ``dek`` is its data key, 32 bytes."""
    return floe.Encryptor(dek, artifact_aad(preamble), enc_seg_len=SEG)


def open_decryptor(dek: bytes, preamble: bytes, source: ByteSource) -> floe.Decryptor:
    """Read the FLOE header from ``source`` and open the stream; ``source`` then stands at the first segment.

    Raises FormatError: ``format.header`` also for a segment size that is not v1's, ``format.truncated``.
    """
    floe_header = read_exactly(source, floe.HEADER_LEN)
    decryptor = floe.Decryptor(dek, artifact_aad(preamble), floe_header)
    if decryptor.enc_seg_len != SEG:
        _refuse(f"the FLOE stream has segments of {decryptor.enc_seg_len} bytes, not {SEG}")
    return decryptor


def read_exactly(source: ByteSource, size: int) -> bytes:
    """``size`` bytes from ``source``. Raises FormatError ``format.truncated`` when it ends before."""
    parts: list[bytes] = []
    missing = size
    while missing:
        part = source.read(missing)
        if not part:
            raise FormatError("format.truncated", "the object ends inside its header")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _header_of(plain: object) -> ArtifactHeader:
    fields = _fields(plain, _HEADER_KEYS, "the header", check_version=True)
    recipients = fields["recipients"]
    if not isinstance(recipients, list) or not 1 <= len(recipients) <= MAX_RECIPIENTS:
        _refuse(f"the header names no recipient, or more than {MAX_RECIPIENTS}")
    header = ArtifactHeader(
        artifact_id=_text(fields, "artifact_id", _HEX_ID.fullmatch),
        catalog_id=_text(fields, "catalog_id", _ID.fullmatch),
        connection_id=_text(fields, "connection_id", _ID.fullmatch),
        created_at=_text(fields, "created_at", _INSTANT.fullmatch),
        recipients=tuple(_recipient(r) for r in recipients),
        comp=_text(fields, "comp", COMP.__eq__),
        dump=_text(fields, "dump", DUMP.__eq__),
    )
    if type(fields["seg"]) is not int or fields["seg"] != SEG:
        _refuse(f"the header's seg is not {SEG}")
    if len({(r.t, r.kid) for r in header.recipients}) != len(header.recipients):
        _refuse("the header names a recipient twice")
    return header


def _recipient(plain: object) -> Recipient:
    fields = _fields(plain, _RECIPIENT_KEYS, "a recipient")
    return Recipient(
        t=_text(fields, "t", (RECIPIENT_MASTER, RECIPIENT_RECOVERY).__contains__),
        kid=_text(fields, "kid", _KID.fullmatch),
        ct=_text(fields, "ct", _is_base64url),
    )


def _fields(plain: object, keys: frozenset[str], what: str, *, check_version: bool = False) -> dict[str, object]:
    if not isinstance(plain, dict):
        _refuse(f"{what} is not a JSON object")
    # the version is looked at first: a newer header may have other keys, and the user then needs a newer program
    if check_version and "v" in plain and (type(plain["v"]) is not int or plain["v"] != VERSION):
        if type(plain["v"]) is int and plain["v"] > VERSION:
            raise FormatError("format.version", f"the artifact has version {plain['v']}, this program reads {VERSION}")
        _refuse("the header's v is not a version")
    if plain.keys() != keys:
        wrong = sorted(plain.keys() ^ keys)
        _refuse(f"{what} lacks or adds {', '.join(repr(k[:40]) for k in wrong[:5])}")
    return plain


def _text(fields: dict[str, object], key: str, accept: Callable[[str], object]) -> str:
    value = fields[key]
    if not isinstance(value, str) or not accept(value):
        _refuse(f"the header's {key} is not valid")
    return value


def _is_base64url(text: str) -> bool:
    """Whether ``text`` is base64url without padding, and the only spelling of its bytes."""
    if not text or len(text) > _MAX_CT_LEN or "=" in text:
        return False
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") == text


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate key")
    return fields


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"not a whole number: {text[:40]}")


def _refuse(message: str) -> NoReturn:
    raise FormatError("format.header", message)
