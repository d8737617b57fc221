"""The security posture in words: what is weaker first, then every chapter. Pure: no Textual."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from engine.model.posture import Posture, PostureChapter, Standing, Statement
from screens.fact import BLANK, Fact, section
from screens.phrase import Phrase, Tone
from screens.present import visible

GLYPH = {Standing.HOLDS: "✓", Standing.WEAKER: "!", Standing.UNKNOWN: "?", Standing.LIMIT: "–"}
TONES = {
    Standing.HOLDS: Tone.GOOD,
    Standing.WEAKER: Tone.WARN,
    Standing.UNKNOWN: Tone.DIM,
    Standing.LIMIT: Tone.DIM,
}
COLUMNS = 80
_HARD = "\N{NO-BREAK SPACE}"
_COMMAND = re.compile(r"`[^`]*`")
_PLACES = {
    "settings:alerts": "6 Settings › Alerts",
    "settings:apikeys": "6 Settings › API keys",
    "settings:destinations": "6 Settings › Destinations",
    "settings:key": "6 Settings › Key and recovery",
    "settings:operators": "6 Settings › Operators",
    "settings:tools": "6 Settings › Tools",
    "connections": "2 Connections",
}


def summary(found: Posture) -> str:
    """``3 things are weaker than recommended, 2 are not known.``"""
    unknown = f"{found.unknown} {'is' if found.unknown == 1 else 'are'} not known"
    if not found.weaker:
        return f"Nothing is weaker than recommended; {unknown}." if found.unknown else "Everything holds."
    weaker = "1 thing is" if found.weaker == 1 else f"{found.weaker} things are"
    return f"{weaker} weaker than recommended" + (f", {unknown}." if found.unknown else ".")


def place_words(place: str) -> str:
    """Where a console mends it."""
    return _PLACES.get(place, "")


# on the command line


def text_lines(found: Posture, *, facts: bool = True) -> Iterator[str]:
    """The whole of it at 80 columns: what is weaker first, with the next command; then every chapter with its facts."""
    yield f"Security posture of installation {found.catalog_id}"
    yield f"looked at {found.at:%Y-%m-%d %H:%M} UTC by offsitedb {found.version}"
    yield ""
    yield summary(found)
    for chapter, statement in found.of(Standing.WEAKER):
        yield ""
        yield from _set(statement, f"  {GLYPH[Standing.WEAKER]} ", f"{chapter.title}: ")
        yield from _mend(statement)
    for chapter in found.chapters:
        yield ""
        yield chapter.title.upper()
        if not chapter.statements:
            yield "  nothing to say"
        for statement in chapter.statements:
            yield from _set(statement, f"  {GLYPH[statement.standing]} ")
            if facts:
                for fact in statement.facts:
                    yield from _wrap(f"{fact.name}: {fact.value}", " " * 8, hang=2)
    yield ""
    yield f"{GLYPH[Standing.HOLDS]} holds   ! weaker than recommended   ? not known   – not offered"


def _set(statement: Statement, margin: str, before: str = "") -> Iterator[str]:
    first, *rest = list(_wrap(before + statement.text, " " * len(margin)))
    yield margin + first[len(margin) :]
    yield from rest


def _mend(statement: Statement) -> Iterator[str]:
    if statement.mend:
        first, *rest = list(_wrap(statement.mend, " " * 6))
        yield "    → " + first[6:]
        yield from rest


def _wrap(text: str, indent: str, hang: int = 0) -> list[str]:
    lines = textwrap.wrap(
        _COMMAND.sub(_unbroken, visible(text)),
        COLUMNS,
        initial_indent=indent,
        subsequent_indent=indent + " " * hang,
        break_on_hyphens=False,
    )
    return [line.replace(_HARD, " ") for line in lines] or [indent]


def _unbroken(command: re.Match[str]) -> str:
    """A command that fits on a line of its own is not broken: it is there to be copied."""
    return command[0].replace(" ", _HARD) if len(command[0]) <= COLUMNS - 8 else command[0]


# on the screen


def facts(found: Posture) -> tuple[tuple[Fact, str], ...]:
    """The whole of it as lines that a cursor walks through, each with the place where it is mended (or empty)."""
    worst = Standing.WEAKER if found.weaker else Standing.UNKNOWN if found.unknown else Standing.HOLDS
    head = Phrase(f"{GLYPH[worst]} ", TONES[worst]) + Phrase(summary(found), Tone.STRONG)
    lines = [(Fact(head), "")]
    for chapter, statement in found.of(Standing.WEAKER):
        lines += [(BLANK, ""), *_statement(statement, chapter)]
    for chapter in found.chapters:
        lines += [(line, "") for line in section(chapter.title, Phrase(_tally(chapter), Tone.DIM))]
        for statement in chapter.statements:
            lines += _statement(statement)
            lines += [(_fact_line(f.name, f.value), statement.place) for f in statement.facts]
    return tuple(lines)


def _statement(statement: Statement, chapter: PostureChapter | None = None) -> list[tuple[Fact, str]]:
    head = Phrase(f"{GLYPH[statement.standing]} ", TONES[statement.standing])
    if chapter is not None:
        head = head + Phrase(f"{chapter.title}: ", Tone.DIM)
    lines = [Fact(head + Phrase(statement.text), copy=("the statement", visible(statement.text)))]
    if chapter is not None and statement.mend:
        where = f"  (enter: {place_words(statement.place)})" if place_words(statement.place) else ""
        text = Phrase("  → ", Tone.DIM) + Phrase(statement.mend) + Phrase(where, Tone.DIM)
        lines.append(Fact(text, copy=_command(statement.mend)))
    return [(line, statement.place) for line in lines]


def _fact_line(name: str, value: str) -> Fact:
    text = f"{visible(name)}: {visible(value)}"
    return Fact(Phrase("    ") + Phrase(f"{name}: ", Tone.DIM) + Phrase(value, Tone.DIM), copy=("the fact", text))


def _command(mend: str) -> tuple[str, str]:
    """What `y` copies of a way to mend something: its first command, else all of it."""
    parts = mend.split("`")
    return ("the command", visible(parts[1])) if len(parts) >= 3 else ("what to do", visible(mend))


def _tally(chapter: PostureChapter) -> str:
    weaker = sum(s.standing is Standing.WEAKER for s in chapter.statements)
    unknown = sum(s.standing is Standing.UNKNOWN for s in chapter.statements)
    said = [f"{weaker} weaker than recommended"] if weaker else []
    return ", ".join([*said, *([f"{unknown} not known"] if unknown else [])])
