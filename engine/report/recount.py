"""Every figure of a report made anew from the bundle's own receipts and events, as an auditor would.

Deliberately another path than :mod:`engine.report.figures`: plain JSON in, no record of ours, no line shared. What
neither a receipt nor an event holds (slots of schedules, policies, the earlier months of the chart) is only added up.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

Plain = Mapping[str, Any]
_WORDS = {
    "PROVEN": "proven",
    "PROVEN WITH SKIPS": "proven_with_skips",
    "FAILED": "failed",
    "COULD NOT VERIFY": "could_not_verify",
}
_TIMINGS = {
    "fetch": "fetch_s",
    "decrypt and unpack": "open_s",
    "list": "list_s",
    "scratch server": "scratch_s",
    "restore": "restore_s",
    "compare": "verify_s",
}
SETTLES = 60
"""Seconds between what happened and its event, at the most."""
_GONE = ("deleted", "marked", "missing")


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure that does not follow from the receipts and events."""

    figure: str
    said: str
    recounted: str


@dataclass(frozen=True, slots=True)
class Reduced:
    """One receipt of the bundle, without its tables. Durations as text with three decimals, as they are signed."""

    drill_id: str
    snapshot_id: str
    connection_id: str
    sha256: str
    verdict: str
    taken_at: str
    drilled_at: str
    facts: Mapping[str, Any]


def reduce(receipt: Plain, sha256: str) -> Reduced:
    """What is needed of a receipt (the part that is signed); a bundle may hold thousands."""
    tables = receipt["tables"]
    equal = sum(1 for t in tables if t["expected"] is not None and t["expected"] == t["restored"])
    facts = {
        "tables_compared": len(tables),
        "tables_equal": equal,
        "rows_restored": sum(t["restored"] or 0 for t in tables),
        "skips": len(receipt["skips"]),
        "sandbox": receipt["isolation"]["sandbox"],
        "network": receipt["isolation"]["network"],
        "artifact_sha256": receipt["artifact_sha256"],
        "size_bytes": receipt["size_bytes"],
        "object_key": receipt["object_key"],
        "tables_captured": receipt["tables_captured"],
        "tables_total": receipt["tables_total"],
        "not_captured": receipt["not_captured"],
        "timings": receipt["timings"],
        "tls": receipt["tls"],
        "versions": receipt["versions"],
        "previous": receipt["previous_receipt_sha256"],
    }
    return Reduced(
        receipt["drill_id"],
        receipt["snapshot_id"],
        receipt["connection_id"],
        sha256,
        receipt["verdict"],
        receipt["taken_at"],
        receipt["drilled_at"],
        facts,
    )


def recount(report: Plain, receipts: Sequence[Reduced], events: Sequence[Plain]) -> list[Difference]:
    """Every figure that does not follow. ``events``: the lines of the bundle, those that are withheld included."""
    counting = _Counting(report, receipts, events)
    counting.run()
    return counting.found


class _Counting:
    def __init__(self, report: Plain, receipts: Sequence[Reduced], events: Sequence[Plain]) -> None:
        self.report = report
        self.begin, self.through = report["period"]["begin_at"], report["period"]["through_at"]
        self.zone = ZoneInfo(report["period"]["time_zone"])
        self.order = {e["data"].get("receipt_sha256"): e["seq"] for e in events if e.get("kind") == "drill.ended"}
        self.events = events
        self.by_connection: dict[str, list[Reduced]] = defaultdict(list)
        for r in sorted(receipts, key=self._written):
            self.by_connection[r.connection_id].append(r)
        self.receipts = receipts
        self.found: list[Difference] = []

    def run(self) -> None:
        reports = {c["id"]: c for c in self.report["connections"]}
        for id_ in self.by_connection.keys() - reports.keys():
            self._same(f"receipts of connection {id_}", "none", "some")
        for id_, connection in reports.items():
            _Connection(self, connection, self.by_connection.get(id_, [])).run()
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

    def _written(self, r: Reduced) -> tuple[int, str, str]:
        """Receipts in the order of the history; one from before it comes first."""
        return (self.order.get(r.sha256, 0), r.drilled_at, r.drill_id)

    def _summary(self) -> None:
        s, connections = self.report["summary"], self.report["connections"]
        for name in ("due", "made", "missed", "undrilled", "stored_bytes"):
            self._same(f"summary: {name}", s[name], sum(c[name] for c in connections))
        for name in _WORDS.values():
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


