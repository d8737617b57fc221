"""Records to JSON and back: frozen dataclasses, enums, tuples and UTC instants, unknown keys refused.

Used wherever a record leaves the process: the sealed part of a manifest, a receipt, a catalog column, ``--json``.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TypeVar

import cattrs
from cattrs.preconf.json import JsonConverter, make_converter

from engine.clock import from_rfc3339, rfc3339

T = TypeVar("T")

_converter = make_converter(forbid_extra_keys=True)
_lenient = make_converter()
for _one in (_converter, _lenient):
    _one.register_unstructure_hook(datetime, rfc3339)
    _one.register_structure_hook(datetime, lambda text, _: from_rfc3339(text))


def to_plain(value: object) -> Any:
    """JSON-ready lists, dicts, strings and numbers for a record."""
    return _converter.unstructure(value)


def from_plain(cls: type[T], plain: object) -> T:
    """The record of type ``cls``. Raises ValueError naming the first field that does not fit."""
    return _structure(_converter, cls, plain)


def from_plain_leniently(cls: type[T], plain: object) -> T:
    """The same, but fields that ``cls`` does not have are passed over: a newer program may have written them."""
    return _structure(_lenient, cls, plain)


def _structure(converter: JsonConverter, cls: type[T], plain: object) -> T:
    try:
        return converter.structure(plain, cls)
    except (cattrs.BaseValidationError, KeyError, TypeError, ValueError, AttributeError) as e:
        raise ValueError(f"not a {cls.__name__}: {'; '.join(cattrs.transform_error(e)) or e}") from e


def to_json(value: object) -> str:
    """Compact JSON text of a record, keys in the order of the fields."""
    return json.dumps(to_plain(value), ensure_ascii=False, separators=(",", ":"))


def from_json(cls: type[T], text: str | bytes) -> T:
    """The record in ``text``. Raises ValueError."""
    return from_plain(cls, json.loads(text))
