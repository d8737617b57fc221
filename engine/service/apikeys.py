"""API keys at the door: made and shown once, listed, rotated with an overlap, revoked, and recognised.

Of a key the catalog holds a hash. Whoever presents one that is not good hears the same, whatever is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.access import apikeys as texts
from engine.catalog import Tx
from engine.errors import AccessDenied, ConfigError
from engine.evidence import chain
from engine.model import Principal, Role
from engine.model.apikeys import ApiCaller, ApiKey, ApiKeyView, KeyState, MadeApiKey, Scope
from engine.service.access import needs
from engine.service.connections import check_name

if TYPE_CHECKING:
    from engine.service import Engine

LONGEST_OVERLAP_S = 24 * 3600.0
USED_EVERY_S = 60.0
"""How often it is noted that a key was used, at the most."""
_GOOD = (KeyState.ACTIVE, KeyState.ENDING)
_LONGEST_HEADER = 300
_BEARER = "bearer "


class ApiKeysFacet:
    """``engine.apikeys``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @needs(Role.ADMIN, dangerous=True)
    def create(self, name: str, scopes: Sequence[Scope] = tuple(Scope), connections: Sequence[str] = ()) -> MadeApiKey:
        """A new key, whose text is handed out this once. ``connections``: names that it is limited to; none: all.

        Raises ConfigError ``config.invalid``, ``config.name-taken``, ``config.not-found``.
        """
        check_name(name)
        if not scopes:
            raise ConfigError("config.invalid", "a key without a scope may do nothing", hint=_SCOPES)
        now = self._engine.clock.now()
        with self._engine.catalog.write() as tx:
            if self._good(tx, name, now):
                raise ConfigError(
                    "config.name-taken",
                    f"there is a key called {name} already",
                    hint=f"Choose another name, or replace that key: `offsitedb apikey rotate {name}`.",
                )
            ids = tuple(dict.fromkeys(catalogs.connections.by_name(tx, c).id for c in connections))
            wanted = tuple(scope for scope in Scope if scope in scopes)
            told = {"name": name, "scopes": " ".join(wanted), "connections": " ".join(connections) or "all"}
            return self._make(tx, name, wanted, ids, now, "apikey.created", told)

    def list(self) -> tuple[ApiKeyView, ...]:
        """Every key there ever was, newest first."""
        now = self._engine.clock.now()
        with self._engine.catalog.read() as tx:
            names = _names(tx)
            return tuple(_view(key, names, now) for key in catalogs.api_keys.list_all(tx))

    @needs(Role.ADMIN, dangerous=True)
    def rotate(self, which: str, overlap_s: float = LONGEST_OVERLAP_S) -> MadeApiKey:
        """A new key with the same rights. The old one, by id or name, is good for ``overlap_s`` seconds more.

        Raises ConfigError ``config.invalid``, ``config.not-found``.
        """
        if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
            raise ConfigError(
                "config.invalid",
                "two keys may overlap for 24 hours at the most",
                hint="Say how long the old key stays good, as in `--overlap 6h`; `--overlap none` ends it now.",
            )
        now = self._engine.clock.now()
        with self._engine.catalog.write() as tx:
            old = next((k for k in self._find(tx, which, now) if k.state(now) is KeyState.ACTIVE), None)
            if old is None:
                raise ConfigError(
                    "config.invalid",
                    f"{which[:80]} was replaced already, and ends by itself",
                    hint="Rotate the key that replaced it; `offsitedb apikey list` shows which.",
                )
            catalogs.api_keys.expire(tx, old.id, now + timedelta(seconds=overlap_s))
            told = {"name": old.name, "replaces": old.id, "overlap": f"{overlap_s:.0f} s"}
            return self._make(tx, old.name, old.scopes, old.connections, now, "apikey.rotated", told, replaces=old.id)

    @needs(Role.ADMIN)
    def revoke(self, which: str) -> tuple[ApiKeyView, ...]:
        """End a key at once: by id that one, by name every one that still is good. Raises ConfigError."""
        now = self._engine.clock.now()
        with self._engine.catalog.write() as tx:
            found = self._find(tx, which, now)
            for key in found:
                catalogs.api_keys.revoke(tx, key.id, now)
                self._event(tx, "apikey.revoked", key.id, {"name": key.name})
            names = _names(tx)
            return tuple(_view(replace(key, revoked_at=now), names, now) for key in found)

    def authenticate(self, header: str | None) -> ApiCaller:
        """Who presents this ``Authorization`` header. Raises AccessDenied ``access.key``."""
        text = header[len(_BEARER) :].strip() if header and header[: len(_BEARER)].lower() == _BEARER else ""
        key_id = texts.read_id(text) if len(text) <= _LONGEST_HEADER else None
        if key_id is None:
            raise _refused()
        now = self._engine.clock.now()
        with self._engine.catalog.read() as tx:
            key = catalogs.api_keys.get(tx, key_id)
        right = texts.is_key(text, key.secret_sha256 if key is not None else None)
        if key is None or not right or key.state(now) not in _GOOD:
            raise _refused()
        if key.last_used_at is None or (now - key.last_used_at).total_seconds() >= USED_EVERY_S:
            with self._engine.catalog.write() as tx:
                catalogs.api_keys.touch(tx, key.id, now, USED_EVERY_S)
        role = Role.OPERATOR if Scope.CREATE in key.scopes else Role.VIEWER
        only = frozenset(key.connections) if key.connections else None
        return ApiCaller(Principal(f"apikey:{key.id}", role, only), key.id, key.name, key.scopes)

    def _make(
        self,
        tx: Tx,
        name: str,
        scopes: tuple[Scope, ...],
        connections: tuple[str, ...],
        now: datetime,
        kind: str,
        told: Mapping[str, str | int | bool | None],
        *,
        replaces: str | None = None,
    ) -> MadeApiKey:
        made = texts.make()
        key = ApiKey(
            id=made.id,
            name=name,
            secret_sha256=texts.digest(made.text),
            scopes=scopes,
            connections=connections,
            created_at=now,
            created_by=self._engine.actor,
            replaces=replaces,
        )
        catalogs.api_keys.add(tx, key)
        self._event(tx, kind, key.id, told)
        return MadeApiKey(_view(key, _names(tx), now), made.text)

    def _find(self, tx: Tx, which: str, now: datetime) -> tuple[ApiKey, ...]:
        """Good keys by id or name. Raises ConfigError ``config.not-found``."""
        known = catalogs.api_keys.list_all(tx)
        found = tuple(k for k in known if which in (k.id, k.name) and k.state(now) in _GOOD)
        if not found:
            raise ConfigError(
                "config.not-found",
                f"there is no API key {which[:80]!r} that is good",
                hint="List them: `offsitedb apikey list`.",
            )
        return found

    def _good(self, tx: Tx, name: str, now: datetime) -> bool:
        return any(k.name == name and k.state(now) in _GOOD for k in catalogs.api_keys.list_all(tx))

    def _event(self, tx: Tx, kind: str, subject: str, data: Mapping[str, str | int | bool | None]) -> None:
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)


_SCOPES = f"Scopes are {' and '.join(f'`{scope}`' for scope in Scope)}; without any said a key has both."


def parse_scopes(texts_: Sequence[str]) -> tuple[Scope, ...]:
    """Scopes as people write them; none: all. Raises ConfigError ``config.invalid``."""
    try:
        return tuple(Scope(text.strip().lower()) for text in texts_) or tuple(Scope)
    except ValueError:
        raise ConfigError("config.invalid", "that is no scope of an API key", hint=_SCOPES) from None


def _refused() -> AccessDenied:
    return AccessDenied("access.key", "the API key is missing or not good")


def _names(tx: Tx) -> dict[str, str]:
    return {id_: named.name for id_, named in catalogs.watch.names(tx).items()}


def _view(key: ApiKey, names: dict[str, str], now: datetime) -> ApiKeyView:
    return ApiKeyView(
        id=key.id,
        name=key.name,
        state=key.state(now),
        scopes=key.scopes,
        connections=tuple(names.get(id_, id_) for id_ in key.connections),
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        replaces=key.replaces,
    )
