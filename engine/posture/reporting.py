"""The posture as chapters of a report: paragraphs, and a table of what was found with the facts behind it."""

from __future__ import annotations

from typing import NamedTuple

from engine.model.posture import Posture, PostureChapter, Standing
from engine.posture.wording import instant

_COLUMNS = ("standing", "statement", "what was looked at")


class ReportPart(NamedTuple):
    """One chapter: ``Chapter(*part)`` where a report has a record of these four."""

    title: str
    paragraphs: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def for_report(found: Posture) -> tuple[ReportPart, ...]:
    """A chapter that sums up what is weaker than recommended, then one for each chapter of the posture."""
    said = (
        f"Looked at {instant(found.at)} by offsitedb {found.version}, from the installation's own facts. Nothing is"
        " stated that was not looked at; what could not be is not known, with the reason.",
        f"{found.weaker} weaker than recommended, {found.unknown} not known.",
    )
    weaker = found.of(Standing.WEAKER)
    head = ReportPart(
        "Security posture",
        said,
        ("chapter", "weaker than recommended", "what mends it") if weaker else (),
        tuple((chapter.title, statement.text, statement.mend) for chapter, statement in weaker),
    )
    return (head, *(_part(chapter) for chapter in found.chapters))


def _part(chapter: PostureChapter) -> ReportPart:
    rows = tuple(
        (s.standing.value, s.text, "; ".join(f"{f.name}: {f.value}" for f in s.facts)) for s in chapter.statements
    )
    return ReportPart(f"Posture: {chapter.title}", (), _COLUMNS if rows else (), rows)
