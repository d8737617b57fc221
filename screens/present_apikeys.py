"""API keys in words. Pure text."""

from __future__ import annotations

from datetime import datetime

from engine.model.apikeys import ApiKeyView, KeyState
from screens.phrase import Phrase, Tone
from screens.present import both_times, human_age
from screens.present_settings import field

_STATES = {
    KeyState.ACTIVE: Phrase("● good", Tone.GOOD),
    KeyState.ENDING: Phrase("! ending", Tone.WARN),
    KeyState.EXPIRED: Phrase("✗ expired", Tone.DIM),
    KeyState.REVOKED: Phrase("✗ revoked", Tone.DIM),
}


def key_cells(key: ApiKeyView, now: datetime) -> tuple[Phrase, ...]:
    """Name, state, what it may do, what it reaches, when it was used."""
    used = human_age((now - key.last_used_at).total_seconds()) if key.last_used_at is not None else "never"
    may = " + ".join(scope.partition(":")[2] for scope in key.scopes)
    reach = ", ".join(key.connections) or "all"
    return Phrase(key.name, Tone.STRONG), _STATES[key.state], Phrase(may), Phrase(reach), Phrase(used, Tone.DIM)


def key_lines(key: ApiKeyView) -> tuple[Phrase, ...]:
    lines = [
        field("Name", Phrase(key.name, Tone.STRONG)),
        field("Id", Phrase(key.id, Tone.CODE)),
        field("State", _STATES[key.state]),
        field("May", ", ".join(key.scopes)),
        field("Connections", ", ".join(key.connections) or "all of them"),
        field("Made", f"{both_times(key.created_at)} by {key.created_by}"),
        field("Last used", both_times(key.last_used_at) if key.last_used_at is not None else "never"),
    ]
    if key.expires_at is not None:
        lines.append(field("Ends", both_times(key.expires_at)))
    if key.replaces is not None:
        lines.append(field("Replaces", Phrase(key.replaces, Tone.CODE)))
    return tuple(lines)


def empty_lines() -> tuple[Phrase, ...]:
    return (
        Phrase("  There is no API key.", Tone.STRONG),
        Phrase("  Press n: deploys ask for a checkpoint with one, before they migrate.", Tone.DIM),
    )
