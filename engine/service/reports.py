"""Monthly reports at the door: built, listed, shown, exported, verified; and the duty that builds last month's."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine import schedule as rules
from engine.catalog import Tx, report_facts
from engine.catalog.report_facts import LivedConnection
from engine.errors import CatalogError, ConfigError, FormatError, OffsiteError
from engine.evidence import canonical, chain
from engine.evidence.signer import Signer, fingerprint
from engine.model import Role
from engine.model.report import BundleVerdict, Chapter, Period, Report, ReportExported, ReportLine
from engine.report import bundle, months
from engine.report.assemble import assemble
from engine.report.bundle import Sealed
from engine.report.check import check
from engine.report.reading import opened
from engine.report.stamp import load_roots
from engine.service import report_export
from engine.service.access import WORKER, acting_as, needs
from engine.service.duties import Duty
from engine.service.report_gathering import Gatherer
from engine.service.report_renderers import RENDERERS
from engine.service.report_stamps import Stamps
from engine.service.schedules import host_zone

if TYPE_CHECKING:
    from engine.service import Engine

LOOK_EVERY_S = 60.0
AFTER = timedelta(minutes=10)
"""How long after a month's end its report is built: what began in it has ended or been decided by then."""
TAKES_AT_MOST = timedelta(hours=2)
AGAIN = timedelta(minutes=15)
_BACK = 12
"""Months that are made up for at the most."""
_LONGEST_NAME = 120
_LEFT_S = 86_400.0
_log = logging.getLogger("offsitedb.worker")


