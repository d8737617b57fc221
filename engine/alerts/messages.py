"""What is said of an incident, and how it is signed: JSON, HMAC-SHA256, the header names of Standard Webhooks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from datetime import datetime
from typing import Literal

from engine.clock import rfc3339
from engine.model import Incident, Occasion

PREFIX = "whsec_"
BYTES = 32
_LEAST, _MOST = 24, 64


def body(delivery_id: str, occasion: Occasion, incident: Incident) -> str:
    """The document of one delivery. It stays as it is however often it is sent."""
    return _json(
        delivery_id,
        occasion,
        {
            "kind": incident.kind.value,
            "subject": incident.name,
            "summary": incident.summary if incident.open else f"back to normal: {incident.summary}",
            "hint": incident.hint if incident.open else "",
            "opened_at": rfc3339(incident.opened_at),
            "closed_at": None if incident.closed_at is None else rfc3339(incident.closed_at),
            "incident": incident.id,
        },
    )


def trial_body(delivery_id: str, channel: str, at: datetime) -> str:
    """The same form, about nothing: what a test sends."""
    told: dict[str, str | None] = {
        "kind": "test",
        "subject": channel,
        "summary": f"a test of the channel {channel}: alerts arrive here",
        "hint": "Nothing is wrong; nothing is to be done.",
        "opened_at": rfc3339(at),
        "closed_at": None,
        "incident": None,
    }
    return _json(delivery_id, Occasion.TEST, told)


def plain(body_text: str) -> tuple[str, str, Literal["failure", "success", "info"]]:
    """Title, text and severity of a document, for services that show text."""
    told = json.loads(body_text)
    text = told["summary"] + (f"\n→ {told['hint']}" if told["hint"] else "")
    if told["occasion"] == Occasion.OPENED:
        return f"OffsiteDB: {told['kind']}: {told['subject']}", text, "failure"
    if told["occasion"] == Occasion.CLOSED:
        return f"OffsiteDB: back to normal: {told['subject']}", text, "success"
    return "OffsiteDB: a test", text, "info"


def about(body_text: str) -> str:
    """``kind: subject`` of a document; nothing for a heartbeat."""
    if not body_text:
        return ""
    told = json.loads(body_text)
    return f"{told['kind']}: {told['subject']}"


def new_secret() -> str:
    """A signing secret, as Standard Webhooks writes it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode()


def check_secret(text: str) -> None:
    """Raises ValueError for what cannot be a signing secret: ``whsec_`` and 24 to 64 bytes in Base64."""
    _key(text)


def sign(secret: str, delivery_id: str, at: datetime, payload: bytes) -> dict[str, str]:
    """The headers of one attempt. The time stamp is part of what is signed: an old one can be refused."""
    stamp = str(int(at.timestamp()))
    signed = f"{delivery_id}.{stamp}.".encode() + payload
    mac = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": delivery_id, "webhook-timestamp": stamp, "webhook-signature": f"v1,{mac}"}


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        raise ValueError(f"it does not begin with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as e:
        raise ValueError("it is not Base64") from e
    if not _LEAST <= len(key) <= _MOST:
        raise ValueError(f"it holds {len(key)} bytes, and must hold {_LEAST} to {_MOST}")
    return key


def _json(delivery_id: str, occasion: Occasion, told: dict[str, str | None]) -> str:
    document = {**told, "occasion": occasion.value, "delivery": delivery_id}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
