"""What `doctor` says about the keyrings of this machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackendState:
    """One keyring backend. ``state`` is ``ok`` or the error code that its use would raise; ``detail`` says why."""

    name: str
    usable: bool
    state: str
    detail: str
