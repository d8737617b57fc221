"""Who acts, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do; each role includes the ones before it."""

    VIEWER = "viewer"
    """Looks at everything, changes nothing."""
    OPERATOR = "operator"
    """Starts checkpoints, drills and restores; looks after connections."""
    ADMIN = "admin"
    """Everything: destinations, keys, retention, operators, API keys, alerts."""

    def includes(self, other: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody or something that acts. ``actor`` is how events name it: ``os:root``, ``operator:alice``, ``apikey:…``.

    ``connections``: ids that it is limited to; None: all.
    """

    actor: str
    role: Role
    connections: frozenset[str] | None = None
