"""A connection string as it is typed: what it says so far, beneath its field. Nothing is reached."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import ConfigError
from engine.model.watch import AddressView
from screens.phrase import Phrase, Tone
from screens.present_connections import address_phrase
from screens.widgets.fields import Field


def say_address(field: Field, read: Callable[[str], AddressView], *, notes: bool = False) -> AddressView | None:
    """Say what ``read`` makes of the field's text; None while that is nothing. ``notes``: its remarks, too."""
    if not field.text.strip():
        field.say()
        return None
    try:
        address = read(field.text)
    except ConfigError as e:
        field.say(Phrase("… ", Tone.DIM) + Phrase(e.message, Tone.DIM))
        return None
    remarks = (Phrase("i ", Tone.BUSY) + Phrase(note, Tone.DIM) for note in (address.notes if notes else ()))
    field.say(Phrase("✓ ", Tone.GOOD) + address_phrase(address), *remarks)
    return address
