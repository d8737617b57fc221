"""The doctor: what this host offers, what is in force, and what somebody should mend. It changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import config
from engine import paths as places
from engine.errors import OffsiteError
from engine.keys.door import OsKeyring
from engine.model import Isolation
from engine.model.kit import KitState
from engine.model.views import BackendView, Doctor, KeyStatus, ToolView
from engine.postgres import isolation, tools
from engine.postgres.tools import FLOOR, Toolset
from engine.service.recoverykit import VERIFY_EVERY
from engine.version import VERSION

if TYPE_CHECKING:
    from engine.service import Engine


def examine(engine: Engine | None, absence: OffsiteError | None = None) -> Doctor:
    """Look at everything. ``engine`` is None where there is no installation (``absence`` says why)."""
    paths = engine.paths if engine is not None else places.locate()
    settings = engine.settings if engine is not None else config.load(paths.config)
    problems: list[str] = [] if absence is None else [f"{absence.message}. {absence.hint}"]
    keyrings = tuple(
        BackendView(s.name, s.usable, s.state, s.detail)
        for s in OsKeyring(timeout_s=settings.keyring.timeout_s).probe()
    )
    key = _key(engine, keyrings, problems)
    toolsets = engine.toolsets() if engine is not None else tools.discover(paths)
    workers = engine.workers.list() if engine is not None else ()
    if engine is not None and not any(w.alive for w in workers):
        problems.append("no worker is running. Start one: `offsitedb worker`.")
    found = _isolation(problems)
    if settings.drill.isolation == "required" and found.network != "none":
        problems.append("drill.isolation is required, but this host offers none. Install bubblewrap.")
    return Doctor(
        version=VERSION,
        home=str(paths.home),
        runtime=str(paths.runtime),
        initialised=engine is not None,
        catalog=(config.database_url() and "PostgreSQL") or str(paths.catalog),
        key=key,
        keyrings=keyrings,
        postgres=tuple(_tool(t, problems) for t in toolsets) or _no_tools(problems),
        workers=workers,
        isolation=found,
        isolation_policy=settings.drill.isolation,
        problems=tuple(problems),
        isolation_missing=_stronger(found),
    )


def _key(engine: Engine | None, keyrings: tuple[BackendView, ...], problems: list[str]) -> KeyStatus | None:
    if engine is None:
        if not any(k.usable for k in keyrings):
            problems.append("no keyring on this machine may hold the master key. See the list of keyrings.")
        return None
    status = engine.keys.status()
    if status.state != "ok":
        problems.append(status.detail)
    if status.recovery_confirmed_at is None:
        problems.append("nobody has confirmed the recovery code yet. Keep it somewhere safe, away from this machine.")
    _recovery(engine, problems)
    return status


def _recovery(engine: Engine, problems: list[str]) -> None:
    """A code that nobody has held in hands for long, and destinations that take no kit."""
    found = engine.recovery.show()
    at = max((t for t in (found.confirmed_at, found.verified_at) if t is not None), default=None)
    if at is not None and engine.clock.now() - at > VERIFY_EVERY:
        problems.append(f"the recovery code was last in use on {at:%Y-%m-%d}. Try it: `offsitedb recovery verify`.")
    failing = (kit for kit in found.kits if kit.state is KitState.FAILING)
    problems += (f"the recovery kit cannot be written to {kit.destination}: {kit.error}." for kit in failing)


def _tool(toolset: Toolset, problems: list[str]) -> ToolView:
    floor = FLOOR.get(toolset.major)
    if not toolset.meets_floor and floor is not None:
        problems.append(
            f"PostgreSQL {toolset.version} in {toolset.bindir} is below the security floor"
            f" {floor // 10000}.{floor % 10000}. Update the package when your distribution has it."
        )
    return ToolView(
        major=toolset.major,
        version=toolset.version,
        where=str(toolset.bindir),
        source=toolset.source,
        server=toolset.has_server,
        floor=f"{floor // 10000}.{floor % 10000}" if floor is not None else "unknown",
        meets_floor=toolset.meets_floor,
    )


def _no_tools(problems: list[str]) -> tuple[ToolView, ...]:
    problems.append(
        "there are no PostgreSQL programs on this machine. Install them: `offsitedb postgres install MAJOR`."
    )
    return ()


def _stronger(found: Isolation) -> tuple[str, ...]:
    """Why each stronger kind is not in force, in the host's own words."""
    missing = []
    for kind in ("bubblewrap", "unshare"):
        if kind == found.sandbox:
            break
        try:
            reason = isolation.why_not(kind, isolation.drill_user())
        except OffsiteError as e:
            reason = e.message
        missing.append(f"no {kind}: {reason or 'no reason given'}")
    return tuple(missing)


def _isolation(problems: list[str]) -> Isolation:
    try:
        return isolation.choose(required=False, drill_user=isolation.drill_user()).facts
    except OffsiteError as e:
        problems.append(f"{e.message}. {e.hint}")
        return Isolation("", "host", "none")
