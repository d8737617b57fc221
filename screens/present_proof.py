"""What a receipt says of content and of the operator's checks, one short line each. Pure text."""

from __future__ import annotations

from typing import Any


def content_line(said: dict[str, Any]) -> tuple[str, bool] | None:
    """``content equal in 9 of 9 tables``, and whether it is in all; None where it was not compared."""
    found = said.get("fingerprints") or []
    if not found:
        return None
    equal = [f for f in found if f["expected"] is not None and f["expected"] == f["restored"]]
    others = ", ".join(f"{f['schema']}.{f['table']}" for f in found if f not in equal)
    line = f"content equal in {len(equal):,} of {len(found):,} {'table' if len(found) == 1 else 'tables'}"
    return line + (f"; not in {others}" if others else ""), not others


def checks_line(said: dict[str, Any]) -> tuple[str, bool] | None:
    """``3 of 3 checks hold``, failed ones by name, and whether all do; None where there was none."""
    found = said.get("checks") or []
    if not found:
        return None
    failed = ", ".join(c["name"] for c in found if not c["passed"])
    held = sum(bool(c["passed"]) for c in found)
    line = f"{held:,} of {len(found):,} {'check holds' if len(found) == 1 else 'checks hold'}"
    return line + (f"; not {failed}" if failed else ""), not failed
