"""The command that gives this host a locale of the C library, whatever its distribution.

Not ``locale-gen NAME``: only Ubuntu's takes names. Debian's ignores them, and removes every locale that its own file
does not list.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"(?P<language>[a-z]{2,3}_[A-Z]{2})(?:\.(?P<codeset>[A-Za-z0-9-]+))?(?P<variant>@[a-z]+)?")


def command(name: str) -> str | None:
    """The command for ``name`` ("en_US.UTF-8"), or None for what the C library of Linux does not know by name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    variant = found["variant"] or ""
    codeset = found["codeset"] or ("ISO-8859-15" if variant == "@euro" else "ISO-8859-1")
    if codeset.replace("-", "").lower() == "utf8":
        codeset = "UTF-8"
    elif (iso := re.fullmatch(r"(?i)iso-?8859-?(\d+)", codeset)) is not None:
        codeset = f"ISO-8859-{iso[1]}"
    whole = f"{found['language']}.{codeset}{variant}" if found["codeset"] else name
    return f"localedef -i {found['language']}{variant} -f {codeset} {whole}"
