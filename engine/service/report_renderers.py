"""What of a report is made for people, by file name. Loaded when one is made: the PDF's typesetter is large."""

from __future__ import annotations

from engine.model.report import Report
from engine.report.bundle import Renderers


def _text(report: Report) -> bytes:
    from engine.report import as_text  # see the module's docstring

    return as_text.render(report).encode("utf-8")


def _html(report: Report) -> bytes:
    from engine.report import as_html  # as above

    return as_html.render(report).encode("utf-8")


def _pdf(report: Report) -> bytes:
    from engine.report import as_pdf  # as above

    return as_pdf.render(report)


RENDERERS: Renderers = {"report.txt": _text, "report.html": _html, "report.pdf": _pdf}
