"""Canonical JSON (RFC 8785) of records, and the strict way back.

Numbers: integers up to 2^53 - 1 stay numbers. RFC 8785 writes floats as ECMAScript does, which few tools reproduce, so
a float never gets into a canonical record as a number: it becomes a decimal string with three places (``"12.345"``,
milliseconds for a duration in seconds). NaN and infinities are refused. Reading accepts only bytes that writing the
result again would give, which also refuses duplicate keys, other spacing, other escapes and other number forms.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

import rfc8785

from engine.codec import from_plain, to_plain

T = TypeVar("T")

LONGEST_BYTES = 64 * 1024 * 1024
"""No document of ours comes near this: a manifest of 100,000 tables has about 10 MB."""


def encode(value: object) -> bytes:
    """Canonical bytes of a record or of plain JSON values. Raises ValueError for what cannot be written."""
    try:
        return rfc8785.dumps(_without_floats(to_plain(value)))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as e:
        raise ValueError(f"cannot be written as canonical JSON: {e}") from e


def decode(data: bytes) -> Any:
    """Plain JSON values of canonical bytes. Raises ValueError for anything that :func:`encode` would not write."""
    if len(data) > LONGEST_BYTES:
        raise ValueError(f"longer than {LONGEST_BYTES} bytes")
    try:
        plain = json.loads(data.decode("utf-8"), parse_float=_refuse_float, parse_constant=_refuse_float)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e
    if encode(plain) != data:
        raise ValueError("not in canonical form")
    return plain


def restore(cls: type[T], plain: object) -> T:
    """The record of type ``cls`` in ``plain``, if writing it again gives the same. Raises ValueError."""
    record = from_plain(cls, plain)
    if encode(record) != encode(plain):
        raise ValueError(f"not a {cls.__name__} as it is written: a field is missing or has another form")
    return record


def normalise(cls: type[T], record: T) -> T:
    """``record`` with its floats rounded as they will be written: what reading it back will give."""
    return from_plain(cls, json.loads(encode(from_plain(cls, to_plain(record)))))


def _without_floats(plain: object) -> Any:
    match plain:
        case float():
            if not math.isfinite(plain):
                raise ValueError(f"{plain} is not a number that can be written")
            return f"{plain + 0.0:.3f}" if round(plain, 3) else "0.000"
        case dict():
            return {key: _without_floats(value) for key, value in plain.items()}
        case list() | tuple():
            return [_without_floats(value) for value in plain]
        case _:
            return plain


def _refuse_float(text: str) -> Any:
    raise ValueError(f"{text} is a number that canonical records do not hold")
