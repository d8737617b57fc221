"""Checking passwords and sessions, for the operators' facet: what is counted, what it costs, when a session is over.

An attempt is counted as a failure before the password is looked at, in the transaction that also looks whether the
limits allow it: who guesses with a hundred connections at once gets no more tries than with one. What went well is
taken back. Between that and the verdict no transaction is open: a hash takes half a second.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.access import limits
from engine.access.passwords import MOST_CHARS, Busy, Hasher
from engine.catalog import Tx
from engine.errors import AccessDenied, CatalogError
from engine.evidence import chain
from engine.model import Operator, Session

if TYPE_CHECKING:
    from engine.service import Engine

IDLE = timedelta(minutes=15)
ABSOLUTE = timedelta(hours=12)
CONFIRMED = timedelta(minutes=5)
SEEN_EVERY = timedelta(minutes=1)
"""A session is marked as used so often at most: each mark is a change of the catalog."""
_ENDS = {
    "reset": "its operator's password was changed",
    "disabled": "its operator was disabled",
    "enabled": "its operator was enabled anew",
    "role": "its operator's role was changed",
    "logout": "it was logged out",
    "replaced": "its operator logged in anew",
}


def check_password(engine: Engine, hasher: Hasher, name: str, password: str, source: str, *, event: str) -> Operator:
    """The operator whose password this is. A failure is an event of the kind ``event``.

    Raises AccessDenied ``access.login`` (one message, whatever is wrong), ``access.rate-limited``, and
    ``access.disabled`` to whoever knows the password.
    """
    scopes = limits.scopes(name, source)
    with engine.catalog.write() as tx:
        now = engine.clock.now()
        known = catalogs.login_limits.read(tx, scopes)
        wait_s = max(limits.waits_s(known.get(scope), now) for scope in scopes)
        if wait_s:
            raise too_many(wait_s)
        for scope in scopes:
            catalogs.login_limits.put(tx, limits.failed(scope, known.get(scope), now))
        catalogs.login_limits.sweep(tx, now - limits.KEPT)
        before = catalogs.operators.find(tx, name)
    try:
        right = hasher.verify(before.password if before is not None else None, password[: MOST_CHARS + 1])
    except Busy as e:
        with engine.catalog.write() as tx:
            _take_back(tx, scopes, engine.clock.now(), well=False)
        raise AccessDenied("access.rate-limited", "too many people log in at once", retry=True) from e
    except ValueError as e:
        raise CatalogError("catalog.damaged", "the password of an operator is not one of this version") from e
    with engine.catalog.write() as tx:
        operator = catalogs.operators.find(tx, name)
        right = right and operator is not None and before is not None and operator.password == before.password
        if right:
            _take_back(tx, scopes, engine.clock.now(), well=True)
        else:
            subject = operator.id if operator is not None else "nobody"
            chain.append_event(
                tx, engine.clock, actor=f"source:{source[:100]}", kind=event, subject=subject, data={"source": source}
            )
    if not right or operator is None:
        raise AccessDenied("access.login", "user or password is wrong")
    if operator.disabled_at is not None:
        raise AccessDenied("access.disabled", f"the operator {operator.name} is disabled")
    return operator


def _take_back(tx: Tx, scopes: tuple[str, ...], now: datetime, *, well: bool) -> None:
    """What was counted in advance was no failure. The account begins anew where the password was right; the source and
    all together do not: else whoever has a password of their own could guess others' without a limit."""
    known = catalogs.login_limits.read(tx, scopes)
    for n, scope in enumerate(scopes):
        if scope not in known:
            continue
        if well and n == 0:
            catalogs.login_limits.forget(tx, scope)
        else:
            catalogs.login_limits.put(tx, limits.taken_back(known[scope], now))


def too_many(wait_s: float) -> AccessDenied:
    seconds = max(math.ceil(wait_s), 1)
    return AccessDenied(
        "access.rate-limited",
        f"too many failures; the next try counts in {seconds} s",
        context={"wait_s": seconds},
        retry=True,
    )


def over(found: Session, operator: Operator, now: datetime) -> str | None:
    """Why the session is over, in words; None: it lasts."""
    if found.ended_at is not None:
        return _ENDS.get(found.end_reason or "", "it was ended")
    if operator.disabled_at is not None:
        return _ENDS["disabled"]
    if now - found.created_at >= ABSOLUTE:
        return f"it lasted {ABSOLUTE.total_seconds() / 3600:.0f} hours"
    if now - found.seen_at >= IDLE:
        return f"nothing was done in it for {IDLE.total_seconds() / 60:.0f} minutes"
    return None
