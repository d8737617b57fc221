"""The pages for a browser, as text: no script, one stylesheet, everything from outside escaped and made visible."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from engine.model import Verdict
from engine.model.report import ReportLine
from engine.model.watch import DrillLine
from screens.present import human_seconds, visible

STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
header { display: flex; gap: 1rem; align-items: baseline; justify-content: space-between; }
header p { margin: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 13px ui-monospace, monospace; }
label { display: block; margin: .75rem 0; }
input { display: block; font: inherit; width: 20rem; max-width: 100%; padding: .35rem; }
button { font: inherit; padding: .35rem 1rem; }
.bad { color: #b3261e; } .good { color: #1b7f3b; } .dim { opacity: .7; }
@media (prefers-color-scheme: dark) { .bad { color: #ff8a80; } .good { color: #7bd88f; } }
"""
_TO_RECEIPTS = '<p><a href="/receipts">Receipts</a></p>'
_TO_REPORTS = '<p><a href="/reports">Monthly reports</a></p>'
_NO_OPERATOR = "There is no operator yet. Add one on the server:"
ADD_OPERATOR = "offsitedb operator add NAME --role admin"


def text(said: str) -> str:
    """Text from outside, for an element or a quoted attribute."""
    return html.escape(visible(said), quote=True)


def login_page(*, operators: bool, message: str = "", name: str = "") -> str:
    """``message``: why the last attempt did not do."""
    if not operators:
        return _page("Log in", [f"<p>{_NO_OPERATOR}</p><p><code>{text(ADD_OPERATOR)}</code></p>"])
    said = f'<p class="bad" role="alert">{text(message)}</p>' if message else ""
    return _page(
        "Log in",
        [
            said,
            '<form method="post" action="/login">',
            '<label>Name<input name="name" autocomplete="username" required maxlength="100" '
            f'value="{text(name)}"></label>',
            '<label>Password<input name="password" type="password" autocomplete="current-password" required '
            'maxlength="1000"></label>',
            "<button>Log in</button></form>",
        ],
    )


def receipts_page(who: str, drills: Sequence[DrillLine], *, connection: str | None, more: bool) -> str:
    """The newest receipts, each a link to the signed document."""
    about = f'<p>Of <b>{text(connection)}</b> · <a href="/receipts">all connections</a></p>' if connection else ""
    about = _TO_REPORTS + about
    if not drills:
        return _page("Receipts", [about, "<p>There is no receipt yet. A drill makes one.</p>"], who)
    head = "".join(
        f"<th>{title}</th>" for title in ("Drilled (UTC)", "Connection", "Verdict", "Taken (UTC)", "Restore", "Receipt")
    )
    cut = '<p class="dim">Older ones: <code>offsitedb drills</code> on the server.</p>' if more else ""
    rows = "".join(_row(line) for line in drills)
    told = (
        '<p class="dim">A receipt is a signed document: <code>offsitedb receipt ID</code> checks its signature and its '
        "place in the chain.</p>"
    )
    return _page(
        "Receipts", [about, f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>", cut, told], who
    )


def reports_page(who: str, lines: Sequence[ReportLine]) -> str:
    """The monthly reports, each to be read here and to be saved."""
    if not lines:
        said = "There is no report yet. A worker builds last month's when the month is over."
        return _page("Monthly reports", [_TO_RECEIPTS, f"<p>{said}</p>"], who)
    titles = ("Month", "About", "Snapshots", "Proven", "Not proven", "Days missing", "Built (UTC)", "")
    head = "".join(f"<th>{title}</th>" for title in titles)
    rows = "".join(_report_row(line) for line in lines)
    told = (
        '<p class="dim">A report is a signed folder of files: <code>offsitedb report export</code> writes all of it, '
        "<code>offsitedb report verify</code> checks it; its last chapter says how to do without either.</p>"
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _page("Monthly reports", [_TO_RECEIPTS, table, told], who)


def _report_row(line: ReportLine) -> str:
    about = "all connections" if line.scope.everything else ", ".join(line.scope.connections)
    revision = f'<br><span class="dim">revision {line.revision}</span>' if line.revision > 1 else ""
    counts = ((line.made, ""), (line.proven, "good"), (line.failed, "bad"), (line.gaps, "bad"))
    numbers = "".join(f'<td class="number"><span class="{kind if n else ""}">{n:,}</span></td>' for n, kind in counts)
    place = f'<span class="dim">on {text(line.host)}</span>'
    if line.folder is not None:
        place = f'<a href="/reports/{text(line.id)}/report.html">read</a>' + "".join(
            f' · <a href="/reports/{text(line.id)}/report.{form}" download>{form}</a>'
            for form in ("pdf", "txt", "json")
        )
    return (
        f"<tr><td><b>{text(line.month)}</b>{revision}</td><td>{text(about)}</td>{numbers}"
        f"<td>{line.built_at:%Y-%m-%d %H:%M}</td><td>{place}</td></tr>"
    )


def refused_page(title: str, message: str) -> str:
    return _page(title, [f"<p>{text(message)}</p>", '<p><a href="/receipts">Receipts</a></p>'])


def _row(line: DrillLine) -> str:
    skips = f" ({line.skips})" if line.verdict is Verdict.PROVEN_WITH_SKIPS else ""
    kind = "good" if line.verdict.proven else "bad"
    said = f'<br><span class="dim">{text(line.summary[:200])}</span>' if line.summary else ""
    tag = f'<br><span class="dim">{text(line.tag)}</span>' if line.tag else ""
    return (
        f"<tr><td>{line.drilled_at:%Y-%m-%d %H:%M:%S}</td>"
        f'<td>{text(line.connection)}{tag}</td><td><span class="{kind}">{line.verdict}{skips}</span>{said}</td>'
        f'<td>{line.taken_at:%Y-%m-%d %H:%M:%S}</td><td class="number">{human_seconds(line.restore_s)}</td>'
        f'<td><a href="/receipts/{text(line.id)}" download><code>{text(line.id[:12])}</code></a></td></tr>'
    )


def _page(title: str, parts: Iterable[str], who: str | None = None) -> str:
    out = ""
    if who is not None:
        out = (
            f'<form method="post" action="/logout"><span class="dim">{text(who)}</span> <button>Log out</button></form>'
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{text(title)} · OffsiteDB</title><link rel="stylesheet" href="/style.css"></head><body>'
        f"<header><h1>{text(title)}</h1>{out}</header><main>{''.join(parts)}</main></body></html>\n"
    )
