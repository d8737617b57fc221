"""Operators at the door: who they are, logging in, sessions, and the password once more before what is dangerous.

For whoever serves several people (a browser, say): ``login`` gives a token, to be kept where only that person can get
at it; ``session(token)`` says at each request who that is, for ``acting_as``; ``confirm`` takes the password once more;
``logout`` ends it. For a process that serves one person: ``enter`` once, and the engine acts for them from then on.

Roles are guard-rails where people share an OS account, which can read the catalog as well as we can. They are a
boundary where the account belongs to the service and people get nothing from it but this program.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.access import passwords, tokens
from engine.access.passwords import Busy, Hasher
from engine.catalog import Tx
from engine.errors import AccessDenied, ConfigError, KeyAccessError
from engine.evidence import chain
from engine.keys.recovery import RecoveryCode, open_bundle
from engine.model import Operator, OperatorView, Principal, Role, Session, SessionKind
from engine.service import access, logins
from engine.service.access import needs

if TYPE_CHECKING:
    from engine.service import Engine

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")


class OperatorsFacet:
    """``engine.operators``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.hasher = Hasher()
        self._entered = False
        self._alone = True
        self._token: str | None = None
        self._ask: Callable[[], str] | None = None

    # who they are

    @needs(Role.ADMIN, dangerous=True)
    def add(self, name: str, role: Role, password: str) -> OperatorView:
        """Add an operator. The first one is an admin, and from then on everybody logs in.

        Raises ConfigError ``config.invalid``, ``config.name-taken``, ``config.password``.
        """
        name = _name(name)
        record = Operator(
            secrets.token_hex(16), name, role, self._hash(password, name), *[self._engine.clock.now()] * 2
        )
        with self._engine.catalog.write() as tx:
            if catalogs.operators.any_exist(tx):
                if self._entered and self._engine.principal == self._engine.own:
                    raise login_required()  # somebody else has just added the first one
            elif role is not Role.ADMIN:
                raise ConfigError(
                    "config.invalid",
                    "the first operator has to be an admin: nobody could add another one",
                    hint=f"Add an admin first: `offsitedb operator add {name} --role admin`.",
                )
            catalogs.operators.add(tx, record)
            self._event(tx, "operator.added", record, {"role": role.value})
            return self._view(tx, record)

    def list(self) -> tuple[OperatorView, ...]:
        """Everybody who was ever added, by name."""
        now = self._engine.clock.now()
        with self._engine.catalog.read() as tx:
            open_ = catalogs.sessions.open_by_operator(tx, now - logins.IDLE, now - logins.ABSOLUTE)
            return tuple(_view(o, open_.get(o.id, 0)) for o in catalogs.operators.list_all(tx))

    def any_exist(self) -> bool:
        """Whether one was ever added, and with that whether anybody has to log in."""
        with self._engine.catalog.read() as tx:
            return catalogs.operators.any_exist(tx)

    @needs(Role.ADMIN, dangerous=True)
    def reset(self, name: str, password: str) -> OperatorView:
        """Give an operator another password; all their sessions end. Raises ConfigError."""
        return self._new_password(_name(name), password, "operator.reset")

    @needs(Role.ADMIN, dangerous=True)
    def disable(self, name: str) -> OperatorView:
        """Let an operator in no more; all their sessions end. Raises AccessDenied ``access.last-admin``."""
        with self._engine.catalog.write() as tx:
            found = catalogs.operators.by_name(tx, _name(name))
            self._keep_an_admin(tx, found)
            if found.disabled_at is None:
                catalogs.operators.set_disabled(tx, found.id, self._engine.clock.now())
                self._ended(tx, "operator.disabled", found, "disabled")
            return self._view(tx, catalogs.operators.get(tx, found.id))

    @needs(Role.ADMIN, dangerous=True)
    def enable(self, name: str) -> OperatorView:
        """Let a disabled operator in again, with the password they had."""
        with self._engine.catalog.write() as tx:
            found = catalogs.operators.by_name(tx, _name(name))
            if found.disabled_at is not None:
                catalogs.operators.set_disabled(tx, found.id, None)
                self._ended(tx, "operator.enabled", found, "enabled")
            return self._view(tx, catalogs.operators.get(tx, found.id))

    @needs(Role.ADMIN, dangerous=True)
    def set_role(self, name: str, role: Role) -> OperatorView:
        """Give an operator another role; all their sessions end. Raises AccessDenied ``access.last-admin``."""
        with self._engine.catalog.write() as tx:
            found = catalogs.operators.by_name(tx, _name(name))
            if role is not Role.ADMIN:
                self._keep_an_admin(tx, found)
            if role is not found.role:
                catalogs.operators.set_role(tx, found.id, role)
                self._ended(tx, "operator.role-set", found, "role", {"role": role.value, "before": found.role.value})
            return self._view(tx, catalogs.operators.get(tx, found.id))

    @needs(Role.VIEWER, dangerous=True)
    def change_password(self, password: str) -> OperatorView:
        """Give whoever is logged in another password; all their sessions end, this one too."""
        kind, _, name = self._engine.actor.partition(":")
        if kind != "operator":
            raise login_required()
        return self._new_password(name, password, "operator.password-changed")

    def recover(self, name: str, password: str, code_text: str) -> OperatorView:
        """Give an operator another password with the recovery code instead of a login: when no admin is left who knows
        theirs. A disabled one is enabled and becomes an admin, as does everybody who is let in like this.

        Raises KeyAccessError ``key.recovery-code``, ConfigError.
        """
        with self._engine.catalog.read() as tx:
            installation = catalogs.installation.get(tx)
            catalogs.operators.by_name(tx, _name(name))
        if installation is None:
            raise ConfigError("config.not-initialised", "this catalog was never initialised")
        bundle = open_bundle(RecoveryCode.parse(code_text), installation.catalog_id, installation.recovery_bundle)
        current = next((m for m in bundle.masters if m.epoch == installation.key_epoch), None)
        if current is None:
            raise KeyAccessError("key.wrong", "the recovery bundle does not hold the key's current epoch")
        current.verify_check(installation.key_check, installation.catalog_id)
        with access.acting_as(Principal("recovery-code", Role.ADMIN)):
            return self._new_password(_name(name), password, "operator.recovered", as_admin=True)

    # logging in

    def login(self, name: str, password: str, source: str, kind: SessionKind = SessionKind.CONSOLE) -> str:
        """The token of a new session. It is told once; the catalog keeps its SHA-256. It counts as ``confirm``.

        ``source``: where the attempt comes from, an address where there is one; failures are counted by it. Raises
        AccessDenied ``access.login``, ``access.rate-limited`` (``context["wait_s"]``), ``access.disabled``.
        """
        engine = self._engine
        found = logins.check_password(
            engine, self.hasher, name.strip().lower(), password, source, event="operator.login-failed"
        )
        token = tokens.new()
        renewed = self.hasher.hash(password) if self.hasher.outdated(found.password) else None
        with engine.catalog.write() as tx:
            now = engine.clock.now()
            operator = catalogs.operators.get(tx, found.id)
            if operator.disabled_at is not None or operator.password != found.password:  # in this very moment
                raise AccessDenied("access.login", "user or password is wrong")
            if renewed is not None:
                catalogs.operators.rehash(tx, operator.id, found.password, renewed)
            catalogs.sessions.sweep(tx, now - 2 * logins.ABSOLUTE)
            catalogs.sessions.add(tx, Session(tokens.digest(token), operator.id, kind, source[:100], now, now, now))
            catalogs.operators.mark_login(tx, operator.id, now)
            with access.acting_as(_principal(operator, confirmed=True)):
                self._event(tx, "operator.logged-in", operator, {"source": source[:100], "kind": kind.value})
        return token

    def session(self, token: str | None, *, active: bool = True) -> Principal:
        """Who the token belongs to, as they may act now. ``active``: this is a sign of life of theirs.

        Raises AccessDenied ``access.login-required`` without a token, ``access.session-ended`` with one that is
        unknown, or whose session was ended, was idle for 15 minutes or lasted 12 hours.
        """
        if not token:
            raise login_required()
        now = self._engine.clock.now()
        with self._engine.catalog.read() as tx:
            found, operator = self._found(tx, token, now)
        if active and now - found.seen_at >= logins.SEEN_EVERY:
            with self._engine.catalog.write() as tx:
                catalogs.sessions.touch(tx, found.token_sha256, now)
        return _principal(operator, confirmed=now - found.confirmed_at <= logins.CONFIRMED)

    def confirm(self, token: str, password: str) -> None:
        """Take the password once more: dangerous verbs are allowed for the next five minutes.

        Failures count as those of ``login`` do. Raises as :meth:`login` and :meth:`session`.
        """
        with self._engine.catalog.read() as tx:
            found, operator = self._found(tx, token, self._engine.clock.now())
        logins.check_password(
            self._engine, self.hasher, operator.name, password, found.source, event="operator.confirm-failed"
        )
        with self._engine.catalog.write() as tx:
            if not catalogs.sessions.confirm(tx, found.token_sha256, self._engine.clock.now()):
                raise session_ended("it was ended meanwhile")

    def logout(self, token: str, *, reason: str = "logout") -> None:
        """End the session, if it lasts."""
        digest = tokens.digest(token)
        with self._engine.catalog.write() as tx:
            found = catalogs.sessions.find(tx, digest)
            if found is None or not catalogs.sessions.end(tx, digest, self._engine.clock.now(), reason):
                return
            operator = catalogs.operators.get(tx, found.operator_id)
            with access.acting_as(_principal(operator, confirmed=False)):
                self._event(tx, "operator.logged-out", operator, {"kind": found.kind.value})

    # one person's process

    def enter(self, token: str | None, *, alone: bool = True, ask: Callable[[], str] | None = None) -> None:
        """From now on this engine acts for whoever the token belongs to, and for nobody without one.

        ``alone``: where no operator was ever added it acts for the OS user, as it does unless this is called. ``ask``
        gets the password from a person when a dangerous verb needs it; without it such a verb raises.
        """
        self._entered, self._alone, self._token, self._ask = True, alone, token, ask

    @property
    def token(self) -> str | None:
        """Of the session that the engine acts in."""
        return self._token

    def whoever(self) -> Principal:
        """Who this engine acts for, now. Raises as :meth:`session`."""
        if not self._entered or (self._alone and not self.any_exist()):
            return self._engine.own
        return self.session(self._token, active=False)

    def attend(self) -> Principal:
        """As :meth:`whoever`, and a sign of life of theirs."""
        principal = self.whoever()
        return principal if principal == self._engine.own else self.session(self._token)

    def reconfirm(self, verb: str) -> Principal:
        """Get the password once more, from whoever sits there, for ``verb``. Raises AccessDenied ``access.confirm``."""
        if access.acting() is not None or self._ask is None or self._token is None:
            raise AccessDenied("access.confirm", f"{verb.replace('_', ' ')} needs your password once more")
        self.confirm(self._token, self._ask())
        return self.whoever()

    # within

    def _found(self, tx: Tx, token: str, now: datetime) -> tuple[Session, Operator]:
        found = catalogs.sessions.find(tx, tokens.digest(token))
        if found is None:
            raise session_ended("it is not known here")
        operator = catalogs.operators.get(tx, found.operator_id)
        reason = logins.over(found, operator, now)
        if reason is not None:
            raise session_ended(reason)
        return found, operator

    def _hash(self, password: str, name: str) -> str:
        objection = passwords.objection(password, name)
        if objection is not None:
            raise ConfigError("config.password", f"this cannot be a password: {objection}")
        try:
            return self.hasher.hash(password)
        except Busy as e:
            raise AccessDenied("access.rate-limited", "too many people log in at once", retry=True) from e

    def _new_password(self, name: str, password: str, kind: str, *, as_admin: bool = False) -> OperatorView:
        with self._engine.catalog.read() as tx:
            catalogs.operators.by_name(tx, name)
        hashed = self._hash(password, name)
        with self._engine.catalog.write() as tx:
            found = catalogs.operators.by_name(tx, name)
            catalogs.operators.set_password(tx, found.id, hashed, self._engine.clock.now())
            if as_admin:
                catalogs.operators.set_role(tx, found.id, Role.ADMIN)
                catalogs.operators.set_disabled(tx, found.id, None)
            self._ended(tx, kind, found, "reset")
            return self._view(tx, catalogs.operators.get(tx, found.id))

    def _keep_an_admin(self, tx: Tx, found: Operator) -> None:
        last = found.role is Role.ADMIN and found.disabled_at is None
        if last and not catalogs.operators.other_admins(tx, found.id):
            raise AccessDenied("access.last-admin", f"{found.name} is the only admin who can log in")

    def _ended(
        self, tx: Tx, kind: str, operator: Operator, reason: str, told: Mapping[str, str | int] | None = None
    ) -> None:
        """End every session, and write down who did what to whom: all in the transaction of the change."""
        ended = catalogs.sessions.end_all(tx, operator.id, self._engine.clock.now(), reason)
        self._event(tx, kind, operator, {**(told or {}), "sessions_ended": ended})

    def _view(self, tx: Tx, operator: Operator) -> OperatorView:
        now = self._engine.clock.now()
        open_ = catalogs.sessions.open_by_operator(tx, now - logins.IDLE, now - logins.ABSOLUTE)
        return _view(operator, open_.get(operator.id, 0))

    def _event(self, tx: Tx, kind: str, operator: Operator, told: Mapping[str, str | int] | None = None) -> None:
        data = {"name": operator.name, **(told or {})}
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=operator.id, data=data)


def login_required() -> AccessDenied:
    return AccessDenied("access.login-required", "nobody is logged in")


def session_ended(why: str) -> AccessDenied:
    return AccessDenied("access.session-ended", f"the session has ended: {why}")


def _principal(operator: Operator, *, confirmed: bool) -> Principal:
    return Principal(f"operator:{operator.name}", operator.role, confirmed=confirmed)


def _view(o: Operator, sessions: int) -> OperatorView:
    return OperatorView(o.name, o.role, o.created_at, o.password_at, o.last_login_at, o.disabled_at, sessions)


def _name(name: str) -> str:
    plain = name.strip().lower()
    if not _NAME.fullmatch(plain):
        raise ConfigError(
            "config.invalid",
            f"{name[:80]!r} cannot be the name of an operator",
            hint="Use 1 to 63 letters, digits, dots, dashes, underscores or @, beginning with a letter or digit.",
        )
    return plain