class _Connection:
    """The figures of one connection."""

    def __init__(self, counting: _Counting, said: Plain, receipts: Sequence[Reduced]) -> None:
        self.counting, self.said, self.name = counting, said, said["name"]
        self.receipts = receipts
        self.mine = [r for r in receipts if counting.within(r.drilled_at)]
        self.rows = [row for row in said["snapshots"] if counting.within(row["taken_at"])]

    def run(self) -> None:
        self._rows()
        self._counts()
        self._days()
        self._times()
        self._recovery()
        self._capture()

    def _check(self, figure: str, said: object, recounted: object) -> None:
        self.counting.check(f"{self.name}: {figure}", said, recounted)

    def _rows(self) -> None:
        told = {(drill["id"], drill["receipt_sha256"]) for row in self.said["snapshots"] for drill in row["drills"]}
        self._check("drills told", told, {(r.drill_id, r.sha256) for r in self.mine})
        by_id = {r.drill_id: r for r in self.mine}
        events = {e["subject"]: e["data"] for e in self.counting.events if e.get("kind") == "snapshot.taken"}
        for row in self.said["snapshots"]:
            label = f"snapshot {row['id'][:12]}"
            self._check(f"{label}: in the month", row["taken_in_month"], self.counting.within(row["taken_at"]))
            order = [r.drill_id for r in self.mine if r.snapshot_id == row["id"]]
            self._check(f"{label}: drills", [drill["id"] for drill in row["drills"]], order)
            for drill in row["drills"]:
                if drill["id"] in by_id:
                    self._drill(label, row, drill, by_id[drill["id"]])
            if row["id"] in events:
                data = events[row["id"]]
                self._check(f"{label}: size", row["size_bytes"], data["size_bytes"])
                self._check(f"{label}: SHA-256", row["sha256"], data["artifact_sha256"])
                self._check(f"{label}: rows", row["rows"], data["rows"])
                self._check(f"{label}: tables", row["tables"], data["tables"])
        known = {row["id"] for row in self.said["snapshots"]}
        for id_, data in events.items():
            taken = data.get("taken_at")
            if data["connection"] == self.said["id"] and taken and self.counting.within(taken) and id_ not in known:
                self._check(f"snapshot {id_[:12]}", "not told", "in the history")

    def _drill(self, label: str, row: Plain, drill: Plain, r: Reduced) -> None:
        said = {name: drill[name] for name in ("tables_compared", "tables_equal", "rows_restored", "skips")}
        self._check(f"{label}: drill {r.drill_id[:12]}", said, {name: r.facts[name] for name in said})
        where = (drill["sandbox"], drill["network"])
        self._check(f"{label}: isolation", where, (r.facts["sandbox"], r.facts["network"]))
        self._check(f"{label}: verdict", drill["verdict"], r.verdict)
        self._check(f"{label}: drilled at", drill["ended_at"], r.drilled_at)
        self._check(f"{label}: restore seconds", drill["restore_s"], r.facts["timings"]["total_s"])
        self._check(f"{label}: taken at", row["taken_at"], r.taken_at)
        self._check(f"{label}: SHA-256", row["sha256"], r.facts["artifact_sha256"])
        self._check(f"{label}: size", row["size_bytes"], r.facts["size_bytes"])
        self._check(f"{label}: object", row["object_key"], r.facts["object_key"])
        self._check(f"{label}: tables", row["tables"], r.facts["tables_captured"])
        self._check(f"{label}: tables in the source", row["tables_in_source"], r.facts["tables_total"])

    def _counts(self) -> None:
        drilled = {r.snapshot_id for r in self.mine}
        self._check("snapshots made", self.said["made"], len(self.rows))
        self._check("drills", self.said["drills"], _tally(r.verdict for r in self.mine))
        self._check("not drilled", self.said["undrilled"], sum(row["id"] not in drilled for row in self.rows))
        self._check("bytes", self.said["stored_bytes"], sum(row["size_bytes"] for row in self.rows))
        self._check("slots missed", self.said["missed"], len(self.said["missed_slots"]))
        for name in ("due", "made", "missed"):
            self._check(f"{name}, by days", self.said[name], sum(day[name] for day in self.said["days"]))

    def _days(self) -> None:
        made = Counter(self._day(row["taken_at"]) for row in self.rows)
        missed = Counter(self._day(m["slot_at"]) for m in self.said["missed_slots"])
        ended = defaultdict(list)
        for r in self.mine:
            ended[self._day(r.drilled_at)].append(r.verdict)
        begin = datetime.fromisoformat(self.counting.begin).astimezone(self.counting.zone)
        self._check("first day", self.said["days"][0]["date"], f"{begin:%Y-%m-%d}")
        for day in self.said["days"]:
            date = day["date"]
            drills = _tally(ended[date])
            self._check(f"{date}: made", day["made"], made[date])
            self._check(f"{date}: missed", day["missed"], missed[date])
            self._check(f"{date}: drills", day["drills"], drills)
            worst = _worst(day["due"], made[date], drills)
            quiet = ("nothing due", "absent", "ahead")
            self._check(f"{date}: state", quiet[0] if day["state"] in quiet else day["state"], worst)

    def _day(self, at: str) -> str:
        return f"{datetime.fromisoformat(at).astimezone(self.counting.zone):%Y-%m-%d}"

    def _times(self) -> None:
        said = self.said["restore"]
        proven = [r for r in self.mine if r.verdict.startswith("PROVEN")]
        times = sorted((r.facts["timings"]["total_s"] for r in proven), key=float)
        self._check("restore times: drills", said["drills"], len(proven))
        figures = {name: _ranked(times, q) for name, q in (("p50_s", 0.5), ("p95_s", 0.95), ("worst_s", 1.0))}
        for name, value in figures.items():
            self._check(f"restore times: {name}", said[name], value)
        here = self.said["restore"]["months"][-1]
        self._check("chart: this month", {n: here[n] for n in figures}, figures)
        self._check("chart: this month's drills", here["drills"], len(proven))
        slowest = [r.drill_id for r in proven if r.facts["timings"]["total_s"] == figures["worst_s"]]
        self._check(
            "restore times: worst drill",
            said["worst_drill_id"] in slowest if slowest else said["worst_drill_id"] is None,
            True,
        )
        for phase in said["phases"]:
            values = sorted((r.facts["timings"][_TIMINGS[phase["phase"]]] for r in proven), key=float)
            counted = {name: _ranked(values, q) for name, q in (("p50_s", 0.5), ("p95_s", 0.95), ("worst_s", 1.0))}
            self._check(f"restore times: {phase['phase']}", {n: phase[n] for n in counted}, counted)
        target = said["target_s"]
        held = None if target is None or not times else float(times[-1]) <= float(target)
        self._check("restore times: within target", said["within_target"], held)

    def _recovery(self) -> None:
        said = self.said["recovery"]
        standing = self.counting.newest(self.receipts).values()
        proven = sorted(r.taken_at for r in standing if r.verdict.startswith("PROVEN"))
        month = [at for at in proven if self.counting.within(at)]
        self._check("recovery point: proven", said["proven"], len(month))
        before = [at for at in proven if at < self.counting.begin]
        removed = self.said["removed_at"]
        end = min(self.counting.through, removed) if removed else self.counting.through
        start = before[-1] if before else max(self.counting.begin, self.said["created_at"])
        marks = [start, *(at for at in month if at <= end), end]
        steps = [(_seconds(a, b), n) for n, (a, b) in enumerate(pairwise(marks))]
        longest = max(s for s, _ in steps)
        self._check("recovery point: largest gap", said["largest_s"], f"{max(longest, 0.0):.3f}")
        n = next(n for s, n in steps if s == longest)
        self._check("recovery point: from", said["from_at"], None if n == 0 and not before else marks[n])
        self._check("recovery point: to", said["to_at"], None if n == len(steps) - 1 else marks[n + 1])
        held = None if said["target_s"] is None else longest <= float(said["target_s"])
        self._check("recovery point: within target", said["within_target"], held)
        newest = max((at for at in proven if at < self.counting.through), default=None)
        self._check("newest proven", self.said["newest_proven_at"], newest)
        age = None if newest is None else f"{_seconds(newest, self.counting.through):.3f}"
        self._check("newest proven: age", self.said["newest_proven_age_s"], age)
        named = said["before_receipt_sha256"]
        known = {r.sha256 for r in self.receipts}
        self._check("recovery point: receipt before the month", named is None or named in known, True)

    def _capture(self) -> None:
        said = self.said["coverage"]
        newest = max(self.receipts, key=lambda r: (r.taken_at, self.counting._written(r)), default=None)
        self._check("coverage", said is None, newest is None)
        if said is not None and newest is not None:
            facts = newest.facts
            self._check("coverage: snapshot", said["snapshot_id"], newest.snapshot_id)
            self._check("coverage: tables", said["tables"], facts["tables_captured"])
            self._check("coverage: tables in the source", said["tables_in_source"], facts["tables_total"])
            self._check("coverage: not captured", said["not_captured"], facts["not_captured"])
        seen: Counter[tuple[Any, ...]] = Counter()
        for r in self.counting.newest(self.mine).values():
            tls = r.facts["tls"]
            seen[tls["sslmode"], tls["in_use"], tls["version"], tls["transport"]] += 1
        rows = {(t["sslmode"], t["in_use"], t["version"], t["transport"]): t["snapshots"] for t in self.said["tls"]}
        self._check("TLS", rows, dict(seen))
        for t in self.said["tls"]:
            strong = t["transport"] == "unix" or (t["sslmode"] == "verify-full" and t["in_use"])
            self._check("TLS: weaker", t["weaker"], not strong)


