"""Who may call what at the door: each verb that changes something names the role it needs.

The check stands here and in no widget. Who acts is a matter of context (one process can serve many people, each in a
thread or task of its own); without any, it is the OS user who opened the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from engine.errors import AccessDenied
from engine.model import Principal, Role

if TYPE_CHECKING:
    from engine.service import Engine

P = ParamSpec("P")
R = TypeVar("R")

_acting: ContextVar[Principal | None] = ContextVar("offsitedb_acting", default=None)


class Facet(Protocol):
    """One part of the door: it knows its engine."""

    _engine: Engine


WORKER = Principal("worker", Role.ADMIN)
"""Who does what a worker does by itself, whoever started it."""


def needs(
    role: Role, *, dangerous: bool = False
) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[Concatenate[Any, P], R]]:
    """Mark a verb of a facet: whoever calls it must have at least ``role``. Raises AccessDenied ``access.role``.

    A ``dangerous`` one wants the password of whoever is logged in, given in the last five minutes: ``access.confirm``.
    The verb then acts as who was found to call it, whatever becomes of the session meanwhile.
    """

    def mark(verb: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
        @wraps(verb)
        def checked(facet: Facet, /, *args: P.args, **kwargs: P.kwargs) -> R:
            principal = facet._engine.principal
            require(principal, role, verb.__name__)
            if dangerous and not principal.confirmed:
                principal = facet._engine.operators.reconfirm(verb.__name__)
            with acting_as(principal):
                return verb(facet, *args, **kwargs)

        checked.needs = role  # type: ignore[attr-defined]  # for the table of verbs and roles
        checked.dangerous = dangerous  # type: ignore[attr-defined]  # as above
        return checked

    return mark


def require(principal: Principal, role: Role, verb: str) -> None:
    """Raises AccessDenied ``access.role`` when ``principal`` has less than ``role``."""
    if not principal.role.includes(role):
        raise AccessDenied(
            "access.role",
            f"{verb.replace('_', ' ')} needs the role {role}, and {principal.actor} has the role {principal.role}",
            context={"actor": principal.actor, "role": principal.role.value, "needs": role.value},
        )


def acting() -> Principal | None:
    """Who acts in this thread or task, if that was said."""
    return _acting.get()


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Everything within is done by ``principal``."""
    token = _acting.set(principal)
    try:
        yield
    finally:
        _acting.reset(token)
