"""The security posture of an installation: plain sentences, each with the facts behind it and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Standing(StrEnum):
    """How a statement stands."""

    HOLDS = "holds"
    WEAKER = "weaker than recommended"
    UNKNOWN = "not known"
    """It was looked for and not found out; the sentence says why."""
    LIMIT = "not offered"
    """What this product does not do, whatever is set."""


@dataclass(frozen=True, slots=True)
class PostureFact:
    """One thing that was looked at. ``value`` may hold names from other people's databases."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Statement:
    """A plain sentence. ``mend`` is the exact next command, set where it stands weaker than recommended.

    ``subject``: the connection, destination, key, … that it is about; empty: the installation. ``place``: the section
    of the settings (``settings:key``) or the page (``connections``) where a console mends it; may be empty.
    """

    text: str
    standing: Standing
    facts: tuple[PostureFact, ...]
    subject: str = ""
    mend: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class PostureChapter:
    key: str
    title: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Posture:
    """What was found in one look."""

    at: datetime
    version: str
    catalog_id: str
    chapters: tuple[PostureChapter, ...]
    weaker: int
    unknown: int

    def of(self, standing: Standing) -> tuple[tuple[PostureChapter, Statement], ...]:
        """Every statement that stands so, with its chapter, in order."""
        return tuple((c, s) for c in self.chapters for s in c.statements if s.standing is standing)
