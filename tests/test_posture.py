"""What posture says: of each weakness one statement with the next command, and none of what is mended."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace

import pytest
import typer
from rich.cells import cell_len

from engine import posture
from engine.config import AccessSettings, DrillSettings
from engine.model import Isolation, NotCaptured
from engine.model.posture import Posture, Standing
from engine.model.retention import PausedRetention
from engine.posture.facts import Drilled, Link, Looked, Open, Sealed, Unknown
from offsitedb_tui.cli import app
from screens.present_posture import facts as screen_facts
from screens.present_posture import summary, text_lines
from tests.fixtures.history import NOW
from tests.fixtures.hostile_text import STRINGS
from tests.fixtures.postures import CURRENT, DAY, READS, well_kept

WEAKER, UNKNOWN = Standing.WEAKER, Standing.UNKNOWN
Change = Callable[[Looked], Looked]


def source(**changes: object) -> Change:
    return lambda w: replace(w, sources=(replace(w.sources[0], **changes),))  # type: ignore[arg-type]


def taken(**changes: object) -> Change:
    def change(w: Looked) -> Looked:
        assert w.sources[0].taken is not None
        return source(taken=replace(w.sources[0].taken, **changes))(w)  # type: ignore[arg-type]

    return change


def link(**changes: object) -> Change:
    def change(w: Looked) -> Looked:
        assert isinstance(w.sources[0].link, Link)
        return source(link=replace(w.sources[0].link, **changes))(w)  # type: ignore[arg-type]

    return change


def place(**changes: object) -> Change:
    return lambda w: replace(w, places=(replace(w.places[0], **changes),))  # type: ignore[arg-type]


def listing(**changes: object) -> Change:
    def change(w: Looked) -> Looked:
        assert w.places[0].listing is not None
        return place(listing=replace(w.places[0].listing, **changes))(w)  # type: ignore[arg-type]

    return change


def key(**changes: object) -> Change:
    def change(w: Looked) -> Looked:
        assert w.doctor.key is not None
        return doctor(key=replace(w.doctor.key, **changes))(w)  # type: ignore[arg-type]

    return change


def doctor(**changes: object) -> Change:
    return lambda w: replace(w, doctor=replace(w.doctor, **changes))  # type: ignore[arg-type]


def home(**changes: object) -> Change:
    return lambda w: replace(w, home=replace(w.home, **changes))  # type: ignore[arg-type]


def api(**changes: object) -> Change:
    return lambda w: replace(w, api_keys=(replace(w.api_keys[0], **changes),))  # type: ignore[arg-type]


def first_channel(**changes: object) -> Change:
    return lambda w: replace(w, channels=(replace(w.channels[0], **changes), w.channels[1]))  # type: ignore[arg-type]


def last_drill(isolation: Isolation) -> Change:
    def change(w: Looked) -> Looked:
        drilled = w.sources[0].drilled
        assert isinstance(drilled, Drilled)
        return source(drilled=replace(drilled, isolation=isolation))(w)

    return change


def whole(**changes: object) -> Change:
    return lambda w: replace(w, **changes)  # type: ignore[arg-type]


OLD_TOOL = replace(CURRENT, version="17.11", meets_floor=False)
MISSED = NotCaptured("table", "public.invoices", "no SELECT on table", "GRANT SELECT …")
WEAK: dict[str, tuple[Change, str, str]] = {
    "superuser": (taken(superuser=True), "asked", "prod is read as reader, a superuser"),
    "a role that writes": (taken(powers=replace(READS, writes=3)), "asked", "write 3 tables"),
    "a role that owns": (taken(powers=replace(READS, owns=1)), "asked", "change or drop 1 table that it owns"),
    "a role that creates": (taken(powers=replace(READS, creates_in=("app",))), "asked", "create objects in app"),
    "a role that makes roles": (taken(powers=replace(READS, createrole=True)), "asked", "make roles"),
    "a member of pg_write_all_data": (
        taken(powers=replace(READS, member_of=("pg_write_all_data",))),
        "asked",
        "act as pg_write_all_data",
    ),
    "no snapshot": (source(taken=None), "captured", "Nothing of prod is captured yet"),
    "a table left out": (taken(tables=81, not_captured=(MISSED,)), "captured", "81 of 82 tables of prod are captured"),
    "never proven": (source(proven_at=None), "captured", "No snapshot of prod was ever proven"),
    "no target": (source(target_s=None), "captured", "How old it may be was never said"),
    "overdue": (source(proven_at=NOW - 2 * DAY), "captured", "2 days ago, which is older than it may be"),
    "sslmode=require": (link(sslmode="require", ca=None), "transport", "encrypted, but nobody verifies who answers"),
    "sslmode=verify-ca": (link(sslmode="verify-ca"), "transport", "the server's name is not verified"),
    "sslmode=prefer": (link(sslmode="prefer", ca=None), "transport", "encrypted only if the server offers it"),
    "sslmode=disable": (link(sslmode="disable", ca=None), "transport", "not encrypted: the data can be read"),
    "http": (place(endpoint="http://s3.example.org"), "transport", "vault is reached by plain http: snapshots are"),
    "http on this machine": (place(endpoint="http://127.0.0.1:9000", local=True), "transport", "of this machine"),
    "a catalog without TLS": (
        whole(catalog_sslmode="prefer", catalog_local=False),
        "transport",
        "The way to the catalog's database is not verified",
    ),
    "a private channel": (first_channel(allow_private=True), "transport", "ops may use http"),
    "a key in the kernel": (key(backend="kernel"), "at-rest", "gone when this machine"),
    "a key of the demo": (key(backend="held by the demo"), "at-rest", "no keyring of this machine keeps it"),
    "a key that is gone": (key(state="key.missing", detail="it is gone. Look."), "at-rest", "cannot be had now: it is"),
    "an unconfirmed code": (key(recovery_confirmed_at=None), "at-rest", "Nobody has confirmed"),
    "a cell that is not sealed": (whole(sealed=Sealed(6, (), ("connection x",))), "at-rest", "somebody altered"),
    "no prune credential": (place(prunes=False), "artifacts", "with the key that writes them"),
    "no Object Lock": (listing(lock=None), "artifacts", "has no Object Lock"),
    "a listing that disagrees": (listing(agrees=False), "artifacts", "does not agree with the ledger"),
    "a folder beside": (place(endpoint=None, beside=True), "artifacts", "what destroys the machine destroys"),
    "a host without a sandbox": (
        doctor(isolation=Isolation("", "host", "none")),
        "drills",
        "no sandbox works here",
    ),
    "namespaces alone": (doctor(isolation=Isolation("d", "none", "unshare")), "drills", "could see the host's files"),
    "isolation not required": (
        lambda w: replace(w, settings=replace(w.settings, drill=DrillSettings())),
        "drills",
        "isolation is not required",
    ),
    "a drill beside everything": (last_drill(Isolation("root", "host", "none")), "drills", "with the network in reach"),
    "a drill elsewhere": (
        last_drill(Isolation("d", "host", "external server lab")),
        "drills",
        "ran on an external server lab",
    ),
    "something left in scratch": (
        whole(scratch_entries=2, scratch_busy=1),
        "drills",
        "2 scratch directories and 1 job",
    ),
    "old programs": (doctor(postgres=(OLD_TOOL,)), "programs", "PostgreSQL 17.11 here is below the security floor"),
    "taken by old programs": (taken(pg_dump="17.11", below_floor="17.12"), "programs", "was taken by pg_dump 17.11"),
    "no operator": (whole(operators=()), "access", "Nobody logs in"),
    "an operator who is away": (
        lambda w: replace(w, operators=(replace(w.operators[0], last_login_at=NOW - 100 * DAY),)),
        "access",
        "has not done so since 100 days ago",
    ),
    "guard-rails": (
        lambda w: replace(w, settings=replace(w.settings, access=AccessSettings())),
        "access",
        "Roles are guard-rails",
    ),
    "an old API key": (api(created_at=NOW - 120 * DAY), "access", "was made 120 days ago"),
    "an unused API key": (
        api(created_at=NOW - 120 * DAY, last_used_at=None),
        "access",
        "was not used for 90 days",
    ),
    "nobody is told": (whole(channels=()), "told", "Nobody is told when something is wrong"),
    "a heartbeat alone": (lambda w: replace(w, channels=w.channels[1:]), "told", "there is a heartbeat only"),
    "no heartbeat": (lambda w: replace(w, channels=w.channels[:1]), "told", "no heartbeat is missed"),
    "a channel that fails": (first_channel(error="404", delivered_at=None), "told", "has not arrived"),
    "retention paused": (whole(paused=(PausedRetention("c", "prod", "it is overdue"),)), "told", "of prod is paused"),
    "an open home": (home(mode=0o755), "host", "may enter the installation's home (mode 0755)"),
    "another's home": (home(owner="bob", ours=False), "host", "belongs to another OS account (bob)"),
    "a 0644 file": (home(open=(Open("catalog.sqlite3", 0o644),)), "host", "1 file in the home could be read"),
}
"""What is weak, the chapter that says so, and words of the statement."""

UNSURE: dict[str, tuple[Change, str, str]] = {
    "powers not asked": (taken(powers=None), "asked", "Whether it could write is not known"),
    "no key for the string": (source(link=Unknown("the key is gone")), "transport", "is not known: the key is gone"),
    "versions not seen": (listing(lock=None), "artifacts", "nothing was deleted there yet"),
    "no version left": (
        lambda w: place(deleted_at=NOW)(listing(lock=None)(w)),
        "artifacts",
        "left nothing to be seen",
    ),
    "never reconciled": (place(listing=None), "artifacts", "was never reconciled"),
    "a folder on another disk": (place(endpoint=None, beside=False), "artifacts", "another machine is not known"),
    "a folder out of reach": (place(endpoint=None, beside=Unknown("gone")), "artifacts", "is not known: gone"),
    "never drilled": (source(drilled=None), "drills", "never drilled"),
    "a receipt that does not hold": (source(drilled=Unknown("altered")), "drills", "is not known: altered"),
    "scratch out of reach": (whole(scratch_entries=Unknown("no right")), "drills", "is not known: no right"),
    "no programs": (doctor(postgres=()), "programs", "there are none on this host"),
    "a major without a floor": (doctor(postgres=(replace(CURRENT, floor="unknown"),)), "programs", "no security floor"),
    "an unheard channel": (first_channel(delivered_at=None), "told", "nothing was sent to it yet"),
    "files out of reach": (whole(home=Unknown("no right")), "host", "is not known: no right"),
    "no installation": (doctor(key=None), "at-rest", "there is no installation here"),
}


def texts(found: Posture, standing: Standing) -> list[tuple[str, str]]:
    return [(chapter.key, statement.text) for chapter, statement in found.of(standing)]


def test_a_well_kept_installation_has_nothing_weaker() -> None:
    found = posture.state(well_kept())
    assert texts(found, WEAKER) == []
    assert [key for key, _ in texts(found, UNKNOWN)] == ["access"], "what sshd does is not known"
    assert (found.weaker, found.unknown) == (0, 1)
    assert summary(found) == "Nothing is weaker than recommended; 1 is not known."


@pytest.mark.parametrize("case", WEAK)
def test_each_weakness_is_one_statement_and_mending_it_turns_it(case: str) -> None:
    change, chapter, words = WEAK[case]
    before = set(texts(posture.state(well_kept()), WEAKER))
    found = posture.state(change(well_kept()))
    said = [text for text in texts(found, WEAKER) if text not in before]
    assert len([t for t in said if t[0] == chapter and words in t[1]]) == 1, said
    others = [t for t in said if not (t[0] == chapter and words in t[1])]
    assert others == [], "one weakness, one statement"
    assert found.weaker == len(said)


@pytest.mark.parametrize("case", UNSURE)
def test_what_could_not_be_looked_at_is_not_known(case: str) -> None:
    change, chapter, words = UNSURE[case]
    found = posture.state(change(well_kept()))
    assert [t for t in texts(found, UNKNOWN) if t[0] == chapter and words in t[1]]


def everything() -> list[tuple[str, Posture]]:
    cases = {"well kept": (lambda w: w), **{n: c[0] for n, c in (WEAK | UNSURE).items()}}
    return [(name, posture.state(change(well_kept()))) for name, change in cases.items()]


def test_no_statement_without_a_fact_and_no_weakness_without_a_command() -> None:
    for name, found in everything():
        assert [c.title for c in found.chapters if not c.statements] == [], name
        for chapter in found.chapters:
            for statement in chapter.statements:
                where = (name, chapter.key, statement.text)
                assert statement.facts, where
                assert all(f.name.strip() and f.value.strip() for f in statement.facts), where
                assert statement.text.rstrip().endswith((".",)), where
                assert bool(statement.mend) == (statement.standing is WEAKER), where


def test_every_command_that_it_names_is_there() -> None:
    group = typer.main.get_command(app)
    mends = [s.mend for _, found in everything() for _, s in found.of(WEAKER)]
    named = {command for mend in mends for command in re.findall(r"`offsitedb ([^`]*)`", mend)}
    assert len(named) > 20
    for command in named:
        words = shlex.split(command)
        here = group
        while words and hasattr(here, "commands") and words[0] in here.commands:
            here = here.commands[words.pop(0)]
        assert not hasattr(here, "commands"), command
        options = {o for p in here.params for o in (*p.opts, *p.secondary_opts)}
        assert {w for w in words if w.startswith("--")} <= options, command


def test_it_is_set_for_eighty_columns_and_says_the_weaker_things_first() -> None:
    for name, found in everything():
        lines = list(text_lines(found))
        long = [line for line in lines if cell_len(line) > 80]
        assert [line for line in long if len(line.split()) > 1 and "`" not in line] == [], name
        weaker = [n for n, line in enumerate(lines) if line.startswith("  ! ")]
        first = lines.index(found.chapters[0].title.upper())
        assert sum(n < first for n in weaker) == found.weaker


def test_hostile_names_reach_neither_terminal_nor_screen() -> None:
    for n in range(0, len(STRINGS), 20):
        some = STRINGS[n : n + 20]
        missed = tuple(NotCaptured("table", text, text, "GRANT") for text in some)
        powers = replace(READS, creates_in=some)
        found = posture.state(taken(role=some[0], not_captured=missed, powers=powers)(well_kept()))
        for line in (*text_lines(found), *(fact.text.text for fact, _ in screen_facts(found))):
            assert not any(ord(ch) < 0x20 or 0x7F <= ord(ch) < 0xA0 for ch in line), repr(line)


def test_no_password_gets_into_a_statement() -> None:
    found = posture.state(source(link=Unknown("postgresql://u:hunter22@h/d says no"))(well_kept()))
    assert "hunter22" not in "\n".join(text_lines(found))


def test_a_report_gets_it_as_chapters() -> None:
    change = WEAK["superuser"][0]
    found = posture.state(change(well_kept()))
    head, *rest = posture.for_report(found)
    assert head.rows == ((found.chapters[0].title, found.of(WEAKER)[0][1].text, found.of(WEAKER)[0][1].mend),)
    assert [p.title for p in rest] == [f"Posture: {c.title}" for c in found.chapters]
    assert all(len(row) == len(part.columns) for part in (head, *rest) for row in part.rows)
    assert posture.for_report(posture.state(well_kept()))[0].columns == ()
