"""What PostgreSQL said, in plain words with the next command: one table of rules for connections, dumps and restores.

The first rule that fits speaks; its sentence never replaces PostgreSQL's own words, which follow it. A text that no
rule knows is shown as it is: the room refuses to shrug, and to show a text without taking secrets and control
characters out of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.postgres.rule import LONGEST_WORDS, Place, Rule, Surroundings, plain, shown_lines
from engine.postgres.rules_connect import CONNECT_RULES, DUMP_CONNECT_RULES
from engine.postgres.rules_restore import RESTORE_RULES
from engine.postgres.rules_source import SOURCE_RULES

RULES: tuple[Rule, ...] = (*CONNECT_RULES, *DUMP_CONNECT_RULES, *SOURCE_RULES, *RESTORE_RULES)
_LONGEST_TEXT = 20_000
_PREAMBLE = re.compile(
    r"^(?:connection failed: )?(?:connection to server .*? failed: )?(?:(?:FATAL|ERROR|PANIC):\s*)?", re.DOTALL
)
_HOST = re.compile(r'\b(connection to server at )"[^"\n]*"')
"""A stranger's word in libpq's sentence, which may hold any word that a rule looks for."""
NOWHERE = Surroundings()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``sentence`` is empty and ``code`` None where no rule knows the text."""

    words: str
    """PostgreSQL's own, on one line."""
    rule: str | None = None
    sentence: str = ""
    hint: str | None = None
    code: str | None = None
    retry: bool = False
    host: bool = False

    @property
    def message(self) -> str:
        """The sentence with PostgreSQL's own words behind it; those alone where there is no sentence."""
        if not self.sentence:
            return self.words
        return f"{self.sentence} ({self.words})" if self.words else self.sentence


def diagnose(text: str, place: Place, near: Surroundings = NOWHERE, *, point: str | None = None) -> Diagnosis:
    """What ``text`` means where it was said. ``point``: the part of it that is shown; all of it by default."""
    shown = text if point is None else point
    words = plain(_PREAMBLE.sub("", shown.strip(), count=1)).rstrip(".") or plain(shown)
    searched = _HOST.sub(r'\1""', text[:_LONGEST_TEXT])
    for known in RULES:
        case = known.fits(searched, place, near)
        if case is not None:
            return Diagnosis(
                words[:LONGEST_WORDS],
                known.name,
                known.sentence(case),
                shown_lines(known.next_step(case)),
                known.code,
                known.retry,
                known.host,
            )
    return Diagnosis(words)