class ReportsFacet:
    """``engine.reports``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.stamps = Stamps(engine)

    def zone(self) -> str:
        """In which months and days begin. Raises ConfigError ``config.zone``."""
        given = self._engine.settings.report.time_zone
        return rules.check_zone(given) if given else host_zone()

    @needs(Role.OPERATOR)
    def build(self, month: str, connections: Sequence[str] = (), *, timestamp: bool | None = None) -> ReportLine:
        """The report of a month about these connections, or about all; what was built before stays.

        ``timestamp``: whether an authority is asked for a time stamp; None: as the settings say. Where none can be had
        the report is built all the same, and its line says why. Raises ConfigError ``config.month``,
        ``config.not-found``, ``config.timestamp``, KeyAccessError, FormatError ``format.receipt`` for a receipt that
        was altered, CatalogError.
        """
        return self._build(month, connections, None, timestamp)

    @needs(Role.OPERATOR)
    def stamp(self, line: ReportLine) -> ReportLine:
        """Get a time stamp for a report that is built; where none can be had its line says why.

        Raises ConfigError ``config.timestamp``, ``config.report-elsewhere``, KeyAccessError, FormatError
        ``format.bundle`` for sums that were altered, CatalogError.
        """
        return self.stamps.get(line, _folder(line))

    def list(self, month: str | None = None, *, limit: int = 100) -> tuple[ReportLine, ...]:
        """Reports that were built, newest first."""
        with self._engine.catalog.read() as tx:
            found = catalogs.reports.list_recent(tx, month=month, limit=limit)
        return tuple(map(_here, found))

    def newest(self, month: str | None = None, connections: Sequence[str] = ()) -> ReportLine:
        """The newest report of the month about exactly these connections, or about all; without a month the newest.

        Raises ConfigError ``config.not-found``.
        """
        with self._engine.catalog.read() as tx:
            if not connections:
                found = catalogs.reports.list_recent(tx, month=month, scope="", limit=1)
            else:
                lines = catalogs.reports.list_recent(tx, month=month, limit=10_000)
                found = [one for one in lines if sorted(one.scope.connections) == sorted(connections)][:1]
        if not found:
            wanted = f" of {month}" if month else ""
            about = f" about {', '.join(connections)}" if connections else ""
            raise ConfigError(
                "config.not-found",
                f"there is no report{wanted}{about}",
                hint="See what there is: `offsitedb report list`; build one: `offsitedb report build --month MONTH`.",
            )
        return _here(found[0])

    def show(self, line: ReportLine) -> Report:
        """What the report holds. Raises ConfigError ``config.report-elsewhere``, FormatError ``format.bundle``."""
        data = self.file(line, bundle.REPORT_JSON)
        try:
            return canonical.restore(Report, canonical.decode(data))
        except ValueError as e:
            raise FormatError("format.bundle", f"{bundle.REPORT_JSON} cannot be read: {e}") from e

    def file(self, line: ReportLine, name: str) -> bytes:
        """One file of the report's bundle, as it was signed. Raises as :meth:`show`."""
        with opened(_folder(line)) as found:
            return report_export.checked(found, line, name)

    def export(
        self, line: ReportLine, destination: Path, *, form: str = "bundle", force: bool = False
    ) -> ReportExported:
        """Write the report somewhere: ``bundle`` (a folder, or what ends in .zip or .tar), ``pdf``, ``html``, ``json``,
        ``text``.

        Raises ConfigError ``config.file``, ``config.file-exists``, ``config.invalid``, and as :meth:`show`.
        """
        return report_export.written(_folder(line), line, destination, form=form, force=force)

    def verify(self, path: Path, *, fingerprint: str | None = None) -> BundleVerdict:
        """Check a bundle that came from anywhere, a time stamp against the CA of the settings.

        Raises FormatError ``format.bundle`` for what is none, ConfigError ``config.timestamp-ca``.
        """
        return check(path, expected=fingerprint, roots=self.stamps.roots())

    def check(self, line: ReportLine) -> BundleVerdict:
        """Check a report that lies here as anybody can, and that it is this installation which has signed it.

        Raises ConfigError ``config.report-elsewhere``, FormatError ``format.bundle``.
        """
        mine = fingerprint(self._engine.keys.installation().signer_public)
        return self.verify(_folder(line), fingerprint=mine)

    def duty(self) -> Duty:
        return Duty("report", LOOK_EVERY_S, self.look)

    def look(self) -> None:
        """Build what is due: last month's report, and those that were missed since the newest one, each once.

        Reports for which no time stamp could be had get another try. Raises the first error after every month had its
        turn.
        """
        failed: list[OffsiteError] = []
        with acting_as(WORKER):
            self.stamps.again(self.list)
        for month in self._due():
            fence = self._take(month)
            if fence is None:
                continue
            try:
                with acting_as(WORKER):
                    self._build(month, (), fence)
            except OffsiteError as e:
                self._failed(month, fence, e.message, e.code)
                failed.append(e)
            except Exception as e:
                self._failed(month, fence, f"{type(e).__name__}: {e}", "internal.error")
                raise
        if failed:
            raise failed[0]

    def _due(self) -> Sequence[str]:
        """Months whose time has come and that nobody has built, oldest first."""
        now, zone = self._engine.clock.now(), self.zone()
        last = months.before(months.month_of(now - AFTER, zone))
        with self._engine.catalog.read() as tx:
            newest = catalogs.reports.newest_month(tx)
            waiting = [m for m in catalogs.reports.list_open_months(tx) if m.taken_until <= now]
            back = [months.before(last, n) for n in range(_BACK)]
            new = [month for month in back if month > newest] if newest is not None else [last]
            due = sorted({*new, *(m.month for m in waiting)})
            return [month for month in due if self._anybody(tx, months.period(month, zone, now))]

    def _anybody(self, tx: Tx, period: Period) -> bool:
        return bool(report_facts.lived(tx, period.begin_at, period.end_at))

    def _take(self, month: str) -> int | None:
        now = self._engine.clock.now()
        with self._engine.catalog.write() as tx:
            by = socket.gethostname()
            return catalogs.reports.take_month(tx, month, by=by, now=now, until=now + TAKES_AT_MOST)

    def _failed(self, month: str, fence: int, error: str, code: str) -> None:
        again = self._engine.clock.now() + AGAIN
        with self._engine.catalog.write() as tx:
            catalogs.reports.fail_month(tx, month, fence, error=error, code=code, again_at=again)

    def _build(
        self, month: str, connections: Sequence[str], fence: int | None, timestamp: bool | None = None
    ) -> ReportLine:
        stamped = self.stamps.wanted(timestamp)
        line = self._built(month, connections, fence, stamped=stamped)
        if line.stamp is None:
            return line
        try:
            return self.stamps.get(line, _folder(line))
        except OffsiteError as e:  # the report is there, and a worker asks again
            return replace(line, stamp=replace(line.stamp, error=e.message))

    def _built(self, month: str, connections: Sequence[str], fence: int | None, *, stamped: bool) -> ReportLine:
        engine, id_ = self._engine, secrets.token_hex(16)
        now = engine.clock.now()
        period = months.period(month, self.zone(), now)
        signer = engine.keys.open().signer
        with engine.catalog.write() as tx:
            lived = _lived(tx, period, connections)
            scope = ",".join(sorted(c.id for c in lived)) if connections else ""
            host = socket.gethostname()
            revision = catalogs.reports.begin(tx, id_, month, scope, at=now, by=engine.actor, host=host)
            chain.sign_head(tx, signer, engine.clock)
        engine.paths.reports.mkdir(mode=0o700, exist_ok=True)
        _sweep(engine.paths.reports)
        under_way = engine.paths.reports / f".{id_}.building"
        final = engine.paths.reports / folder_name(month, connections, revision)
        try:
            under_way.mkdir(mode=0o700)
            report, sealed = self._write(under_way, period, lived, connections, revision, signer)
            line = _line(id_, report, sealed, final, engine.actor)
            if stamped:
                line = replace(line, stamp=self.stamps.pending())
            return self._register(line, under_way, final, signer, fence)
        except BaseException:
            shutil.rmtree(under_way, ignore_errors=True)
            with engine.catalog.write() as tx:
                catalogs.reports.give_up(tx, id_)
            raise

    def _write(
        self,
        folder: Path,
        period: Period,
        lived: Sequence[LivedConnection],
        names: Sequence[str],
        revision: int,
        signer: Signer,
    ) -> tuple[Report, Sealed]:
        with self._engine.catalog.read() as tx:
            gatherer = Gatherer(tx, period, folder, now=self._engine.clock.now())
            facts = gatherer.facts(lived, everything=not names, revision=revision)
        report = assemble(replace(facts, posture=self._posture(names)))
        return report, bundle.complete(folder, report, facts.history.head, RENDERERS, signer)

    def _posture(self, names: Sequence[str]) -> tuple[Chapter, ...]:
        """How the installation stands now; where that cannot be looked at the chapter says so."""
        try:
            return tuple(Chapter(*part) for part in self._engine.posture.report(names or None))
        except OffsiteError as e:
            return (Chapter("Security posture", (f"It could not be looked at: {e.message}.",)),)

    def _register(
        self, line: ReportLine, under_way: Path, final: Path, signer: Signer, fence: int | None
    ) -> ReportLine:
        """The bundle gets its name in the transaction that tells of it: whoever lists it finds it."""
        engine = self._engine
        named = False
        try:
            with engine.catalog.write() as tx:
                self._settle(tx, line, fence)
                catalogs.reports.built(tx, line)
                chain.append_event(
                    tx,
                    engine.clock,
                    actor=engine.actor,
                    kind="report.built",
                    subject=line.id,
                    data={
                        "month": line.month,
                        "revision": line.revision,
                        "connections": "all" if line.scope.everything else " ".join(line.scope.connections),
                        "sums_sha256": line.sha256,
                    },
                )
                chain.sign_head(tx, signer, engine.clock)
                bundle.name_it(under_way, final)
                named = True
        except BaseException:
            if named:
                shutil.rmtree(final, ignore_errors=True)
            raise
        return line

    def _settle(self, tx: Tx, line: ReportLine, fence: int | None) -> None:
        """The month is done; of a worker that took it too long ago nothing counts: ``catalog.fenced``."""
        if not line.scope.everything:
            return
        if fence is None:
            if months.month_of(line.built_at, self.zone()) > line.month:
                catalogs.reports.mark_month(tx, line.month, line.id, by=line.host, at=line.built_at)
        elif not catalogs.reports.settle_month(tx, line.month, fence, line.id):
            raise CatalogError("catalog.fenced", f"another worker has built the report of {line.month}")


