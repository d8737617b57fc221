"""What two writings of one SQL definition have in common.

PostgreSQL writes an expression that it has read back from its own text not always as before: it puts casts elsewhere
(``x IN (…)`` over varchar is the well-known case) and other parentheses around them. So definitions are compared
without casts, parentheses and spaces; literals, names, operators and their order stay. The room refuses to parse SQL.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    (?P<kept> '(?:[^']|'')*' | "(?:[^"]|"")*" )
    | :: \s* (?:"(?:[^"]|"")+" | \w+) (?:\.(?:"(?:[^"]|"")+" | \w+))*
      (?:\s+(?:varying|precision))? (?:\(\d+(?:,\s*-?\d+)?\))? (?:\s+with(?:out)?\s+time\s+zone)? (?:\[\])*
    | [\s()]+
    """,
    re.VERBOSE,
)


def essence(definition: str) -> str:
    """``definition`` without what another writing of the same may have otherwise."""
    return _TOKEN.sub(lambda match: match["kept"] or "", definition)
