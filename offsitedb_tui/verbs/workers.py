"""``workers``: who runs the jobs."""

from __future__ import annotations

from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import speaking
from screens.present import visible


def workers(as_json: AsJson = False) -> None:
    """The workers that did not sign off: where they run, what they reach, how many jobs they run now."""
    with speaking(as_json=as_json) as talk, open_engine() as engine:
        found = engine.workers.list()
        talk.document(found)
        if not found:
            talk.show("No worker is running. Start one: `offsitedb worker`.")
            return
        talk.table(
            ("STATE", "HOST", "PROCESS", "JOBS", "LABELS", "VERSION", "SINCE", "HEARD OF", "ID"),
            [
                (
                    "alive" if w.alive else "gone",
                    visible(w.host),
                    str(w.pid),
                    f"{w.jobs}/{w.threads}",
                    ", ".join(w.labels),
                    visible(w.version),
                    w.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                    w.heartbeat_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                    w.id,
                )
                for w in found
            ],
        )
