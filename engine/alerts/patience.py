"""How often a delivery is tried, and when it is given up. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 3600.0
GIVE_UP_S = 3 * 86400.0
HOLD_S = 90.0
"""How long a delivery belongs to whoever took it: longer than any attempt lasts. A sender that dies lets go by this."""


def pause_s(attempts: int) -> float:
    """Seconds to wait after that many attempts in vain: 10, 20, 40 … up to an hour."""
    return min(FIRST_PAUSE_S * 2.0 ** min(max(attempts - 1, 0), 30), LONGEST_PAUSE_S)


def next_try(created_at: datetime, attempts: int, now: datetime) -> datetime | None:
    """When to try again; None: it is given up, three days after it was first to be told."""
    again = now + timedelta(seconds=pause_s(attempts))
    return again if (again - created_at).total_seconds() <= GIVE_UP_S else None
