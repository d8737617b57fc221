"""The two duties of alerts: what is wrong now becomes incidents and deliveries; deliveries are sent until they arrive.

Any number of workers may do both at once. Incidents are opened and closed in the transaction that found the facts; a
delivery belongs to whoever took it, for a while. A sender that dies in between leaves it to be sent again: it arrives
at least once, with the same id each time.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.alerts import messages, patience, rules
from engine.alerts.rules import Change
from engine.alerts.sending import Outbound, notify
from engine.catalog import Tx
from engine.errors import Internal, OffsiteError
from engine.evidence import chain
from engine.model import Alarm, AlertChannel, ChannelKind, Delivery, Incident, Occasion
from engine.service.alert_facts import Gatherer
from engine.service.open_channels import OpenChannels, OpenedChannel

if TYPE_CHECKING:
    from engine.service import Engine

LOOK_EVERY_S = 5.0
DELIVER_EVERY_S = 2.0
SENDERS = 4
"""So many channels are told at once: one that is slow does not hold up the others."""
STALE_LOOK_S = 30.0
"""How soon a heartbeat looks again whether the proofs are fresh."""


class AlertWatch:
    """What is wrong, written down."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._gatherer = Gatherer(engine)
        self._one = threading.Lock()

    def look(self) -> Alarm:
        """Open what is wrong and not open yet, close what is not wrong any more, in one transaction.

        Where nothing changes nothing is written: the look that finds so only reads.
        """
        with self._one:
            with self._engine.catalog.read() as tx:
                open_, change = self._change(tx)
            if not (change.opened or change.closed or change.reworded):
                return Alarm((), (), tuple(open_))
            with self._engine.catalog.write() as tx:
                open_, change = self._change(tx)
                return self._apply(tx, open_, change)

    def stale(self, tx: Tx, now: datetime) -> str | None:
        """Why no heartbeat may be sent; None when every proof is fresh."""
        connections = self._gatherer.freshness(tx)
        if not connections:
            return "not sent: nothing is protected yet"
        names = rules.stale(connections, now)
        return f"not sent: no fresh proof of {', '.join(names[:3])}" if names else None

    def _change(self, tx: Tx) -> tuple[list[Incident], Change]:
        now = self._engine.clock.now()
        open_ = catalogs.incidents.list_open(tx)
        return open_, rules.difference(open_, rules.evaluate(self._gatherer.facts(tx, open_, now), now))

    def _apply(self, tx: Tx, open_: list[Incident], change: Change) -> Alarm:
        now = self._engine.clock.now()
        channels = catalogs.alert_channels.list_all(tx)
        standing = {i.id: i for i in open_}
        for incident, wanted in change.reworded:
            name, summary, hint = rules.worded(wanted, incident.id)
            standing[incident.id] = replace(incident, name=name, summary=summary, hint=hint)
            catalogs.incidents.reword(tx, standing[incident.id])
            self._event(tx, standing[incident.id], "reworded")
        closed = []
        for incident in change.closed:
            del standing[incident.id]
            done = catalogs.incidents.close(tx, incident, now)
            if done is not None:
                closed.append(done)
                self._tell(tx, done, Occasion.CLOSED, catalogs.deliveries.told_of(tx, done.id), now)
        opened = []
        for wanted in change.opened:
            id_ = secrets.token_hex(16)
            name, summary, hint = rules.worded(wanted, id_)
            incident = Incident(id_, wanted.kind, wanted.subject, name, summary, hint, now)
            catalogs.incidents.add(tx, incident)
            opened.append(incident)
            self._tell(tx, incident, Occasion.OPENED, {c.id for c in channels if c.hears(incident.kind)}, now)
        return Alarm(tuple(opened), tuple(closed), (*standing.values(), *opened))

    def _tell(self, tx: Tx, incident: Incident, occasion: Occasion, channel_ids: set[str], now: datetime) -> None:
        """An event, and a delivery to each of the channels."""
        self._event(tx, incident, occasion)
        for channel_id in sorted(channel_ids):
            id_ = secrets.token_hex(16)
            body = messages.body(id_, occasion, incident)
            catalogs.deliveries.add(tx, Delivery(id_, channel_id, incident.id, occasion, body, now, now))

    def _event(self, tx: Tx, incident: Incident, what: str) -> None:
        chain.append_event(
            tx,
            self._engine.clock,
            actor="alerts",
            kind=f"incident.{what}",
            subject=incident.id,
            data={"kind": incident.kind.value, "name": incident.name, "summary": incident.summary},
        )


