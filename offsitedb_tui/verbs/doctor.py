"""``doctor``."""

from __future__ import annotations

from engine.errors import AccessDenied, OffsiteError
from engine.model.views import Doctor
from engine.service.doctor import examine
from offsitedb_tui.opening import open_engine
from offsitedb_tui.options import AsJson
from offsitedb_tui.output import Talk, speaking
from screens.present import visible


def doctor(as_json: AsJson = False) -> None:
    """Keyrings, PostgreSQL programs and their security floor, workers, isolation; and what to mend."""
    with speaking(as_json=as_json) as talk:
        try:
            engine = open_engine()
        except AccessDenied:
            raise
        except OffsiteError as e:
            found = examine(None, e)
        else:
            with engine:
                found = examine(engine)
        talk.document(found)
        _show(found, talk)


def _show(found: Doctor, talk: Talk) -> None:
    talk.show(f"offsitedb {found.version}   home {found.home}   runtime {found.runtime}   catalog {found.catalog}")
    talk.show("Keyrings:")
    for k in found.keyrings:
        talk.show(f"  {'✓' if k.usable else '–'} {k.name}  {k.state}  {visible(k.detail)}")
    if found.key is not None:
        talk.show(f"Master key: {found.key.kid} in {found.key.backend}: {found.key.state}")
    talk.show("PostgreSQL:")
    for t in found.postgres:
        floor = "" if t.meets_floor else f"  ! below the security floor {t.floor}"
        talk.show(f"  {t.major}  {t.version}  {t.where}  {t.source}{'' if t.server else ', no server'}{floor}")
    talk.show("Workers:")
    for w in found.workers:
        glyph = "●" if w.alive else "✗"
        talk.show(f"  {glyph} {w.host} pid {w.pid}, {w.threads} threads, since {w.started_at:%Y-%m-%d %H:%M}")
    i = found.isolation
    talk.show(
        f"Isolation of drills: user {i.user}, network {i.network}, sandbox {i.sandbox} ({found.isolation_policy})"
    )
    for reason in found.isolation_missing:
        talk.show(f"  {visible(reason)}")
    for problem in found.problems:
        talk.show(f"! {visible(problem)}")
