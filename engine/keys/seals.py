"""Sealed values: a text in one cell of the catalog, and a blob beside an artifact.

Each is bound to its place: a cell swapped with another row or column, or a manifest moved to another snapshot, does not
open. The room does not look for the right key; it says which key id a value needs.
"""

from __future__ import annotations

from engine import floe
from engine.errors import FormatError, KeyAccessError
from engine.keys.binding import bind, from_base64url, show_kid, to_base64url
from engine.keys.master import KID_LEN, MasterKey

MAX_FIELD_BYTES = 1_048_576
"""Longest sealed text in UTF-8 bytes: a connection string with its CA bundle has some 300 KiB."""
MAX_BLOB_BYTES = 256 * 1_048_576
"""Longest sealed blob in bytes: the manifest of 500,000 tables has about 100 MB."""

_FIELD_PREFIX = "odb1f"
_BLOB_MAGIC = b"ODBBLOB1"
_BLOB_HEAD_LEN = len(_BLOB_MAGIC) + KID_LEN


def seal_field(master: MasterKey, *, catalog_id: str, table: str, column: str, row_id: str, value: str) -> str:
    """``odb1f.<kid>.<base64url>``: ``value`` for exactly this cell. Raises ValueError for an over-long value."""
    raw = value.encode("utf-8")
    if len(raw) > MAX_FIELD_BYTES:
        raise ValueError(f"a sealed field holds at most {MAX_FIELD_BYTES} bytes, not {len(raw)}")
    aad = _field_aad(master.kid, catalog_id, table, column, row_id)
    return f"{_FIELD_PREFIX}.{master.kid}.{to_base64url(floe.seal(master.derive('odb/v1/field'), aad, raw))}"


def open_field(master: MasterKey, *, catalog_id: str, table: str, column: str, row_id: str, value: str) -> str:
    """The text that was sealed into this cell.

    Raises KeyAccessError: ``key.wrong`` when the cell names another key, ``key.row-altered`` for everything else.
    """
    kid = field_kid(value)
    if kid != master.kid:
        raise KeyAccessError(
            "key.wrong", f"{table}.{column} was sealed under {show_kid(kid)}, the keyring holds {show_kid(master.kid)}"
        )
    aad = _field_aad(kid, catalog_id, table, column, row_id)
    try:
        sealed = from_base64url(value.rpartition(".")[2])
        raw = floe.open_sealed(master.derive("odb/v1/field"), aad, sealed, max_bytes=MAX_FIELD_BYTES)
        return raw.decode("utf-8")
    except (FormatError, ValueError) as e:
        raise KeyAccessError("key.row-altered", f"{table}.{column} was altered, or moved from another row") from e


def field_kid(value: str) -> str:
    """The id of the key that opens ``value``. Raises KeyAccessError ``key.row-altered`` when it is no sealed field."""
    parts = value.split(".")
    if len(parts) != 3 or parts[0] != _FIELD_PREFIX or not _is_kid(parts[1]):
        raise KeyAccessError("key.row-altered", "a cell that should be sealed is not")
    return parts[1]


def seal_blob(master: MasterKey, purpose: str, parts: tuple[str, ...], data: bytes) -> bytes:
    """``data`` sealed for ``purpose`` and its place ``parts``; the key id is stored with it. Raises ValueError."""
    if len(data) > MAX_BLOB_BYTES:
        raise ValueError(f"a sealed blob holds at most {MAX_BLOB_BYTES} bytes, not {len(data)}")
    sealed = floe.seal(master.derive("odb/v1/blob"), _blob_aad(master.kid, purpose, parts), data)
    return _BLOB_MAGIC + bytes.fromhex(master.kid) + sealed


def open_blob(master: MasterKey, purpose: str, parts: tuple[str, ...], data: bytes) -> bytes:
    """The bytes given to :func:`seal_blob` with the same purpose and parts.

    Raises FormatError: ``format.wrong-key`` when the blob names another key, ``format.header`` when it is no blob or
    belongs to another place, ``format.corrupt-segment``, ``format.truncated`` or ``format.trailing`` for damage.
    """
    kid = blob_kid(data)
    if kid != master.kid:
        raise FormatError(
            "format.wrong-key", f"{purpose} sealed under {show_kid(kid)}, keyring holds {show_kid(master.kid)}"
        )
    aad = _blob_aad(kid, purpose, parts)
    sealed = memoryview(data)[_BLOB_HEAD_LEN:]
    return floe.open_sealed(master.derive("odb/v1/blob"), aad, sealed, max_bytes=MAX_BLOB_BYTES)


def blob_kid(data: bytes) -> str:
    """The id of the key that opens ``data``. Raises FormatError ``format.header`` when it is no sealed blob."""
    if len(data) < _BLOB_HEAD_LEN or not data.startswith(_BLOB_MAGIC):
        raise FormatError("format.header", "this is not a sealed blob")
    return data[len(_BLOB_MAGIC) : _BLOB_HEAD_LEN].hex()


def _field_aad(kid: str, catalog_id: str, table: str, column: str, row_id: str) -> bytes:
    return bind("odb/v1/field", catalog_id, table, column, row_id, kid)


def _blob_aad(kid: str, purpose: str, parts: tuple[str, ...]) -> bytes:
    return bind("odb/v1/blob", purpose, kid, *parts)


def _is_kid(text: str) -> bool:
    return len(text) == 2 * KID_LEN and all(char in "0123456789abcdef" for char in text)
