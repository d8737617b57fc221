"""Incidents, the channels that hear of them, and what is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class IncidentKind(StrEnum):
    """What can be wrong."""

    FAILED = "failed"
    """The newest checkpoint or drill of a connection failed, or could not be verified."""
    OVERDUE = "overdue"
    """The newest proof of a connection is older than its target."""
    RETENTION_PAUSED = "retention-paused"
    """Nothing is removed for a connection until somebody has looked."""
    KEY_BLOCKED = "key-blocked"
    """Jobs wait for the master key."""
    WORKER_DEAD = "worker-dead"
    """No worker lives although there is work, or one fell silent without signing off."""
    DRIFT = "drift"
    """A proven snapshot lost tables, or more rows of one than the limit, against the one before."""
    REPORT = "report"
    """A month's report could not be built."""
    LEDGER = "ledger"
    """The catalog is not what its signed history says."""


class Occasion(StrEnum):
    """Why something is delivered."""

    OPENED = "opened"
    CLOSED = "closed"
    TEST = "test"
    BEAT = "beat"
    """The ping of a heartbeat channel."""


class ChannelKind(StrEnum):
    WEBHOOK = "webhook"
    """A signed JSON document, posted."""
    HEARTBEAT = "heartbeat"
    """A URL that is fetched only while every proof is fresh."""
    APPRISE = "apprise"
    """A service that the Apprise library knows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that is wrong now. ``subject`` tells it from others of its kind, ``name`` is for people."""

    kind: IncidentKind
    subject: str
    name: str
    summary: str
    hint: str


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is wrong, from when until when. Text in it may come from other people's databases."""

    id: str
    kind: IncidentKind
    subject: str
    name: str
    summary: str
    hint: str
    opened_at: datetime
    closed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_note: str | None = None

    @property
    def open(self) -> bool:
        return self.closed_at is None


@dataclass(frozen=True, slots=True)
class AlertChannel:
    """Where alerts go. ``shown`` is what people may see of the sealed URL; ``only`` empty: every kind of incident."""

    id: str
    name: str
    kind: ChannelKind
    url_sealed: str
    secret_sealed: str | None
    shown: str
    only: tuple[IncidentKind, ...]
    every_s: int | None
    """How often a heartbeat is sent."""
    allow_private: bool
    created_at: datetime

    def hears(self, kind: IncidentKind) -> bool:
        """Whether it is told of incidents of this kind."""
        return self.kind is not ChannelKind.HEARTBEAT and (not self.only or kind in self.only)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing told to one channel. ``next_at`` None: it has arrived or was given up (``error`` says which)."""

    id: str
    channel_id: str
    incident_id: str | None
    occasion: Occasion
    body: str
    created_at: datetime
    next_at: datetime | None
    attempts: int = 0
    delivered_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel as people see it, with how the last thing told to it went."""

    name: str
    kind: ChannelKind
    shown: str
    only: tuple[IncidentKind, ...]
    every_s: int | None
    allow_private: bool
    created_at: datetime
    waiting: int
    """Deliveries under way."""
    delivered_at: datetime | None
    error: str | None
    """Why the newest delivery has not arrived."""


@dataclass(frozen=True, slots=True)
class ChannelAdded:
    """A new channel; ``secret`` is shown this once and never again."""

    channel: ChannelView
    secret: str | None


@dataclass(frozen=True, slots=True)
class DeliveryView:
    id: str
    channel: str
    occasion: Occasion
    incident_id: str | None
    subject: str
    created_at: datetime
    attempts: int
    delivered_at: datetime | None
    next_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """One evaluation: what was opened and closed by it, and what is open now."""

    opened: tuple[Incident, ...]
    closed: tuple[Incident, ...]
    open: tuple[Incident, ...]
    delivered: int = 0
    failed: int = 0
