"""Names of tables and schemas as an operator types them in one line: ``public.orders, "we,ird"."two words"``.

A part in double quotes is taken without them, with a doubled quote for one. A bare part is taken to the letter: upper
case stays, and a quote inside it is a quote. Pure text; the room refuses to guess what an unclosed quote meant.
"""

from __future__ import annotations

NAMES_NOTE = 'several: with commas between; in "double quotes" what holds a comma or a quote'


def read_names(text: str) -> tuple[str, ...]:
    """The names, each as ``schema.table`` to the letter. Raises ValueError with what is wrong in words."""
    found: list[str] = []
    parts: list[str] = []
    at = 0
    while True:
        part, at = _part(text, at)
        parts.append(part)
        more = text[at : at + 1]
        if more != ".":
            if parts != [""]:
                if "" in parts:
                    raise ValueError(f"there is an empty name in {'.'.join(parts)}")
                found.append(".".join(parts))
            parts = []
            if not more:
                return tuple(dict.fromkeys(found))
        at += 1


def quoted(name: str) -> str:
    """``name`` so that it is read back as it is."""
    return '"' + name.replace('"', '""') + '"'


def _part(text: str, at: int) -> tuple[str, int]:
    """The part that begins at ``at``, and where the dot or comma behind it stands, or the end."""
    while text[at : at + 1].isspace():
        at += 1
    if text[at : at + 1] != '"':
        end = at
        while end < len(text) and text[end] not in ".,":
            end += 1
        return text[at:end].strip(), end
    made, at = "", at + 1
    while True:
        close = text.find('"', at)
        if close < 0:
            raise ValueError("a double quote is not closed")
        made += text[at:close]
        at = close + 1
        if text[at : at + 1] != '"':
            break
        made, at = made + '"', at + 1
    while text[at : at + 1].isspace():
        at += 1
    if text[at : at + 1] not in ("", ".", ","):
        raise ValueError(f"after {quoted(made)} comes a dot, a comma or nothing")
    return made, at
