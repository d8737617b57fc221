"""Time stamps of monthly reports: an authority is asked for one over a bundle's sums, and it is laid beside them.

The report is built and told of before anybody is asked: whatever an authority does, the report is there.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engine import catalog as catalogs
from engine.alerts import guard
from engine.alerts.sending import Outbound
from engine.clock import rfc3339
from engine.errors import AlertFailed, ConfigError, FormatError, OffsiteError
from engine.evidence import chain
from engine.model.report import ReportLine, ReportStamp
from engine.report import bundle, stamp

if TYPE_CHECKING:
    from engine.service import Engine

AGAIN = timedelta(minutes=15)
GIVES_UP = timedelta(days=30)
"""So long a worker goes on asking; by hand a report can be stamped at any time."""
_NEVER = "nobody was asked yet"
_log = logging.getLogger("offsitedb.worker")


@dataclass(frozen=True, slots=True)
class _Outcome:
    stamp: ReportStamp
    data: bytes | None


class Stamps:
    """Asks for time stamps of reports that are built. ``outbound``: how requests leave."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.outbound = Outbound()
        self._tried: dict[str, datetime] = {}
        """When it was last tried again, by report: also where that could not be written down."""

    def wanted(self, asked: bool | None) -> bool:
        """Whether a report that is built now is to be stamped. ``asked`` None: as the settings say.

        Raises ConfigError ``config.timestamp`` where one is asked for and there is nobody to ask.
        """
        given = self._engine.settings.report.timestamp_url
        if asked and not given:
            raise ConfigError("config.timestamp", "config.toml names no authority for time stamps")
        return bool(given) if asked is None else asked

    def pending(self) -> ReportStamp:
        """What a new report says until somebody was asked: were this process killed now, a worker would ask."""
        return ReportStamp(self._engine.clock.now(), self._by(), None, held=False, error=_NEVER)

    def get(self, line: ReportLine, folder: Path) -> ReportLine:
        """The line with what came of asking: a time stamp, or why there is none. The bundle's signed files stay.

        One that is there already is kept, and nobody is asked. Raises FormatError ``format.bundle`` for sums that were
        altered and for a stamp that does not fit, ConfigError ``config.timestamp``, ``config.timestamp-ca``,
        KeyAccessError, CatalogError.
        """
        self.wanted(asked=True)
        sums = _sums(folder, line)
        if (folder / bundle.STAMP).exists():
            return self._told(line, self._there(folder, sums))
        outcome = self._asked(sums)
        if outcome.data is not None:
            try:
                bundle.lay_beside(folder, outcome.data, folder.parent / f".{secrets.token_hex(16)}.tsr")
            except FileExistsError:  # another process asked at the same time
                outcome = self._there(folder, sums)
            except OSError as e:
                outcome = self._failed(f"{bundle.STAMP} cannot be written: {e.strerror}")
        return self._told(line, outcome)

    def again(self, lines: Callable[[], Sequence[ReportLine]]) -> None:
        """Ask once more for those of ``lines`` that lie here and have none, when their time has come.

        After the first failure the others wait for the next look: an authority that hangs would hold all of them up.
        """
        if not self._engine.settings.report.timestamp_url:
            return
        now = self._engine.clock.now()
        for line in lines():
            if line.folder is None or line.stamp is None or line.stamp.error is None or now - line.built_at > GIVES_UP:
                continue
            if max(line.stamp.asked_at, self._tried.get(line.id, line.stamp.asked_at)) + AGAIN > now:
                continue
            self._tried[line.id] = now
            try:
                told = self.get(line, Path(line.folder)).stamp
            except OffsiteError as e:
                _log.warning("the report of %s was not stamped: %s", line.month, e.message)
            else:
                if told is not None and told.error is not None:
                    return

    def roots(self) -> stamp.Roots:
        """What the settings want stamps to be held against; empty: nothing. Raises ConfigError."""
        given = self._engine.settings.report.timestamp_ca
        return stamp.load_roots(Path(given).expanduser()) if given else ()

    def _there(self, folder: Path, sums: bytes) -> _Outcome:
        """The one that is there. It is never replaced: an older one says more than a new one."""
        roots = self.roots()
        try:
            with (folder / bundle.STAMP).open("rb") as file:
                data = file.read(stamp.LONGEST_BYTES + 1)
            return self._had(stamp.read(data, sums, roots=roots), held=bool(roots), data=None)
        except (OSError, ValueError) as e:
            raise FormatError(
                "format.bundle",
                f"the {bundle.STAMP} that is there is refused: {e}",
                hint="Move that file away, then ask for another: `offsitedb report stamp MONTH`.",
            ) from e

    def _asked(self, sums: bytes) -> _Outcome:
        settings = self._engine.settings.report
        try:
            roots = self.roots()  # first: where these are wrong nobody is asked
            target = guard.check_url(settings.timestamp_url, allow_private=settings.timestamp_allow_private)
            question = stamp.question(sums)
            headers = {"content-type": stamp.QUERY, "accept": stamp.REPLY}
            data = self.outbound.exchange(target, question.body, headers, at_most=stamp.LONGEST_BYTES)
        except (AlertFailed, ConfigError) as e:
            outside = e.code in ("config.alert-url", "alert.refused") and not settings.timestamp_allow_private
            return self._failed(e.message + (" (timestamp_allow_private is off)" if outside else ""))
        try:
            found = stamp.read(data, sums, nonce=question.nonce, roots=roots)
        except ValueError as e:
            return self._failed(f"{target.authority} answered, but the stamp is refused: {e}")
        return self._had(found, held=bool(roots), data=data)

    def _had(self, found: stamp.Stamp, *, held: bool, data: bytes | None) -> _Outcome:
        return _Outcome(ReportStamp(self._engine.clock.now(), found.authority, found.at, held, None), data)

    def _failed(self, why: str) -> _Outcome:
        return _Outcome(ReportStamp(self._engine.clock.now(), self._by(), None, held=False, error=why), None)

    def _by(self) -> str:
        """Who is asked, without what may be secret in the URL."""
        settings = self._engine.settings.report
        try:
            return guard.check_url(settings.timestamp_url, allow_private=settings.timestamp_allow_private).shown
        except ConfigError:
            return "the authority"

    def _told(self, line: ReportLine, outcome: _Outcome) -> ReportLine:
        """In the catalog and in the history: each stamp that was had, and of a row of failures the first."""
        engine, had = self._engine, outcome.stamp
        before = line.stamp
        if had.error is None:
            news = outcome.data is not None or before is None or before.error is not None
        else:
            news = before is None or before.error in (None, _NEVER)
        data: dict[str, str | int | bool | None] = {
            "month": line.month,
            "revision": line.revision,
            "sums_sha256": line.sha256,
            "by": had.by,
        }
        if had.at is not None:
            data |= {"stamped_at": rfc3339(had.at), "held": had.held}
        if outcome.data is not None:
            data |= {"tsr_sha256": hashlib.sha256(outcome.data).hexdigest()}
        if had.error is not None:
            data |= {"error": had.error}
        signer = engine.keys.open().signer if news else None
        with engine.catalog.write() as tx:
            told = catalogs.reports.stamped(tx, line.id, had)
            if signer is not None:
                kind = "report.stamped" if had.error is None else "report.unstamped"
                chain.append_event(tx, engine.clock, actor=engine.actor, kind=kind, subject=line.id, data=data)
                chain.sign_head(tx, signer, engine.clock)
        return replace(told, folder=line.folder)


def _sums(folder: Path, line: ReportLine) -> bytes:
    """``SHA256SUMS`` as it was signed. Raises FormatError ``format.bundle``."""
    try:
        data = (folder / bundle.SUMS).read_bytes()
    except OSError as e:
        raise FormatError("format.bundle", f"{bundle.SUMS} cannot be read: {e.strerror}") from e
    if hashlib.sha256(data).hexdigest() != line.sha256:
        raise FormatError("format.bundle", f"{bundle.SUMS} was altered since the report was built")
    return data
