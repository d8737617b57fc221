"""The report as one HTML page that stands by itself: no script, nothing fetched, charts within it, made to be printed.

Everything goes through :func:`html.escape`; a policy in the page forbids whatever could be loaded all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from importlib.resources import files

from engine.model.report import Report
from engine.report import charts
from engine.report.chapters import describe
from engine.report.document import (
    Against,
    Block,
    Bullets,
    Calendar,
    Chapter,
    Chart,
    Code,
    Column,
    Document,
    Fact,
    Facts,
    Heading,
    Kind,
    Notice,
    Paragraph,
    Phases,
    Style,
    Table,
    Text,
    Tiles,
    Trend,
)

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_TAGS = {Style.STRONG: "strong", Style.CODE: "code", Style.TYPED: "code"}


def render(report: Report) -> str:
    """The whole page."""
    return written(describe(report))


def written(document: Document) -> str:
    title = escape(f"{document.title}, {document.period}")
    style = files("engine.report").joinpath("report.css").read_text(encoding="utf-8")
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n'
    )
    chapters = "".join(_chapter(n, chapter) for n, chapter in enumerate(document.chapters, start=1))
    return f"{head}<body>\n{_cover(document)}<main>\n{chapters}</main>\n</body>\n</html>\n"


def _cover(document: Document) -> str:
    contents = "".join(
        f'<li><a href="#chapter-{n}">{escape(chapter.title)}</a></li>'
        for n, chapter in enumerate(document.chapters, start=1)
    )
    return (
        f'<header class="cover">\n<p class="period">{escape(document.period)}</p>\n<h1>{escape(document.title)}</h1>\n'
        f"{_notice(document.verdict)}{_facts(document.cover)}"
        f'<nav aria-label="Contents"><h2>Contents</h2><ol>{contents}</ol></nav>\n</header>\n'
    )


def _chapter(number: int, chapter: Chapter) -> str:
    blocks = "".join(_block(block) for block in chapter.blocks)
    return (
        f'<section id="chapter-{number}">\n<h2><span class="number">{number}</span> {escape(chapter.title)}</h2>\n'
        f'<p class="lead">{_text(chapter.lead)}</p>\n{blocks}</section>\n'
    )


def _block(block: Block) -> str:
    for kind, write in _WRITERS:
        if isinstance(block, kind):
            return write(block)
    raise TypeError(type(block))


def _text(text: Text) -> str:
    return "".join(_spans(text))


def _spans(text: Text) -> Iterator[str]:
    for span in text:
        said = escape(span.text)
        if span.style is Style.PLAIN:
            yield said
        elif span.style in _TAGS:
            tag = _TAGS[span.style]
            yield f"<{tag}><bdi>{said}</bdi></{tag}>"
        else:
            yield f'<span class="{span.style}">{said}</span>'


# words


def _paragraph(block: Paragraph) -> str:
    kind = ' class="note"' if block.small else ""
    return f"<p{kind}>{_text(block.text)}</p>\n"


def _heading(block: Heading) -> str:
    return f"<h3><bdi>{escape(block.text)}</bdi></h3>\n"


def _bullets(block: Bullets) -> str:
    return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in block.items)}</ul>\n"


def _facts(rows: Iterable[Fact]) -> str:
    pairs = "".join(f"<div><dt>{escape(row.label)}</dt><dd>{_text(row.text)}</dd></div>" for row in rows)
    return f"<dl>{pairs}</dl>\n"


def _tiles(block: Tiles) -> str:
    tiles = "".join(
        f'<div class="tile {tile.style}"><dt>{escape(tile.label)}</dt><dd>{escape(tile.value)}</dd></div>'
        for tile in block.tiles
    )
    return f'<dl class="tiles">{tiles}</dl>\n'


def _notice(block: Notice) -> str:
    more = "".join(f"<p>{_text(text)}</p>" for text in (block.text, *block.more))
    return f'<div class="notice {block.style}"><strong>{escape(block.title)}</strong>{more}</div>\n'


def _code(block: Code) -> str:
    return f"<pre><code>{escape(block.text)}</code></pre>\n"


# tables


def _table(block: Table) -> str:
    head = "".join(f'<th scope="col"{_kind(column)}>{escape(column.title)}</th>' for column in block.columns)
    body = "".join(_rows(block))
    note = f'<p class="note">{escape(block.note)}</p>\n' if block.note else ""
    caption = f"<caption><bdi>{escape(block.title)}</bdi></caption>" if block.title else ""
    return f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead>{body}</table></div>\n{note}'


def _rows(block: Table) -> Iterator[str]:
    """A row and the lines that belong to it are a group of their own, which a page does not part."""
    for row in block.rows:
        cells = "".join(
            f"<td{_kind(column)}>{_text(cell)}</td>" for column, cell in zip(block.columns, row.cells, strict=True)
        )
        below = "".join(_below(fact, len(block.columns)) for fact in row.below)
        yield f"<tbody><tr>{cells}</tr>{below}</tbody>"


def _below(fact: Fact, columns: int) -> str:
    label = f'<span class="label">{escape(fact.label)}</span>' if fact.label else ""
    return f'<tr class="below"><td colspan="{columns}"><div>{label}<div>{_text(fact.text)}</div></div></td></tr>'


def _kind(column: Column) -> str:
    return "" if column.kind is Kind.WORDS else f' class="{column.kind}"'


# charts


def _chart(block: Chart) -> str:
    drawn = f'<div class="wide">{charts.svg(block, FONT)}</div>'
    return f"<figure><figcaption>{escape(block.title)}</figcaption>{drawn}</figure>\n"


_WRITERS: tuple[tuple[type, Callable[..., str]], ...] = (
    (Paragraph, _paragraph),
    (Heading, _heading),
    (Bullets, _bullets),
    (Facts, lambda block: _facts(block.rows)),
    (Tiles, _tiles),
    (Notice, _notice),
    (Code, _code),
    (Table, _table),
    (Calendar, _chart),
    (Trend, _chart),
    (Phases, _chart),
    (Against, _chart),
)
