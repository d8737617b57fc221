"""One connection's figures made anew. Part of :mod:`engine.report.recount`, and as plain as that."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from engine.report.raw import Plain, Reduced

if TYPE_CHECKING:
    from engine.report.recount import Counting

WORDS = {
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


class ConnectionCounting:
    """The figures of one connection."""

    def __init__(self, counting: Counting, said: Plain, receipts: Sequence[Reduced]) -> None:
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
        newest = max(self.receipts, key=lambda r: (r.taken_at, self.counting.written(r)), default=None)
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
    counted = dict.fromkeys(WORDS.values(), 0)
    for verdict in verdicts:
        counted[WORDS[verdict]] += 1
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


def _seconds(a: str, b: str) -> float:
    return (datetime.fromisoformat(b) - datetime.fromisoformat(a)).total_seconds()
