"""The security posture in plain language: chapters of statements, each made from facts that were looked at.

Pure: the room reads nothing and writes nothing. It refuses to say what was not looked at: an unknown is a statement of
its own, with its reason. What is wrong and how to mend it in detail is the doctor's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.model.posture import Posture, PostureChapter, Standing, Statement
from engine.posture import artifacts, drills, host, keys, limits, people, sources, transport
from engine.posture.facts import Looked, Unknown
from engine.posture.reporting import ReportPart, for_report

__all__ = ["Looked", "ReportPart", "Unknown", "for_report", "state"]


def state(looked: Looked) -> Posture:
    """Everything that can be said of what was looked at."""
    made: tuple[tuple[str, str, Iterator[Statement]], ...] = (
        ("asked", "What we ask databases for", sources.asked_for(looked)),
        ("captured", "What is captured, and what is not", sources.captured(looked)),
        ("transport", "What protects data on the way", transport.transport(looked)),
        ("at-rest", "Credentials at rest", keys.at_rest(looked)),
        ("artifacts", "Snapshots and evidence", artifacts.artifacts(looked)),
        ("drills", "Isolation of drills", drills.isolation(looked)),
        ("programs", "PostgreSQL programs and their security floor", drills.programs(looked)),
        ("access", "Who may do what", people.access(looked)),
        ("told", "Who is told", people.told(looked)),
        ("host", "This host", host.host(looked)),
        ("not", "What this is not", limits.limits(looked)),
    )
    chapters = tuple(PostureChapter(key, title, tuple(said)) for key, title, said in made)
    return Posture(
        at=looked.at,
        version=looked.doctor.version,
        catalog_id=looked.catalog_id,
        chapters=chapters,
        weaker=_count(chapters, Standing.WEAKER),
        unknown=_count(chapters, Standing.UNKNOWN),
    )


def _count(chapters: Iterable[PostureChapter], standing: Standing) -> int:
    return sum(s.standing is standing for c in chapters for s in c.statements)
