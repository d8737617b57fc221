"""The version of this software, as installed; it stands in receipts and manifests."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("offsitedb")
    except PackageNotFoundError:
        return "0+uninstalled"


VERSION = _installed()