def _tally(verdicts: Iterable[str]) -> dict[str, int]:
    counted = dict.fromkeys(_WORDS.values(), 0)
    for verdict in verdicts:
        counted[_WORDS[verdict]] += 1
    return counted


def _worst(due: int, made: int, drills: Mapping[str, int]) -> str:
    if due > 0 and made == 0:
        return "gap"
    for name, state in (
        ("failed", "failed"),
        ("could_not_verify", "could not verify"),
        ("proven_with_skips", "proven with skips"),
        ("proven", "proven"),
    ):
        if drills[name]:
            return state
    return "not drilled" if made else "nothing due"


def _ranked(values: Sequence[str], share: float) -> str | None:
    """The nearest-rank percentile by definition: the first value that enough of the others do not exceed."""
    numbers = [float(value) for value in values]
    for value, number in zip(values, numbers, strict=True):
        if bisect_right(numbers, number) >= share * len(values) - 1e-9:
            return value
    return None


def _moved(at: str, seconds: int) -> str:
    moved = datetime.fromisoformat(at) + timedelta(seconds=seconds)
    return moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(a: str, b: str) -> float:
    return (datetime.fromisoformat(b) - datetime.fromisoformat(a)).total_seconds()


def _meets(client: Plain) -> bool | None:
    numbers: Callable[[str], list[int]] = lambda text: [int(n) for n in re.findall(r"\d+", text)[:2]]  # noqa: E731
    return None if client["floor"] is None else numbers(client["version"]) >= numbers(client["floor"])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"
