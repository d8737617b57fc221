"""Alerts at the door: channels, incidents, and the limit of drift.

URLs hold tokens: they come in once, are sealed, and are never handed out again.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.alerts import messages
from engine.alerts.guard import check_url
from engine.alerts.rules import ALL_WORKERS
from engine.alerts.sending import Outbound, check_apprise
from engine.catalog import Tx
from engine.errors import ConfigError, OffsiteError
from engine.evidence import chain
from engine.model import (
    Alarm,
    AlertChannel,
    ChannelAdded,
    ChannelKind,
    ChannelView,
    Delivery,
    DeliveryView,
    Incident,
    IncidentKind,
    Occasion,
    Role,
)
from engine.service.access import needs
from engine.service.alert_watch import DELIVER_EVERY_S, LOOK_EVERY_S, AlertWatch, Postman
from engine.service.connections import check_name
from engine.service.duties import Duty
from engine.service.open_channels import SECRET, TABLE, URL

if TYPE_CHECKING:
    from engine.service import Engine

BEAT_S = 300
"""How often a heartbeat is sent where nothing else was said."""
_BEATS = (10, 86_400)
_NOTE_CHARS = 500


class AlertsFacet:
    """``engine.alerts``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._watch = AlertWatch(engine)
        self.postman = Postman(engine, self._watch, Outbound())

    @needs(Role.ADMIN)
    def add(
        self,
        name: str,
        kind: ChannelKind,
        url: str,
        *,
        only: Sequence[IncidentKind] = (),
        every_s: int | None = None,
        secret: str | None = None,
        allow_private: bool = False,
    ) -> ChannelAdded:
        """Have alerts go to ``url``, too. A webhook gets a signing secret, its own or a new one.

        Raises ConfigError ``config.alert-url``, ``config.apprise``, ``config.invalid``, ``config.name-taken``,
        KeyAccessError; then nothing is saved.
        """
        check_name(name)
        _check_options(kind, only, every_s, secret)
        shown = check_apprise(url) if kind is ChannelKind.APPRISE else check_url(url, allow_private=allow_private).shown
        if kind is ChannelKind.WEBHOOK:
            secret = secret or messages.new_secret()
        keys = self._engine.keys.open()
        now, id_ = self._engine.clock.now(), secrets.token_hex(16)
        channel = AlertChannel(
            id=id_,
            name=name,
            kind=kind,
            url_sealed=self._engine.keys.seal(keys, TABLE, URL, id_, url),
            secret_sealed=None if secret is None else self._engine.keys.seal(keys, TABLE, SECRET, id_, secret),
            shown=shown,
            only=tuple(dict.fromkeys(only)),
            every_s=(every_s or BEAT_S) if kind is ChannelKind.HEARTBEAT else None,
            allow_private=allow_private,
            created_at=now,
        )
        with self._engine.catalog.write() as tx:
            catalogs.installation.refuse_retired(tx, keys.master.kid)
            catalogs.alert_channels.add(tx, channel)
            if channel.every_s is not None:  # one row, sent again and again
                beat = Delivery(f"beat-{id_}", id_, None, Occasion.BEAT, "", now, now)
                catalogs.deliveries.add(tx, beat)
            self._event(tx, "channel.added", id_, {"name": name, "kind": kind.value, "url": shown})
            chain.sign_head(tx, keys.signer, self._engine.clock)
            return ChannelAdded(self._view(tx, channel, {}), secret)

    def channels(self) -> tuple[ChannelView, ...]:
        """The channels in use, by name; no key is needed."""
        with self._engine.catalog.read() as tx:
            waiting = catalogs.deliveries.waiting(tx)
            return tuple(self._view(tx, c, waiting) for c in catalogs.alert_channels.list_all(tx))

    @needs(Role.ADMIN)
    def test(self, name: str) -> DeliveryView:
        """Send something to the channel now. A heartbeat is sent as it is: its receiver takes it for a sign of life.

        Raises AlertFailed and what else stands in the way; that is kept among the deliveries, too.
        """
        with self._engine.catalog.read() as tx:
            channel = catalogs.alert_channels.by_name(tx, name)
        now, id_ = self._engine.clock.now(), secrets.token_hex(16)
        body = messages.trial_body(id_, name, now)
        tried = Delivery(id_, channel.id, None, Occasion.TEST, body, now, None, attempts=1)
        error: OffsiteError | None = None
        try:
            self.postman.send(channel, tried)
            tried = replace(tried, delivered_at=self._engine.clock.now())
        except OffsiteError as e:
            error = e
            tried = replace(tried, error=f"{e.message} [{e.code}]")
        with self._engine.catalog.write() as tx:
            catalogs.deliveries.add(tx, tried)
            view = _delivery(tried, {channel.id: channel.name})
        if error is not None:
            raise error
        return view

    @needs(Role.ADMIN)
    def remove(self, name: str) -> None:
        """Tell the channel nothing any more, and forget its URL. Raises ConfigError ``config.not-found``."""
        with self._engine.catalog.write() as tx:
            channel = catalogs.alert_channels.by_name(tx, name)
            now = self._engine.clock.now()
            catalogs.alert_channels.remove(tx, channel.id, now)
            catalogs.deliveries.drop(tx, channel.id, "the channel was removed")
            self._event(tx, "channel.removed", channel.id, {"name": name})

    def incidents(self, *, closed: bool = False, limit: int = 100) -> tuple[Incident, ...]:
        """Open incidents, oldest first; with ``closed`` the newest ``limit`` of all, open ones first."""
        with self._engine.catalog.read() as tx:
            if closed:
                return tuple(catalogs.incidents.list_recent(tx, limit=limit))
            return tuple(catalogs.incidents.list_open(tx))

    def deliveries(self, limit: int = 50) -> tuple[DeliveryView, ...]:
        """What was told to whom, newest first."""
        with self._engine.catalog.read() as tx:
            names = catalogs.alert_channels.names(tx)
            return tuple(_delivery(d, names) for d in catalogs.deliveries.list_recent(tx, limit=limit))

    @needs(Role.OPERATOR)
    def acknowledge(self, incident: str, note: str | None = None) -> Incident:
        """Say that somebody has seen an open incident, by its id or a unique prefix.

        A drift is accepted by that, and a worker that is not to come back is signed off: both close. Raises ConfigError
        ``config.not-found``, ``config.ambiguous``, ``config.invalid``.
        """
        if note is not None and len(note) > _NOTE_CHARS:
            raise ConfigError("config.invalid", f"the note is longer than {_NOTE_CHARS} characters")
        now = self._engine.clock.now()
        with self._engine.catalog.write() as tx:
            found = self._find(tx, incident)
            seen = catalogs.incidents.acknowledge(tx, found.id, now, self._engine.actor, note or None)
            if seen.kind is IncidentKind.WORKER_DEAD and seen.subject != ALL_WORKERS:
                catalogs.workers.stop(tx, seen.subject, now)
            self._event(tx, "incident.acknowledged", seen.id, {"name": seen.name, "note": note or ""})
        closed = {i.id: i for i in self._watch.look().closed}
        return closed.get(seen.id, seen)

    @needs(Role.OPERATOR)
    def set_drift_limit(self, connection: str, fraction: float) -> None:
        """Tell when a table of ``connection`` loses more than this fraction of its rows; 1.0: tell no drift at all.

        Raises ConfigError ``config.not-found``, ``config.invalid``.
        """
        if not 0 < fraction <= 1:
            raise ConfigError("config.invalid", "the limit of drift is no share of the rows", hint=_LIMIT_HINT)
        with self._engine.catalog.write() as tx:
            record = catalogs.connections.by_name(tx, connection)
            catalogs.drift_limits.put(tx, record.id, fraction, self._engine.clock.now())
            self._event(tx, "connection.drift-limit-set", record.id, {"name": connection, "limit": f"{fraction:.4g}"})

    @needs(Role.OPERATOR)
    def check(self) -> Alarm:
        """Look what is wrong and send what is due, once: for cron, and for when no worker lives."""
        alarm = self._watch.look()
        arrived, failed = self.postman.deliver()
        return replace(alarm, delivered=arrived, failed=failed)

    def duties(self) -> tuple[Duty, ...]:
        """What a worker does for alerts."""
        return (
            Duty("alerts", LOOK_EVERY_S, self._look),
            Duty("deliveries", DELIVER_EVERY_S, self._deliver),
        )

    def _look(self) -> None:
        self._watch.look()

    def _deliver(self) -> None:
        self.postman.deliver()

    def _find(self, tx: Tx, text: str) -> Incident:
        found = [i for i in catalogs.incidents.find(tx, text) if i.open] if text else []
        if not found:
            raise ConfigError(
                "config.not-found",
                f"no incident {text!r} is open",
                hint="List those that are: `offsitedb alerts incidents`.",
            )
        if len(found) > 1:
            raise ConfigError("config.ambiguous", f"{len(found)} open incidents begin with {text!r}")
        return found[0]

    def _view(self, tx: Tx, c: AlertChannel, waiting: dict[str, int]) -> ChannelView:
        newest = catalogs.deliveries.newest_of(tx, c.id)
        return ChannelView(
            name=c.name,
            kind=c.kind,
            shown=c.shown,
            only=c.only,
            every_s=c.every_s,
            allow_private=c.allow_private,
            created_at=c.created_at,
            waiting=waiting.get(c.id, 0),
            delivered_at=newest.delivered_at if newest is not None else None,
            error=newest.error if newest is not None else None,
        )

    def _event(self, tx: Tx, kind: str, subject: str, data: dict[str, str | int | bool | None]) -> None:
        chain.append_event(tx, self._engine.clock, actor=self._engine.actor, kind=kind, subject=subject, data=data)


