"""The OpenAPI 3.1 document: paths written down here, schemas made from the records that are answered."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from engine.version import VERSION
from offsitedb_tui.api.answers import CheckpointAnswer, CheckpointList, Health, Problem, Refusal

Json = dict[str, Any]
_PLAIN: dict[type, Json] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    types.NoneType: {"type": "null"},
}
_RECORDS = (CheckpointAnswer, CheckpointList, Health, Problem, Refusal)


def document() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OffsiteDB checkpoint API",
            "version": VERSION,
            "summary": "Take a snapshot of a database now, and prove that it restores.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "odb_live_…"}},
            "schemas": {record.__name__: schema_of_record(record) for record in _RECORDS} | {"Wanted": _WANTED},
        },
    }


_WANTED: Json = {
    "type": "object",
    "required": ["database"],
    "additionalProperties": False,
    "properties": {
        "database": {"type": "string", "minLength": 1, "description": "The connection's name or id."},
        "tag": {
            "type": ["string", "null"],
            "maxLength": 100,
            "description": "A word to find the snapshot by, such as pre-deploy-4f2a1c.",
        },
    },
}


def _paths() -> Json:
    ask = {
        "parameters": [_parameter("Idempotency-Key", "header", "Asked again, the same job answers.")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Wanted")}}},
    }
    checkpoint = _json("CheckpointAnswer")
    return {
        "/api/checkpoint": {
            "post": {
                "operationId": "sealCheckpoint",
                "summary": "Take a snapshot, drill it, and answer when there is a verdict",
                "description": (
                    "Blanks keep the connection alive; once one was sent the status is 200, whatever comes: "
                    "look at `ok`. `Prefer: respond-async` answers at once with 202."
                ),
                **ask,
                "responses": {
                    "200": {"description": "It is proven; or it took long, and `ok` says", **checkpoint},
                    "202": {"description": "It goes on", **checkpoint},
                    "424": {"description": "It failed: no proof, no deploy", **checkpoint},
                    "503": {"description": "The server stops, or no worker runs; it goes on", **checkpoint},
                    **_refusals(400, 401, 403, 404, 408, 413, 415, 422, 429),
                },
            }
        },
        "/api/checkpoints": {
            "post": {
                "operationId": "beginCheckpoint",
                "summary": "The same, answered at once with a place to look at",
                **ask,
                "responses": {
                    "202": {
                        "description": "It is queued, or was already",
                        "headers": {"Location": {"schema": {"type": "string"}}},
                        **checkpoint,
                    },
                    **_refusals(400, 401, 403, 404, 408, 413, 415, 422, 429),
                },
            },
            "get": {
                "operationId": "listCheckpoints",
                "summary": "The newest checkpoints",
                "parameters": [
                    _parameter("database", "query", "The connection's name or id."),
                    _parameter("tag", "query", "Exactly this tag."),
                    _parameter("limit", "query", "100 at the most.", {"type": "integer", "default": 20}),
                ],
                "responses": {
                    "200": {"description": "Newest first", **_json("CheckpointList")},
                    **_refusals(400, 401, 403, 404, 429),
                },
            },
        },
        "/api/checkpoints/{id}": {
            "get": {
                "operationId": "getCheckpoint",
                "summary": "One checkpoint, by its id or its snapshot's",
                "parameters": [
                    {**_parameter("id", "path", "32 hex digits."), "required": True},
                    _parameter("wait", "query", "Seconds to wait for its end, 60 at the most.", {"type": "integer"}),
                ],
                "responses": {
                    "200": {"description": "It has ended; `ok` says how", **checkpoint},
                    "202": {"description": "It goes on", **checkpoint},
                    **_refusals(400, 401, 404, 429),
                },
            }
        },
        "/healthz": {
            "get": {
                "operationId": "health",
                "summary": "Whether this server can read its catalog",
                "security": [],
                "responses": {"200": {"description": "It can", **_json("Health")}, **_refusals(503)},
            }
        },
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Figures for Prometheus; needs checkpoint:read",
                "responses": {
                    "200": {"description": "Text", "content": {"text/plain": {"schema": {"type": "string"}}}},
                    **_refusals(401, 403, 429),
                },
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "security": [],
                "responses": {
                    "200": {
                        "description": "OpenAPI 3.1",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    }
                },
            }
        },
    }


_REFUSED = {
    400: "It cannot be understood",
    401: "The key is missing or not good",
    403: "The key may not do this",
    404: "The key reaches nothing of that name or id",
    408: "The body did not come",
    413: "The body is larger than 16 KiB",
    415: "The body is not JSON",
    422: "The Idempotency-Key belongs to another request",
    429: "Too many requests; see Retry-After",
    503: "Not now; see Retry-After",
}


def _refusals(*statuses: int) -> Json:
    return {str(status): {"description": _REFUSED[status], **_json("Refusal")} for status in statuses}


def _json(name: str) -> Json:
    return {"content": {"application/json": {"schema": _ref(name)}}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str, where: str, about: str, schema: Json | None = None) -> Json:
    return {"name": name, "in": where, "description": about, "schema": schema or {"type": "string"}}


def schema_of_record(record: type) -> Json:
    """The JSON Schema of a frozen record: every field is there, and no other."""
    hints = get_type_hints(record)
    names = [f.name for f in fields(record)]
    assert all(f.default is MISSING for f in fields(record))
    return {
        "type": "object",
        "required": names,
        "additionalProperties": False,
        "properties": {name: _schema(hints[name]) for name in names},
    }


def _schema(hint: Any) -> Json:
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if isinstance(hint, type) and is_dataclass(hint):
        return _ref(hint.__name__)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"type": "string", "enum": [member.value for member in hint]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _schema(get_args(hint)[0])}
    if get_origin(hint) in (types.UnionType, Union):
        return {"anyOf": [_schema(part) for part in get_args(hint)]}
    raise TypeError(f"no schema for {hint!r}")
