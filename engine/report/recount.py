"""Every figure of a report made anew from the bundle's own receipts and events, as an auditor would.

Deliberately another path than :mod:`engine.report.figures`: plain JSON in, no record of ours, no line shared. What
neither a receipt nor an event holds (slots of schedules, policies, the earlier months of the chart) is only added up.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from engine.report.raw import Difference, Plain, Reduced, reduce
from engine.report.recount_connection import WORDS, ConnectionCounting

__all__ = ["Difference", "Reduced", "recount", "reduce"]

SETTLES = 60
"""Seconds between what happened and its event, at the most."""
_GONE = ("deleted", "marked", "missing")


def recount(report: Plain, receipts: Sequence[Reduced], events: Sequence[Plain]) -> list[Difference]:
    """Every figure that does not follow. ``events``: the lines of the bundle, those that are withheld included."""
    counting = Counting(report, receipts, events)
    counting.run()
    return counting.found


class Counting:
    """The whole report. ``found``: what does not follow."""

    def __init__(self, report: Plain, receipts: Sequence[Reduced], events: Sequence[Plain]) -> None:
        self.report = report
        self.begin, self.through = report["period"]["begin_at"], report["period"]["through_at"]
        self.zone = ZoneInfo(report["period"]["time_zone"])
        self.order = {e["data"].get("receipt_sha256"): e["seq"] for e in events if e.get("kind") == "drill.ended"}
        self.events = events
        self.by_connection: dict[str, list[Reduced]] = defaultdict(list)
        for r in sorted(receipts, key=self.written):
            self.by_connection[r.connection_id].append(r)
        self.receipts = receipts
        self.found: list[Difference] = []

    def run(self) -> None:
        reports = {c["id"]: c for c in self.report["connections"]}
        for id_ in self.by_connection.keys() - reports.keys():
            self._same(f"receipts of connection {id_}", "none", "some")
        for id_, connection in reports.items():
            ConnectionCounting(self, connection, self.by_connection.get(id_, [])).run()
        self._summary()
        self._controls()
        self._history()

    def within(self, at: str) -> bool:
        """Instants are RFC 3339 with microseconds, in UTC: as texts they sort like time."""
        return bool(self.begin <= at < self.through)

    def surely(self, event: Plain) -> bool:
        """Whether what the event tells of lies in the month: it was dated a moment before the event."""
        return bool(_moved(self.begin, SETTLES) <= event["at"] < self.through)

    def perhaps(self, event: Plain) -> bool:
        return bool(self.begin <= event["at"] < _moved(self.through, SETTLES))

    def newest(self, receipts: Iterable[Reduced]) -> dict[str, Reduced]:
        return {r.snapshot_id: r for r in receipts}

    def check(self, figure: str, said: object, recounted: object) -> None:
        self._same(figure, said, recounted)

    def _same(self, figure: str, said: object, recounted: object) -> None:
        if said != recounted:
            self.found.append(Difference(figure, _short(said), _short(recounted)))

    def written(self, r: Reduced) -> tuple[int, str, str]:
        """Receipts in the order of the history; one from before it comes first."""
        return (self.order.get(r.sha256, 0), r.drilled_at, r.drill_id)

    def _summary(self) -> None:
        s, connections = self.report["summary"], self.report["connections"]
        for name in ("due", "made", "missed", "undrilled", "stored_bytes"):
            self._same(f"summary: {name}", s[name], sum(c[name] for c in connections))
        for name in WORDS.values():
            self._same(f"summary: drills {name}", s["drills"][name], sum(c["drills"][name] for c in connections))
        self._same("summary: connections", s["connections"], len(connections))
        self._same("scope", sorted(self.report["scope"]["connections"]), sorted(c["name"] for c in connections))
        attempts = sum(len(c["failed_attempts"]) for c in connections)
        self._same("summary: failed attempts", s["failed_attempts"], attempts)
        self._same("summary: gaps", s["gaps"], sum(d["state"] == "gap" for c in connections for d in c["days"]))
        other = sum(len(d["other_deletions"]) for d in self.report["destinations"])
        self._same(
            "summary: deletions", s["deletions"], other + sum(len(c["retention"]["deletions"]) for c in connections)
        )
        exceptions = self.report["exceptions"]
        still = [e for e in exceptions if e["closed_at"] is None or e["closed_at"] >= self.through]
        self._same("summary: open exceptions", s["open_exceptions"], len(still))
        self._same("exceptions marked open", sum(e["open_at_end"] for e in exceptions), len(still))
        missed = [f"{c['name']}: recovery point" for c in connections if c["recovery"]["within_target"] is False]
        missed += [f"{c['name']}: restore time" for c in connections if c["restore"]["within_target"] is False]
        self._same("summary: targets missed", s["targets_missed"], sorted(missed))

    def _controls(self) -> None:
        controls = self.report["controls"]
        mine = [r for r in self.receipts if self.within(r.drilled_at)]
        boxes = Counter((r.facts["sandbox"], r.facts["network"]) for r in mine)
        said = {(i["sandbox"], i["network"]): i["drills"] for i in controls["isolation"]}
        self._same("controls: isolation", said, dict(boxes))
        used: Counter[tuple[str, str]] = Counter()
        for rs in self.by_connection.values():
            counted = self.newest(r for r in rs if self.within(r.drilled_at))
            used.update(("pg_dump", r.facts["versions"]["pg_dump"]) for r in counted.values())
        used.update(("pg_restore", r.facts["versions"]["pg_restore"]) for r in mine)
        used.update(("scratch server", r.facts["versions"]["scratch"]) for r in mine)
        known = {pair: n for pair, n in used.items() if pair[1]}
        said_clients = {(c["program"], c["version"]): c["used"] for c in controls["clients"]}
        self._same("controls: clients", said_clients, known)
        for client in controls["clients"]:
            self._same(f"controls: {client['version']}", client["meets_floor"], _meets(client))
        rows = [row for c in self.report["connections"] for row in c["snapshots"] if self.within(row["taken_at"])]
        self._same("controls: key ids", controls["kids"], sorted({row["kid"] for row in rows}))

    def _history(self) -> None:
        full = [e for e in self.events if "kind" in e]
        verifying = self.report["verifying"]
        self._same("history: events", verifying["events"], len(self.events))
        self._same("history: withheld", verifying["withheld"], len(self.events) - len(full))
        seqs = [e["seq"] for e in self.events]
        self._same("history: first", verifying["first_seq"], seqs[0])
        self._same("history: last", (verifying["last_seq"], verifying["head_seq"]), (seqs[-1], seqs[-1]))
        self._same("history: receipts", verifying["receipts"], len(self.receipts))
        self._changes(full)
        self._incidents(full)
        self._reconciliations(full)
        self._deletions(full)
        hashes = {r.sha256: r for r in self.receipts}
        for e in full:
            if e["kind"] != "drill.ended":
                continue
            at = e["data"].get("drilled_at") or e["at"]
            sha256 = e["data"]["receipt_sha256"]
            if sha256 in hashes:
                self._same(f"drill {e['subject'][:12]}: verdict", hashes[sha256].verdict, e["data"]["verdict"])
            elif self.within(at):
                self._same(f"drill {e['subject'][:12]}: receipt", "not in the bundle", sha256)
        told = {e["data"]["receipt_sha256"] for e in full if e["kind"] == "drill.ended"}
        for r in self.receipts:
            if self.within(r.drilled_at) and r.sha256 not in told:
                self._same(f"drill {r.drill_id[:12]}: event", "a receipt", "the history does not know it")

    def _changes(self, full: Sequence[Plain]) -> None:
        controls = self.report["controls"]
        for name, prefixes in (("access_changes", ("access.", "operator.", "apikey.")), ("key_changes", ("key.",))):
            events = {
                e["seq"]
                for e in full
                if e["kind"].startswith(prefixes) and "operator.logged-" not in e["kind"] and self.within(e["at"])
            }
            said = {c["seq"] for c in controls[name] if c["kind"].startswith(prefixes)}
            self._same(f"controls: {name.replace('_', ' ')}", sorted(said), sorted(events))
        by_seq = {e["seq"]: e for e in full}
        for change in (*controls["access_changes"], *controls["key_changes"], *controls["other_changes"]):
            e = by_seq.get(change["seq"], {})
            self._same(
                f"controls: event {change['seq']}",
                (change["kind"], change["actor"], change["subject"], change["at"]),
                (e.get("kind"), e.get("actor"), e.get("subject"), e.get("at")),
            )

    def _incidents(self, full: Sequence[Plain]) -> None:
        known = {e["id"]: e for e in self.report["exceptions"]}
        for e in full:
            if not e["kind"].startswith("incident.") or not self.surely(e):
                continue
            said = known.get(e["subject"])
            if said is None:
                self._same(f"exceptions: {e['subject'][:12]}", "not told", e["kind"])
            elif e["kind"] == "incident.opened":
                self._same(f"exceptions: {e['subject'][:12]} kind", said["kind"], e["data"]["kind"])
            elif e["kind"] == "incident.closed":
                self._same(f"exceptions: {e['subject'][:12]} closed", said["closed_at"] is not None, True)
        acknowledged = {e["subject"]: e["actor"] for e in full if e["kind"] == "incident.acknowledged"}
        for id_, actor in acknowledged.items():
            if id_ in known:
                self._same(f"exceptions: {id_[:12]} acknowledged by", known[id_]["acknowledged_by"], actor)

    def _reconciliations(self, full: Sequence[Plain]) -> None:
        for d in self.report["destinations"]:
            mine = [e for e in full if e["kind"] == "destination.reconciled" and e["subject"] == d["id"]]
            said = Counter((r["listing_sha256"], r["objects"], r["size_bytes"]) for r in d["reconciliations"])
            surely, perhaps = (
                Counter(
                    (e["data"]["listing_sha256"], e["data"]["objects"], e["data"]["bytes"]) for e in mine if fits(e)
                )
                for fits in (self.surely, self.perhaps)
            )
            self._same(f"reconciliations of {d['name']}: left out", [], sorted(surely - said))
            self._same(f"reconciliations of {d['name']}: unknown to the history", sorted(said - perhaps), [])

    def _deletions(self, full: Sequence[Plain]) -> None:
        mine = {c["id"] for c in self.report["connections"]}
        told = {
            d["snapshot_id"]
            for c in self.report["connections"]
            for d in c["retention"]["deletions"]
            if d["result"] in _GONE
        }
        gone = {
            e["subject"]
            for e in full
            if e["kind"] == "snapshot.removed" and self.surely(e) and e["data"].get("connection") in mine
        }
        self._same("deletions of snapshots that the history knows", sorted(gone - told), [])


def _moved(at: str, seconds: int) -> str:
    moved = datetime.fromisoformat(at) + timedelta(seconds=seconds)
    return moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _meets(client: Plain) -> bool | None:
    return None if client["floor"] is None else _numbers(client["version"]) >= _numbers(client["floor"])


def _numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)[:2]]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"
