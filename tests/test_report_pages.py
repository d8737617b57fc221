"""The monthly report as text, as HTML and as a PDF: one description, and nothing from outside does harm in any."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.error_codes import CODES
from engine.model.report import Report
from engine.model.reportrows import DayState
from engine.report import as_html, as_pdf, as_text, charts, words
from engine.report.assemble import tells_of_change
from engine.report.chapters import describe
from engine.report.document import LETTERS, Calendar, Chart, Code, Document, Strip, Table, marked, plain, said
from engine.report.events import detail_words, event_words
from engine.report.glyphs import known, written_out
from tests.fixtures import reporting
from tests.fixtures.hostile_text import STRINGS

BLANK = re.compile(r"[\s\u200b]+")


@cache
def pdf() -> tuple[bytes, str]:
    """The example's file, and what it says page by page."""
    made = as_pdf.render(reporting.example())
    return made, "\f".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(made)).pages)


def squeezed(text: str) -> str:
    return BLANK.sub("", text)


class Shown(HTMLParser):
    """What a page shows, and its tags and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self._hidden = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self._hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag != "style"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text.append(data)


def texts(value: Any) -> Iterator[str]:
    """Every text of a description, the charts' own words left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from texts(item)
    elif is_dataclass(value) and not hasattr(value, "alt"):
        for field in fields(value):
            if field.name not in ("style", "kind"):
                yield from texts(getattr(value, field.name))


def figures(document: Document) -> set[str]:
    """Every word with a digit in it: numbers, durations, dates, hashes, ids; addresses break where they must."""
    found = {word for text in texts(document) for word in text.replace(words.NBSP, " ").split()}
    return {word for word in found if any(ch.isdigit() for ch in word) and "://" not in word}


# the three say the same


def test_each_rendering_holds_every_figure() -> None:
    report = reporting.example()
    wanted = figures(describe(report))
    assert len(wanted) > 400
    renderings = {
        "text": as_text.render(report),
        "html": "".join(Shown(as_html.render(report)).text),
        "pdf": pdf()[1],
    }
    for name, text in renderings.items():
        have = squeezed(text)
        assert sorted(word for word in wanted if squeezed(word) not in have) == [], name


def test_every_receipt_and_file_is_named_in_full() -> None:
    report = reporting.example()
    hashes = {row.sha256 for c in report.connections for row in c.snapshots}
    hashes |= {d.receipt_sha256 for c in report.connections for row in c.snapshots for d in row.drills}
    assert len(hashes) > 100
    text, page, paper = as_text.render(report), as_html.render(report), squeezed(pdf()[1])
    assert [h for h in hashes if h not in text or h not in page or h not in paper] == []


@pytest.mark.parametrize("report", [reporting.example(), reporting.empty()], ids=["example", "empty"])
def test_the_same_report_gives_the_same_bytes(report: Report) -> None:
    first = pdf()[0] if report == reporting.example() else as_pdf.render(report)
    assert as_pdf.render(report) == first
    assert as_html.render(report) == as_html.render(report)
    assert as_text.render(report) == as_text.render(report)


def test_a_month_without_a_database_says_so() -> None:
    text = as_text.render(reporting.empty())
    assert "NOTHING TO REPORT" in text
    assert "No database was protected in this month" in text


def test_what_went_wrong_comes_first() -> None:
    report = reporting.example()
    verdict = describe(report).verdict
    assert verdict.title == "Needs attention"
    assert "1 drill failed, 2 snapshots that were due were not made" in "".join(span.text for span in verdict.text)
    good = replace(report.summary, missed=0, gaps=0, targets_missed=(), open_exceptions=0)
    good = replace(good, drills=replace(good.drills, failed=0, could_not_verify=0, proven_with_skips=0), undrilled=0)
    assert describe(replace(report, summary=good)).verdict.title == "Everything was proven"
    assert describe(replace(report, summary=replace(good, undrilled=2))).verdict.title == "Proven, with reservations"


# text


