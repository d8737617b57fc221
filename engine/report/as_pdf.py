"""The report as a PDF to file: PDF/A-2a (archival) and PDF/UA-1 (accessible), typeset by Typst with its own fonts.

The description goes to the template as data: no text in it is ever read as markup. Nothing is fetched and no file is
read; the same report gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import typst

from engine.model.report import Report
from engine.report import charts
from engine.report.chapters import describe
from engine.report.document import Against, Calendar, Chart, Document, Kind, Phases, Table, Trend, mapped, plain
from engine.report.glyphs import written_out

FONT = "Libertinus Serif, DejaVu Sans Mono"
_STANDARDS: list[typst.PDFStandard] = ["a-2a", "ua-1"]


def render(report: Report) -> bytes:
    """The whole file."""
    return written(describe(report), report.built_at)


def written(document: Document, at: datetime) -> bytes:
    """``at``: when the report was built, which the file says too."""
    template = files("engine.report").joinpath("report.typ").read_bytes()
    compiler = typst.Compiler(template, ignore_system_fonts=True)
    said = mapped(document, written_out)
    data = json.dumps(_plain(said) | {"lacking": said != document}, ensure_ascii=False)
    try:
        return _compiled(compiler, data, at, _STANDARDS)
    except typst.TypstError:  # a text that the standards refuse: a file without their marks is better than none
        return _compiled(compiler, data, at, [])


def _compiled(compiler: typst.Compiler, data: str, at: datetime, standards: list[typst.PDFStandard]) -> bytes:
    made = compiler.compile(
        format="pdf",
        sys_inputs={"document": data},
        timestamp=at.astimezone(UTC).replace(microsecond=0),
        pdf_standards=standards,
    )
    assert isinstance(made, bytes)
    return made


def _plain(value: Any) -> Any:
    """``value`` as JSON knows it; a record says which one it is, a chart comes drawn."""
    if isinstance(value, Calendar | Trend | Phases | Against):
        return _chart(value)
    if isinstance(value, Table):
        return _table(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        record = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"is": type(value).__name__.lower(), **record}
    return value


def _table(table: Table) -> dict[str, Any]:
    """With the share of the width that each column of words gets, by what stands in it; 0: as wide as it needs."""
    shares = [
        0
        if column.kind is not Kind.WORDS
        else _share([len(column.title), *(len(plain(row.cells[n])) for row in table.rows)])
        for n, column in enumerate(table.columns)
    ]
    record = {field.name: _plain(getattr(table, field.name)) for field in fields(table)}
    return {"is": "table", **record, "shares": shares}


def _share(lengths: list[int]) -> int:
    return min(max([*lengths, 11]), 60)


def _chart(chart: Chart) -> dict[str, str]:
    return {"is": "chart", "title": chart.title, "alt": chart.alt, "svg": charts.svg(chart, FONT)}
