"""URLs and secrets of channels, opened and kept in memory for as long as this process lives.

Elsewhere a key is opened for one piece of work and dropped. Not here: that the master key cannot be had is itself
something to be told, and then no URL could be opened any more. After a start without the key nothing can be told; the
heartbeat that stays away tells it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.alerts.guard import Target, check_url
from engine.errors import KeyAccessError
from engine.model import AlertChannel

if TYPE_CHECKING:
    from engine.service import Engine

TABLE, URL, SECRET = "alert_channels", "url", "secret"
_ASK_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class OpenedChannel:
    """Never printed."""

    url: str = field(repr=False)
    secret: str | None = field(repr=False)

    def target(self, channel: AlertChannel) -> Target:
        """Raises ConfigError ``config.alert-url``."""
        return check_url(self.url, allow_private=channel.allow_private)


class OpenChannels:
    """The channels that could be opened once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: dict[str, tuple[str, OpenedChannel]] = {}
        """By the channel's id: its URL as it was sealed, and opened."""
        self._ask_at = 0.0
        """By the monotonic clock: a keyring that does not answer is not asked every two seconds."""

    def get(self, channel: AlertChannel) -> OpenedChannel:
        """Raises KeyAccessError for one that was never opened while the key was there."""
        kept = self._kept.get(channel.id)
        if kept is not None and kept[0] == channel.url_sealed:
            return kept[1]
        try:
            return self._open(channel)
        except KeyAccessError:
            if kept is None:
                raise
            return kept[1]  # sealed anew under a key that is not here: what a channel was added with never changes

    def keep(self, channels: Iterable[AlertChannel]) -> None:
        """Open those that are not open yet, where the key can be had, and forget those that are gone."""
        wanted = {c.id: c for c in channels}
        self._kept = {id_: kept for id_, kept in self._kept.items() if id_ in wanted}
        missing = [c for id_, c in wanted.items() if id_ not in self._kept or self._kept[id_][0] != c.url_sealed]
        at = self._engine.clock.monotonic()
        if not missing or at < self._ask_at:
            return
        try:
            for channel in missing:
                self._open(channel)
        except KeyAccessError:  # said by the delivery that needs it, and by the incident that jobs are blocked
            self._ask_at = at + _ASK_AGAIN_S

    def _open(self, channel: AlertChannel) -> OpenedChannel:
        keys = self._engine.keys.open()

        def open_(column: str, value: str) -> str:
            return self._engine.keys.unseal(keys, TABLE, column, channel.id, value)

        secret = None if channel.secret_sealed is None else open_(SECRET, channel.secret_sealed)
        opened = OpenedChannel(open_(URL, channel.url_sealed), secret)
        self._kept[channel.id] = (channel.url_sealed, opened)
        return opened