_LIMIT_HINT = "Give a share of the rows between 1% and 99%, such as `--limit 30%`, or `--limit off`."


def _check_options(kind: ChannelKind, only: Sequence[IncidentKind], every_s: int | None, secret: str | None) -> None:
    if kind is not ChannelKind.HEARTBEAT and every_s is not None:
        raise ConfigError("config.invalid", "only a heartbeat is sent again and again", hint="Leave out `--every`.")
    if kind is ChannelKind.HEARTBEAT and only:
        raise ConfigError("config.invalid", "a heartbeat hears of no incident", hint="Leave out `--only`.")
    if every_s is not None and not _BEATS[0] <= every_s <= _BEATS[1]:
        raise ConfigError("config.invalid", f"a heartbeat every {every_s} s is too often or too seldom")
    if secret is None:
        return
    if kind is not ChannelKind.WEBHOOK:
        raise ConfigError("config.invalid", "only a webhook is signed", hint="Leave out the secret.")
    try:
        messages.check_secret(secret)
    except ValueError as e:
        hint = "A secret is `whsec_` and 24 to 64 bytes in Base64; leave it out and one is made."
        raise ConfigError("config.invalid", f"this is no signing secret: {e}", hint=hint) from e


def _delivery(d: Delivery, names: dict[str, str]) -> DeliveryView:
    return DeliveryView(
        id=d.id,
        channel=names.get(d.channel_id, ""),
        occasion=d.occasion,
        incident_id=d.incident_id,
        subject=messages.about(d.body),
        created_at=d.created_at,
        attempts=d.attempts,
        delivered_at=d.delivered_at,
        next_at=d.next_at,
        error=d.error,
    )
