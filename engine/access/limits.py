"""How long somebody waits who guesses: per account, per source, and all together. Nobody is ever locked out for good.

An account and a source have five failures free; each one after that doubles the wait, up to 15 minutes. All together
have more of them and a wait of at most 30 seconds: whoever guesses from a thousand places must not keep everybody out.
Failures are forgotten a while after the last one.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.model import LoginLimit


@dataclass(frozen=True, slots=True)
class Allowance:
    """``free`` failures without a wait, then 2, 4, 8, … up to ``longest_s``; all forgotten after ``forget_s``."""

    free: int
    longest_s: float
    forget_s: float

    def wait_s(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        over = failures - self.free
        return 0.0 if over <= 0 else min(2.0 ** min(over, 30), self.longest_s)


ONE = Allowance(free=5, longest_s=900.0, forget_s=3600.0)
ALL = Allowance(free=100, longest_s=30.0, forget_s=900.0)
GLOBAL = "all"
KEPT = timedelta(days=1)
"""Rows that are older say nothing any more."""


def scopes(name: str, source: str) -> tuple[str, ...]:
    """Where a failure counts. A name may be a password typed into the wrong line: only its hash is kept."""
    named = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return (f"account:{named}", f"source:{network(source)}", GLOBAL)


def network(source: str) -> str:
    """The source as it is counted: an IPv6 address by its /64, which one customer has whole. At most 100 characters."""
    try:
        address = ipaddress.ip_address(source.split("%")[0])
    except ValueError:
        return source[:100]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def waits_s(found: LoginLimit | None, now: datetime) -> float:
    """How long this scope still waits; 0: not at all."""
    if found is None or found.blocked_until is None:
        return 0.0
    return max((found.blocked_until - now).total_seconds(), 0.0)


def failed(scope: str, found: LoginLimit | None, now: datetime) -> LoginLimit:
    """The scope after one more failure."""
    allowance = _allowance(scope)
    fresh = found is None or (now - found.last_at).total_seconds() > allowance.forget_s
    failures = 1 if found is None or fresh else found.failures + 1
    wait = allowance.wait_s(failures)
    return LoginLimit(scope, failures, now, now + timedelta(seconds=wait) if wait else None)


def taken_back(found: LoginLimit, now: datetime) -> LoginLimit:
    """The scope without one of its failures: an attempt that was counted when it began has gone well."""
    failures = max(found.failures - 1, 0)
    wait = _allowance(found.scope).wait_s(failures)
    until = found.last_at + timedelta(seconds=wait) if wait else None
    return LoginLimit(found.scope, failures, found.last_at, until if until is None or until > now else None)


def _allowance(scope: str) -> Allowance:
    return ALL if scope == GLOBAL else ONE
