"""The command that brings a locale: right on every distribution, silent about names that are none of the C library."""

from __future__ import annotations

import pytest

from engine.postgres.locales import command


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("en_US.UTF-8", "localedef -i en_US -f UTF-8 en_US.UTF-8"),
        ("de_DE.utf8", "localedef -i de_DE -f UTF-8 de_DE.UTF-8"),
        ("sr_RS.utf8@latin", "localedef -i sr_RS@latin -f UTF-8 sr_RS.UTF-8@latin"),
        ("de_DE.iso88591", "localedef -i de_DE -f ISO-8859-1 de_DE.ISO-8859-1"),
        ("de_DE@euro", "localedef -i de_DE@euro -f ISO-8859-15 de_DE@euro"),
        ("fr_FR", "localedef -i fr_FR -f ISO-8859-1 fr_FR"),
        ("English_United States.1252", None),
        ("en-US-x-icu", None),
        ("en_US.UTF-8; rm -rf /", None),
        ("", None),
    ],
)
def test_the_command(name: str, says: str | None) -> None:
    assert command(name) == says
