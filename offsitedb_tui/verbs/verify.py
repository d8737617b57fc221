"""``verify``: whether the catalog, its history and its signed documents say the same."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from engine.errors import CatalogError, PartialResult
from engine.model import Part, Verification
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, hint_lines, speaking
from screens.present import human_seconds, visible

_WORDS = {
    Part.HISTORY: ("events", "unbroken, signed ends hold"),
    Part.ROWS: ("rows", "as the events left them"),
    Part.RECEIPTS: ("receipts", "signed, chained, equal to the ledger"),
    Part.KEYS: ("sealed values", "open under the key of this catalog"),
    Part.MANIFESTS: ("manifests", "at their destinations as they were written"),
}


def verify(
    manifests: Annotated[
        bool, typer.Option("--manifests", help="Read the manifest of every snapshot at its destination, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Whether the catalog is what its signed history says: nothing altered, removed or put in (50 if not).

    With --manifests 3 says that nothing is wrong, and that a destination did not give all of them.

    Looks at the chain of events and its signatures, every row that is evidence, every receipt, and what is sealed.
    """
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        said = _Progress(talk)
        look = engine.verify.check_all if manifests else engine.verify.check
        found = look(said=said)
        said.clear()
        talk.document(found)
        _show(found, talk, manifests=manifests)
        if not found.holds:
            raise typer.Exit(CatalogError.exit_status)
        if found.unread:
            raise typer.Exit(PartialResult.exit_status)


def _show(found: Verification, talk: Talk, *, manifests: bool) -> None:
    for part in found.checked:
        what, holds = _WORDS[part.part]
        what = what.removesuffix("s") if part.count == 1 else what
        said = f"{part.wrong:,} wrong" if part.wrong else holds if part.count else "nothing looked at"
        glyph = "✗" if part.wrong else "!" if part.unread else "✓" if part.count else "–"
        talk.show(f"{glyph} {part.count:>9,} {what:14} {said}" + (f"; {visible(part.note)}" if part.note else ""))
    if not manifests:
        talk.show("–           manifests      not looked at: `offsitedb verify --manifests`")
    for finding in found.findings:
        talk.show(f"✗ {visible(finding.subject)}: {visible(finding.text)}")
        for line in hint_lines(finding.hint):
            talk.show(f"  {line}")
    more = found.wrong - len(found.findings)
    if more > 0:
        talk.show(f"  and {more:,} more")
    if found.signed_at is not None:
        of = f" of {found.events:,}" if found.unsigned > 0 else ""
        talk.show(f"signed up to event {found.signed_seq:,}{of}, on {found.signed_at:%Y-%m-%d %H:%M} UTC")
    if found.holds and found.unread:
        talk.say(f"nothing is wrong; {found.unread:,} could not be read: try again when their destination answers")
    elif found.holds:
        talk.show(f"the catalog holds ({human_seconds(found.took_s)})")
    else:
        talk.say(f"error: the catalog does not hold: {found.wrong:,} found wrong  [catalog.altered]")


class _Progress:
    """One line on stderr that is written over, in a terminal."""

    def __init__(self, talk: Talk) -> None:
        self._shown = sys.stderr.isatty() and not talk.as_json

    def __call__(self, part: Part, done: int, total: int | None) -> None:
        if self._shown:
            of = f" of {total:,}" if total else ""
            sys.stderr.write(f"\r\033[K{_WORDS[part][0]}: {done:,}{of}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
