"""Durations as people write them: what is written is read, and written again as it was read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.service.durations import duration_text, parse_duration

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("15min", 900.0),
        ("6h", 21_600.0),
        ("1d", 86_400.0),
        (" 15 MIN ", 900.0),
        ("1.5h", 5400.0),
        ("0.25s", 0.25),
        ("none", None),
        ("NONE", None),
    ],
)
def test_what_people_write(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a duration"),
        ("6", "has no unit"),
        ("h", "not a duration"),
        ("6m", "'m' is not a unit"),
        ("6 hours", "'hours' is not a unit"),
        ("-6h", "not a duration"),
        ("1h30min", "not a duration"),
        ("0h", "not between"),
        ("0.0001d", "not a duration"),
        ("nan h", "not a duration"),
        ("1e9d", "not a duration"),
        ("999999999d", "not between"),
        ("٣h", "not a duration"),
        ("6h\n6h", "not a duration"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        parse_duration(text)
    assert (caught.value.code, caught.value.exit_status) == ("config.invalid", 2)
    assert "6h" in caught.value.hint


@given(st.integers(1, 3650), st.sampled_from(sorted(UNITS)))
def test_every_duration_is_written_as_it_is_read(number: int, unit: str) -> None:
    seconds = parse_duration(f"{number}{unit}")
    assert seconds == number * UNITS[unit]
    text = duration_text(seconds)
    assert parse_duration(text) == seconds
    assert "." not in text
    assert len(text) <= len(f"{number}{unit}") + 2


@given(st.integers(1, 3650 * 86_400 * 1000))
def test_milliseconds_survive(ms: int) -> None:
    assert parse_duration(duration_text(ms / 1000)) == ms / 1000


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ConfigError:
        return
    assert seconds is None or 0 < seconds <= 3650 * 86_400


def test_no_target() -> None:
    assert duration_text(None) == "none"