class _Turn:
    """What the senders of one turn know of each other."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.busy: set[str] = set()
        """Channels that something is being sent to, and those that did not take it in this turn."""
        self.arrived = self.failed = 0

    def sent(self, channel_id: str, *, arrived: bool) -> None:
        with self.lock:
            if arrived:
                self.busy.discard(channel_id)
                self.arrived += 1
            else:
                self.failed += 1


class Postman:
    """Deliveries on their way."""

    def __init__(self, engine: Engine, watch: AlertWatch, outbound: Outbound) -> None:
        self._engine = engine
        self._watch = watch
        self.outbound = outbound
        """Tests put one of their own here."""
        self.open = OpenChannels(engine)

    def deliver(self) -> tuple[int, int]:
        """Send everything that is due; how many arrived and how many did not."""
        engine = self._engine
        with engine.catalog.read() as tx:
            channels = catalogs.alert_channels.list_all(tx)
            due = catalogs.deliveries.any_due(tx, engine.clock.now())
        self.open.keep(channels)
        if not due:
            return 0, 0
        turn = _Turn()
        threads = [
            threading.Thread(target=self._send_due, args=(turn,), name=f"sender-{n}", daemon=True)
            for n in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return turn.arrived, turn.failed

    def send(self, channel: AlertChannel, delivery: Delivery) -> None:
        """One attempt. Raises OffsiteError."""
        opened = self.open.get(channel)
        match channel.kind:
            case ChannelKind.WEBHOOK:
                payload = delivery.body.encode()
                assert opened.secret is not None
                signed = messages.sign(opened.secret, delivery.id, self._engine.clock.now(), payload)
                self.outbound.post(opened.target(channel), payload, signed)
            case ChannelKind.HEARTBEAT:
                self.outbound.ping(opened.target(channel))
            case ChannelKind.APPRISE:
                _notify(opened, delivery)

    def _send_due(self, turn: _Turn) -> None:
        """Take and send until nothing is due, one at a time to each channel. One that does not answer is left alone
        until the next turn: it must not hold up what the others are to be told."""
        try:
            while (taken := self._take(turn)) is not None:
                delivery, channel = taken
                if channel is not None:
                    turn.sent(channel.id, arrived=self._attempt(channel, delivery))
        except OffsiteError:  # the catalog: what was taken comes free by itself
            return

    def _take(self, turn: _Turn) -> tuple[Delivery, AlertChannel | None] | None:
        """The next delivery and its channel; without a channel there is nothing to send."""
        with turn.lock:
            taken = self._next(turn.busy)
            if taken is not None and taken[1] is not None:
                turn.busy.add(taken[1].id)
            return taken

    def _next(self, busy: set[str]) -> tuple[Delivery, AlertChannel | None] | None:
        now = self._engine.clock.now()
        with self._engine.catalog.write() as tx:
            delivery = catalogs.deliveries.take(tx, now, patience.HOLD_S, without=busy)
            if delivery is None:
                return None
            channel = catalogs.alert_channels.get(tx, delivery.channel_id)
            if channel is None:
                catalogs.deliveries.failed(tx, delivery, "the channel was removed", None)
            elif channel.every_s is not None and (why := self._watch.stale(tx, now)) is not None:
                again = now + timedelta(seconds=min(STALE_LOOK_S, channel.every_s))
                catalogs.deliveries.postpone(tx, delivery, again, why)
                return delivery, None
            return delivery, channel

    def _attempt(self, channel: AlertChannel, delivery: Delivery) -> bool:
        """Send it, and write down what became of it."""
        error: OffsiteError | None = None
        try:
            self.send(channel, delivery)
        except OffsiteError as e:
            error = e
        except Exception as e:  # noqa: BLE001 - the last line: a channel that breaks in a new way is tried again
            error = Internal("internal.error", f"{type(e).__name__}: {e}")
        with self._engine.catalog.write() as tx:
            if error is None:
                self._arrived(tx, channel, delivery)
            else:
                self._failed(tx, channel, delivery, error)
        return error is None

    def _arrived(self, tx: Tx, channel: AlertChannel, delivery: Delivery) -> None:
        now = self._engine.clock.now()
        again = None if channel.every_s is None else now + timedelta(seconds=channel.every_s)
        catalogs.deliveries.arrived(tx, delivery, now, again_at=again)

    def _failed(self, tx: Tx, channel: AlertChannel, delivery: Delivery, error: OffsiteError) -> None:
        now = self._engine.clock.now()
        said = f"{error.message} [{error.code}]"
        if channel.every_s is not None:  # as long as there is the channel, there is a next beat
            pause = min(patience.pause_s(delivery.attempts), channel.every_s)
            catalogs.deliveries.failed(tx, delivery, said, now + timedelta(seconds=pause))
            return
        again = patience.next_try(delivery.created_at, delivery.attempts, now)
        if again is None:
            said = f"given up after {delivery.attempts} attempts in three days: {said}"
            chain.append_event(
                tx,
                self._engine.clock,
                actor="alerts",
                kind="alert.given-up",
                subject=delivery.channel_id,
                data={"delivery": delivery.id, "incident": delivery.incident_id, "error": said},
            )
        catalogs.deliveries.failed(tx, delivery, said, again)


def _notify(opened: OpenedChannel, delivery: Delivery) -> None:
    title, text, severity = messages.plain(delivery.body)
    notify(opened.url, title, text, severity)
