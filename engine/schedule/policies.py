"""Which snapshots are drilled, as people write it: ``every``, ``every 5``, ``daily``."""

from __future__ import annotations

import re

from engine.errors import ConfigError
from engine.model import DrillPolicy, DrillRule

MOST = 1000


def parse_policy(text: str) -> DrillPolicy:
    """Raises ConfigError ``config.invalid``."""
    said = " ".join(text.lower().split())
    if said == "daily":
        return DrillPolicy(DrillRule.DAILY)
    found = re.fullmatch(r"every(?: ([0-9]{1,4}))?", said)
    if found is not None and 1 <= int(found[1] or 1) <= MOST:
        return DrillPolicy(DrillRule.EVERY, int(found[1] or 1))
    raise ConfigError(
        "config.invalid",
        f"{text.strip()[:40]!r} does not say which snapshots are drilled",
        hint=f"Write `every` for each snapshot, `every 5` for each fifth (up to {MOST}), or `daily`.",
    )


def policy_text(policy: DrillPolicy) -> str:
    """The policy as :func:`parse_policy` reads it."""
    if policy.rule is DrillRule.DAILY:
        return "daily"
    return "every" if policy.every == 1 else f"every {policy.every}"


def policy_words(policy: DrillPolicy) -> str:
    """The policy in words."""
    if policy.rule is DrillRule.DAILY:
        return "the newest snapshot of each day"
    if policy.every == 1:
        return "every snapshot"
    ends = {1: "st", 2: "nd", 3: "rd"}
    end = "th" if policy.every % 100 in (11, 12, 13) else ends.get(policy.every % 10, "th")
    return f"every {policy.every}{end} snapshot"