def test_text_keeps_to_its_columns() -> None:
    report = reporting.example()
    commands = {line for code in codes(describe(report)) for line in code.text.split("\n")}
    lines = as_text.render(report).splitlines()
    assert [line for line in lines if words.cells(line) > as_text.WIDTH and line.strip() not in commands] == []


def codes(document: Document) -> list[Code]:
    return [block for chapter in document.chapters for block in chapter.blocks if isinstance(block, Code)]


@given(st.text(max_size=60), st.integers(2, 40))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    clean = words.visible(text)
    lines = as_text.wrap(clean, width)
    assert "".join(lines).replace(" ", "") == clean.replace(" ", "")
    assert all(words.cells(line) <= width for line in lines)


# HTML


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    page = as_html.render(reporting.example())
    shown = Shown(page)
    assert not shown.tags & {"script", "link", "img", "iframe", "object", "form", "base", "a"} - {"a"}
    assert not {name for name in shown.attributes if name.startswith("on")}
    assert "src" not in shown.attributes
    assert set(re.findall(r'href="([^"]*)"', page)) == {f"#chapter-{n}" for n in range(1, 8)}
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


# charts


def shape(drawing: str) -> str:
    """A drawing without its colours."""
    return re.sub(r"#[0-9a-f]{3,6}", "", drawing)


def test_states_differ_without_colour() -> None:
    told = [state for state, letter in LETTERS.items() if letter != " "]
    days = tuple(date(2026, 11, n + 1) for n in range(len(told)))
    drawn = set()
    for state in told:
        one = charts.svg(Calendar("t", days[:1], (Strip("n", (state,)),), "alt"), "serif")
        drawn.add(shape(one[: one.index("</g>")]))
    assert len(drawn) == len(told) == 7
    assert len({LETTERS[state] for state in told}) == 7
    assert set(LETTERS) == set(DayState)


def test_charts_are_sound_and_say_what_they_show() -> None:
    document = describe(reporting.example())
    drawn = [block for chapter in document.chapters for block in chapter.blocks if isinstance(block, Chart)]
    assert [type(block).__name__ for block in drawn] == ["Calendar", "Trend", "Phases", "Against"]
    for block in drawn:
        root = ElementTree.fromstring(charts.svg(block, "serif"))
        assert root.get("aria-label") == block.alt
        assert len(block.alt) > 40


# PDF


def test_the_file_is_archival_accessible_and_has_numbered_pages() -> None:
    made, _ = pdf()
    reader = pypdf.PdfReader(io.BytesIO(made))
    count = len(reader.pages)
    for n, page in enumerate(reader.pages, start=1):
        assert squeezed(f"page {n} of {count}") in squeezed(page.extract_text())
    assert reader.metadata is not None
    assert reader.metadata.title == "Restore Drill Report, November 2026"
    assert reader.metadata.creation_date == reporting.BUILT.replace(microsecond=0)
    assert b"pdfaid:part>2<" in made
    assert b"pdfuaid:part>1<" in made
    chapters = [str(entry["/Title"]) for entry in reader.outline if isinstance(entry, dict)]
    wanted = [f"{n}\u2002{c.title}" for n, c in enumerate(describe(reporting.example()).chapters, start=1)]
    assert chapters == wanted


def test_a_long_table_has_its_header_on_every_page() -> None:
    pages = [squeezed(page) for page in pdf()[1].split("\f")]
    evidence = [page for page in pages if "receipt" in page and "snapshot" in page and "41of41" in page]
    assert len(evidence) >= 4
    assert all("Rowsrestored" in page and "Restoredin" in page for page in evidence)


def test_the_fonts_have_what_they_are_said_to_have() -> None:
    """The standard that the file keeps refuses a character that no font has."""
    everything = "".join(sorted(known()))
    document = replace(describe(reporting.empty()), chapters=())
    cover = tuple(replace(f, text=said(everything)) for f in document.cover[:1])
    made = as_pdf.written(replace(document, cover=cover), NOW)
    assert b"pdfaid:part>2<" in made
    refused = tuple(replace(f, text=said("z\u0300\u0301\u0302")) for f in cover)
    assert unicodedata.normalize("NFC", "e\u0301") == written_out("e\u0301")
    assert b"pdfaid:part>2<" in as_pdf.written(replace(document, cover=refused), NOW)


