"""Write ``docs/ERRORS.md`` from the error table; with ``--check`` only say whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from engine import errors
from engine.error_codes import CODES
from engine.errors import OffsiteError

TARGET = Path(__file__).with_name("ERRORS.md")
PREFIXES: tuple[tuple[str, type[OffsiteError]], ...] = (
    ("config.", errors.ConfigError),
    ("partial.", errors.PartialResult),
    ("key.", errors.KeyAccessError),
    ("pg.", errors.SourceError),
    ("store.", errors.StoreError),
    ("format.", errors.FormatError),
    ("catalog.", errors.CatalogError),
    ("preflight.", errors.PreflightFailed),
    ("drill.", errors.DrillFailed),
    ("restore.failed", errors.DrillFailed),
    ("restore.mismatch", errors.DrillFailed),
    ("restore.", errors.PreflightFailed),
    ("job.still-running", errors.StillRunning),
    ("access.", errors.AccessDenied),
    ("alert.", errors.AlertFailed),
    ("api.unreachable", errors.CatalogError),
    ("api.", errors.ConfigError),
    ("job.", errors.Cancelled),
    ("internal.", errors.Internal),
)
COULD_NOT_VERIFY = (
    "drill.extension-missing",
    "drill.locale-missing",
    "drill.tool-missing",
    "drill.scratch",
    "drill.disk",
    "drill.isolation",
    "drill.timeout",
)


def class_of(code: str) -> type[OffsiteError]:
    """The class that raises ``code``."""
    if code in COULD_NOT_VERIFY:
        return errors.CouldNotVerify
    return next(cls for prefix, cls in PREFIXES if code.startswith(prefix))


def render() -> str:
    """The whole page."""
    lines = [
        "# Errors",
        "",
        "Every error has a stable code, an exit status and a hint. With `--json` an error is",
        '`{"error": {"code", "message", "hint"}}` on stdout. This page is generated from `engine/error_codes.py`.',
        "",
        "| code | exit | class | meaning | what to do next, unless the message knows better |",
        "|---|---|---|---|---|",
    ]
    for code, (meaning, hint) in CODES.items():
        cls = class_of(code)
        lines.append(f"| `{code}` | {cls.exit_status} | {cls.__name__} | {cell(meaning)} | {cell(hint)} |")
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """0, or 1 under ``--check`` when the page is not what the table says."""
    text = render()
    if "--check" in sys.argv[1:]:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        if current != text:
            sys.stderr.write("docs/ERRORS.md is not up to date: run `python docs/generate.py`\n")
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
