"""Labels: the names of networks, on workers that reach them and connections that need them."""

from __future__ import annotations

import re

from engine.errors import ConfigError

_LABEL = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


def check_label(label: str) -> None:
    """Raises ConfigError ``config.invalid`` for what cannot be a label."""
    if not _LABEL.fullmatch(label):
        raise ConfigError(
            "config.invalid",
            f"{label[:80]!r} cannot be a label",
            hint="Use 1 to 63 small letters, digits, dots, dashes and underscores, such as `vpc-frankfurt`.",
        )