NOW = datetime(2026, 12, 1, tzinfo=UTC)


def test_a_name_that_no_font_has_is_written_out() -> None:
    report = reporting.example()
    odd = replace(report, connections=(replace(report.connections[0], name="漢字 שלום Ünïcode", snapshots=()),))
    assert "漢字 שלום Ünïcode" in as_html.render(odd)
    assert "漢字 שלום Ünïcode" in as_text.render(odd)
    pages = pypdf.PdfReader(io.BytesIO(as_pdf.render(odd))).pages[:2]
    paper = squeezed("".join(page.extract_text() for page in pages))
    assert "<6f22><5b57>" in paper
    assert "Charactersthatthefontsofthisfiledonothave" in paper
    assert "Charactersthatthefonts" not in squeezed(pdf()[1])


# hostile text


def hostile() -> Report:
    """The example with other people's text in every place that holds some."""
    report = reporting.example()
    some = [
        *STRINGS,
        '#eval("1+1")',
        '#read("/etc/passwd")',
        "<script>alert(1)</script>",
        "</style><b>",
        "$x$",
        "x" * 4096,
    ]
    per = 20
    model = report.connections[0]
    connections = []
    for n in range(0, len(some), per):
        mine = some[n : n + per]
        evil = [mine[k % len(mine)] for k in range(per)]
        rows = tuple(
            replace(row, tag=evil[k], drills=tuple(replace(d, reasons=(evil[k],)) for d in row.drills))
            for k, row in enumerate(model.snapshots[18:21])
        )
        failed = tuple(replace(model.failed_attempts[0], message=text, code=text) for text in evil)
        connections.append(
            replace(model, name=evil[0], provider=evil[1], destination=evil[2], snapshots=rows, failed_attempts=failed)
        )
    events = tuple(replace(report.controls.access_changes[0], actor=t, detail=t, kind=t) for t in some)
    places = tuple(replace(report.destinations[0], name=t, where=t, provider=t) for t in some[:20])
    wrong = tuple(replace(report.exceptions[0], summary=t, connection=t, acknowledged_note=t) for t in some)
    return replace(
        report,
        scope=replace(report.scope, connections=tuple(some)),
        connections=tuple(connections),
        controls=replace(report.controls, access_changes=events),
        destinations=places,
        exceptions=wrong,
    )


@pytest.fixture(scope="module")
def attacked() -> Report:
    return hostile()


