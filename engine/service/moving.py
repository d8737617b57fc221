"""Moving the catalog: from a file to PostgreSQL, where several hosts can share it, or back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.catalog import Catalog, moving
from engine.errors import CatalogError, ConfigError
from engine.evidence import chain
from engine.model import JobState, Role
from engine.model.views import CatalogMoved, CatalogView
from engine.service.access import needs

if TYPE_CHECKING:
    from engine.service import Engine

MOVED_SUFFIX = ".moved"


class MoveFacet:
    """``engine.move``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def show(self) -> CatalogView:
        """Where the catalog lies, and how much it holds."""
        catalog = self._engine.catalog
        with catalog.read() as tx:
            counts = moving.counts(tx)
        return CatalogView(catalog.where, catalog.dialect, len(counts), sum(counts.values()))

    @needs(Role.ADMIN, dangerous=True)
    def to(self, url: str) -> CatalogMoved:
        """Copy the catalog to an empty database or a new file, compare both, and close the old one.

        Raises ConfigError ``config.in-use`` (a worker lives, a job runs), ``config.already-initialised`` (the target
        holds a catalog), CatalogError ``catalog.busy`` (somebody wrote meanwhile).
        """
        engine = self._engine
        self._refuse_while_used()
        with Catalog.open(url, create=True) as target:
            if target.where == engine.catalog.where:
                raise ConfigError("config.invalid", "the catalog is there already", hint="Name another database.")
            with engine.catalog.read() as source, target.write() as there:
                seen = catalogs.revision_of(source)
                if not moving.is_empty(there):
                    raise ConfigError(
                        "config.already-initialised",
                        f"there is a catalog at {target.where}",
                        hint="Name an empty database, made with `createdb offsitedb`.",
                    )
                counts = moving.copy(source, there)
                chain.append_event(
                    there,
                    engine.clock,
                    actor=engine.actor,
                    kind="catalog.moved",
                    subject=target.dialect,
                    data={"from": engine.catalog.dialect, "rows": sum(counts.values())},
                )
            self._compare(target, counts)
            where, dialect = target.where, target.dialect
        kept = engine.catalog.retire(MOVED_SUFFIX, seen)
        setting = f"OFFSITEDB_DATABASE_URL={where}" if dialect != "sqlite" else "no OFFSITEDB_DATABASE_URL"
        return CatalogMoved(where, dialect, len(counts), sum(counts.values()), kept, setting)

    def _refuse_while_used(self) -> None:
        engine = self._engine
        if engine.worker.any_alive():
            raise ConfigError(
                "config.in-use", "a worker is running", hint="Stop every worker, then move: `offsitedb workers`."
            )
        with engine.catalog.read() as tx:
            running = catalogs.jobs.list_recent(tx, states=(JobState.RUNNING,), limit=1)
        if running:
            raise ConfigError(
                "config.in-use",
                f"job {running[0].id[:12]} is running",
                hint="Wait for its end, or start a worker that settles it, then stop that and move.",
            )

    def _compare(self, target: Catalog, counts: dict[str, int]) -> None:
        """Before the old catalog is closed: every row is there, and the history still holds."""
        with self._engine.catalog.read() as source, target.read() as there:
            wrong = [name for name in moving.differences(source, there) if name != "events"]
            record = catalogs.installation.get(there)
            broken = chain.verify_chain(there, record.signer_public) if record is not None else []
            events = moving.counts(there)["events"]
        if events != counts["events"] + 1:
            wrong.append("events")
        broken = [finding for finding in broken if finding.kind is not chain.FindingKind.MISSING_HEAD]
        if wrong or broken:
            raise CatalogError(
                "catalog.damaged",
                f"the copy is not equal: {', '.join(wrong) or broken[0].detail}",
                hint="The old catalog was not touched and is still in use. Drop the new database and try again.",
            )