def verify_bundle(path: Path, *, fingerprint: str | None = None, timestamp_ca: Path | None = None) -> BundleVerdict:
    """Check a bundle with neither catalog nor key; its time stamp against the certificates in ``timestamp_ca``.

    Raises FormatError ``format.bundle`` for what is none, ConfigError ``config.timestamp-ca``.
    """
    return check(path, expected=fingerprint, roots=load_roots(timestamp_ca) if timestamp_ca is not None else ())


def folder_name(month: str, connections: Sequence[str], revision: int) -> str:
    """``2026-11``, ``2026-11-billing``, ``2026-11-billing.r2``."""
    names = "".join("-" + re.sub(r"[^A-Za-z0-9-]", "_", name) for name in sorted(connections))
    if len(names) > _LONGEST_NAME:
        names = f"-{len(connections)}-connections-{secrets.token_hex(4)}"
    return f"{month}{names}" + (f".r{revision}" if revision > 1 else "")


def _lived(tx: Tx, period: Period, names: Sequence[str]) -> list[LivedConnection]:
    """The connections of the month, of these names where any is given. Raises ConfigError ``config.not-found``."""
    found = report_facts.lived(tx, period.begin_at, period.through_at)
    for name in names:
        if not any(c.name == name for c in found):
            raise ConfigError("config.not-found", f"there was no connection called {name} in {period.month}")
    return [c for c in found if not names or c.name in names]


def _sweep(reports: Path) -> None:
    """Remove what a killed build has left: nobody builds for a day."""
    for left in (*reports.glob(".*.building"), *reports.glob(".*.tsr")):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _LEFT_S:
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()


def _line(id_: str, report: Report, sealed: Sealed, final: Path, by: str) -> ReportLine:
    s = report.summary
    return ReportLine(
        id=id_,
        month=report.period.month,
        scope=report.scope,
        revision=report.revision,
        built_at=report.built_at,
        built_by=by,
        host=socket.gethostname(),
        folder=str(final),
        sha256=sealed.sums_sha256,
        connections=s.connections,
        made=s.made,
        drills=s.drills.total,
        proven=s.drills.proven + s.drills.proven_with_skips,
        failed=s.drills.failed + s.drills.could_not_verify,
        gaps=s.gaps,
        open_exceptions=s.open_exceptions,
    )


def _here(line: ReportLine) -> ReportLine:
    """The line with its folder only where that is on this host and there."""
    there = line.folder is not None and line.host == socket.gethostname() and Path(line.folder).is_dir()
    return line if there else replace(line, folder=None)


def _folder(line: ReportLine) -> Path:
    """Raises ConfigError ``config.report-elsewhere``."""
    if line.folder is None:
        raise ConfigError(
            "config.report-elsewhere", f"the report of {line.month} lies on {line.host}, or its folder is gone"
        )
    return Path(line.folder)