def test_hostile_text_stays_text_on_a_terminal(attacked: Report) -> None:
    text = as_text.render(attacked)
    unseen = {ch for ch in text if unicodedata.category(ch) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")} - {"\n"}
    assert unseen == set()
    assert '#eval("1+1")' in text
    assert not any(line.startswith("lines") for line in text.splitlines())  # of "two\nlines"


def test_hostile_text_stays_text_on_a_page(attacked: Report) -> None:
    page = as_html.render(attacked)
    plain = Shown(as_html.render(reporting.example()))
    shown = Shown(page)
    assert shown.tags == plain.tags
    assert shown.attributes == plain.attributes
    assert "<script>alert(1)</script>" in "".join(shown.text)


def test_hostile_text_stays_text_on_paper(attacked: Report) -> None:
    made = as_pdf.render(attacked)
    assert b"pdfaid:part>2<" in made  # nothing of it was refused by the standard
    assert b"/JavaScript" not in made
    assert b"/URI" not in made


def test_markup_in_a_name_is_not_read_on_paper() -> None:
    report = reporting.empty()
    some = (
        '#eval("1+1")',
        '#read("/etc/passwd")',
        "<script>alert(1)</script>",
        "[@click=app.quit()]x",
        "$x^2$ *b* _i_",
    )
    made = as_pdf.render(replace(report, scope=replace(report.scope, connections=some)))
    paper = squeezed(pypdf.PdfReader(io.BytesIO(made)).pages[0].extract_text())
    assert [text for text in some if squeezed(text) not in paper] == []


# words


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_share_is_whole_only_where_nothing_is_missing(part: int, whole: int) -> None:
    part = min(part, whole)
    text = words.share(part, whole)
    assert (text == f"100{words.NBSP}%") == (part == whole)
    assert (text == f"0{words.NBSP}%") == (part == 0)


def test_figures_in_words() -> None:
    def flat(text: str) -> str:
        return text.replace(words.NBSP, " ")

    assert [flat(words.duration(s)) for s in (0.04, 9.96, 94.2, 188, 7199.6, 7500, 259_200, 400_000)] == [
        "0.0 s", "10 s", "94 s", "3 min 08 s", "2 h 00 min", "2 h 05 min", "72 h 00 min", "4 d 15 h",
    ]  # fmt: skip
    assert [flat(words.size(n)) for n in (0, 999, 999_960, 412_345_678)] == ["0 B", "999 B", "1.0 MB", "412.3 MB"]
    assert [flat(words.span(s)) for s in (90, 900, 21_600, 172_800)] == ["90 s", "15 min", "6 h", "2 d"]
    assert [words.count(n, "drill") for n in (0, 1, 1234)] == ["no drill", "1 drill", "1,234 drills"]
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed(list("abcdefgh"), 4) == "a, b, c and 5 more"
    at = datetime(2026, 11, 23, 13, 2, 10, tzinfo=UTC)
    assert words.moment(at, ZoneInfo("Europe/Berlin")) == "23 November 2026, 14:02:10 CET (UTC+1)"
    assert words.moment(at, ZoneInfo("Asia/Kathmandu")).endswith("18:47:10 UTC+5:45")
    assert words.name("x" * 500, 20) == "x" * 12 + "…" + "x" * 7


def test_a_command_in_a_sentence_is_set_as_one() -> None:
    html, text = as_html.render(reporting.example()), as_text.render(reporting.example())
    assert "says which; <code><bdi>offsitedb key status</bdi></code> shows them." in html
    assert "which; `offsitedb key status` shows them." in " ".join(text.split())
    assert [plain(marked(one)) for one in ("`a` b `c", "``", "")] == ["`a` b `c", "``", ""]


def test_changes_are_told_in_plain_words() -> None:
    raw = "enabled: True, fields: 1, from: a, key_backend: kernel, name: key_backend"
    raw += ", sha256: " + "c" * 64 + ", stamp: " + "a" * 64
    assert detail_words(raw) == "in force: yes, values sealed anew: 1, from: a, keyring: kernel, name: key_backend"
    assert detail_words("stamp: " + "b" * 64) == detail_words("") == ""
    assert detail_words("name: x, sessions_ended: 2, some_new: False") == "name: x, logins ended: 2, some new: no"


def test_what_a_font_lacks_is_seen() -> None:
    assert written_out("é 漢") == "é <6f22>"
    assert words.visible("a\u202eb\nc\x1b") == "a<202e>b␊c␛"


def test_every_change_that_is_told_of_has_words() -> None:
    source = Path(engine.__file__).parent
    literals = {
        kind
        for path in [*source.glob("*.py"), *source.glob("service/*.py"), *source.glob("keys/*.py")]
        for kind in re.findall(r'"([a-z]+\.[a-z-]+)"', path.read_text())
    }
    kinds = {kind for kind in literals - set(CODES) if tells_of_change(kind)}
    assert "operator.added" in kinds
    assert len(kinds) > 25
    assert sorted(kind for kind in kinds if event_words(kind) == kind.replace(".", ": ").replace("-", " ")) == []


def test_tables_have_a_cell_for_every_column() -> None:
    for report in (reporting.example(), reporting.empty()):
        tables = [b for chapter in describe(report).chapters for b in chapter.blocks if isinstance(b, Table)]
        assert tables
        assert all(len(row.cells) == len(table.columns) for table in tables for row in table.rows)
