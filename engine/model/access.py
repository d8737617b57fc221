"""Who acts, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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

    ``connections``: ids that it is limited to; None: all. ``confirmed``: its password, where it has one, was given in
    the last minutes; dangerous verbs ask for that.
    """

    actor: str
    role: Role
    connections: frozenset[str] | None = None
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Operator:
    """A person who logs in. ``password`` is a PHC string; a disabled one keeps the row and the name."""

    id: str
    name: str
    role: Role
    password: str
    created_at: datetime
    password_at: datetime
    last_login_at: datetime | None = None
    disabled_at: datetime | None = None


class SessionKind(StrEnum):
    """Where somebody logged in."""

    CONSOLE = "console"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class Session:
    """A login that lasts; its token is kept as SHA-256 only. ``confirmed_at``: when the password was last given."""

    token_sha256: str
    operator_id: str
    kind: SessionKind
    source: str
    created_at: datetime
    seen_at: datetime
    confirmed_at: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None


@dataclass(frozen=True, slots=True)
class LoginLimit:
    """Failed logins of late in one scope."""

    scope: str
    failures: int
    last_at: datetime
    blocked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperatorView:
    """An operator as others see them; ``sessions``: how many logins of theirs last now."""

    name: str
    role: Role
    created_at: datetime
    password_at: datetime
    last_login_at: datetime | None
    disabled_at: datetime | None
    sessions: int
