"""Every verb at the door against every role. A new one is marked with the role it needs, or stands on a list here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import AccessDenied
from engine.model import Principal, Role
from engine.service.access import acting_as
from tests.fixtures.facets import verbs
from tests.fixtures.history import History

MARKED: dict[str, tuple[Role, bool]] = {
    "alerts.acknowledge": (Role.OPERATOR, False),
    "alerts.add": (Role.ADMIN, False),
    "alerts.check": (Role.OPERATOR, False),
    "alerts.remove": (Role.ADMIN, False),
    "alerts.set_drift_limit": (Role.OPERATOR, False),
    "alerts.test": (Role.ADMIN, False),
    "apikeys.create": (Role.ADMIN, True),
    "apikeys.revoke": (Role.ADMIN, False),
    "apikeys.rotate": (Role.ADMIN, True),
    "checks.add": (Role.OPERATOR, False),
    "checks.remove": (Role.OPERATOR, False),
    "connections.add": (Role.OPERATOR, False),
    "connections.edit": (Role.OPERATOR, False),
    "connections.preflight": (Role.OPERATOR, False),
    "connections.remove": (Role.OPERATOR, True),
    "connections.set_fingerprint": (Role.OPERATOR, False),
    "connections.set_targets": (Role.OPERATOR, False),
    "connections.set_worker_label": (Role.OPERATOR, False),
    "connections.test": (Role.OPERATOR, False),
    "connections.try_out": (Role.OPERATOR, False),
    "destinations.add_bucket": (Role.ADMIN, False),
    "destinations.add_folder": (Role.ADMIN, False),
    "destinations.change_keys": (Role.ADMIN, False),
    "destinations.remove": (Role.ADMIN, True),
    "destinations.test": (Role.OPERATOR, False),
    "jobs.cancel": (Role.OPERATOR, False),
    "jobs.checkpoint": (Role.OPERATOR, False),
    "jobs.drill": (Role.OPERATOR, False),
    "jobs.drill_all": (Role.OPERATOR, False),
    "keys.confirm_recovery": (Role.ADMIN, False),
    "keys.confirm_with": (Role.ADMIN, False),
    "keys.master_text": (Role.ADMIN, True),
    "keys.restore": (Role.ADMIN, True),
    "keys.rotate": (Role.ADMIN, True),
    "move.to": (Role.ADMIN, True),
    "operators.add": (Role.ADMIN, True),
    "operators.change_password": (Role.VIEWER, True),
    "operators.disable": (Role.ADMIN, True),
    "operators.enable": (Role.ADMIN, True),
    "operators.reset": (Role.ADMIN, True),
    "operators.set_role": (Role.ADMIN, True),
    "posture.look": (Role.VIEWER, False),
    "posture.report": (Role.VIEWER, False),
    "reconcile.run": (Role.ADMIN, False),
    "recovery.kit": (Role.OPERATOR, False),
    "recovery.verify": (Role.ADMIN, False),
    "reports.build": (Role.OPERATOR, False),
    "reports.stamp": (Role.OPERATOR, False),
    "restores.make_database": (Role.OPERATOR, True),
    "restores.plan": (Role.OPERATOR, False),
    "restores.start": (Role.OPERATOR, True),
    "restores.unmake_database": (Role.OPERATOR, True),
    "retention.apply": (Role.ADMIN, True),
    "retention.clear": (Role.ADMIN, True),
    "retention.pin": (Role.OPERATOR, False),
    "retention.set": (Role.ADMIN, True),
    "retention.unpin": (Role.OPERATOR, False),
    "schedules.remove": (Role.OPERATOR, False),
    "schedules.set": (Role.OPERATOR, False),
    "scratch.add": (Role.ADMIN, False),
    "scratch.remove": (Role.ADMIN, False),
    "scratch.test": (Role.OPERATOR, False),
    "scratch.use": (Role.OPERATOR, False),
    "snapshots.download": (Role.OPERATOR, False),
    "snapshots.verify": (Role.OPERATOR, False),
    "verify.check_all": (Role.OPERATOR, False),
}
"""The role that a verb needs, and whether it wants the password once more."""

READING = {
    *("alerts.channels", "alerts.deliveries", "alerts.drift_limit", "alerts.incidents"),
    *(
        "apikeys.list",
        "checks.list",
        "connections.get",
        "connections.list",
        "connections.newest_size",
        "connections.read",
    ),
    *("connections.show", "connections.view", "destinations.list", "destinations.policy"),
    *("drills.recent", "drills.receipt", "jobs.find", "jobs.get", "jobs.log", "jobs.recent", "jobs.view"),
    *("keys.signers", "keys.status", "keys.systemd_install", "ledger.attempt", "ledger.drill_view"),
    *("ledger.entries", "ledger.of_drill", "ledger.of_job", "ledger.of_snapshot", "ledger.snapshot_view"),
    *("operators.any_exist", "operators.list", "restores.candidates", "restores.of_job", "restores.read"),
    *("restores.recent", "reconcile.last", "reconcile.recent", "recovery.show"),
    *("retention.deletions", "retention.paused", "retention.plan"),
    *("retention.removal", "retention.removals", "retention.show", "retention.why"),
    *("reports.export", "reports.file", "reports.list", "reports.newest", "reports.show", "reports.verify"),
    *("reports.check", "reports.zone"),
    *("schedules.list", "schedules.next", "schedules.preview", "schedules.show"),
    *("move.show", "workers.check_label", "workers.list"),
    *("scratch.list", "scratch.names", "snapshots.drift", "snapshots.resolve", "snapshots.restore_command"),
    *("verify.check", "verify.standing"),
    *("snapshots.show", "watch.job", "watch.overview", "watch.revision", "watch.usual", "worker.any_alive"),
}
"""They change nothing: a viewer's. The program opens the engine for nobody who is not logged in."""

ENTRANCE = {
    *("operators.attend", "operators.confirm", "operators.enter", "operators.login", "operators.logout"),
    "apikeys.authenticate",
    *("operators.reconfirm", "operators.recover", "operators.session", "operators.whoever"),
}
"""Ways in: a password, a token or the recovery code is their proof."""

INNER = {
    "alerts.duties",
    *("verify.duty", "verify.look", "verify.sign"),
    "posture.gather",
    *("connections.conninfo", "jobs.queue", "keys.duty", "keys.installation", "keys.open", "keys.seal"),
    *("keys.unseal", "restores.restorer"),
    *(
        "requests.checkpoint",
        "requests.come_to",
        "requests.figures",
        "requests.get",
        "requests.recent",
        "requests.states",
    ),
    *("recovery.after_change", "recovery.after_checkpoint", "recovery.duty", "recovery.facts", "recovery.look"),
    *("reports.duty", "reports.look"),
    *("reconcile.duty", "reconcile.look", "retention.duty", "retention.look", "retention.pruner"),
    *("scratch.given", "scratch.sweep", "worker.run", "worker.start", "worker.stop"),
}
"""Parts that other verbs and the worker are made of; no screen and no command calls them for a person."""


def test_every_verb_is_marked_or_listed(history: History) -> None:
    found = dict(verbs(history.engine))
    listed = READING | ENTRANCE | INNER
    marked = {name: (verb.needs, verb.dangerous) for name, verb in found.items() if hasattr(verb, "needs")}  # type: ignore[attr-defined]
    assert marked == {name: needed for name, needed in MARKED.items() if name in found}
    assert sorted(found.keys() - marked.keys() - listed) == [], "mark it with @needs, or say here why it needs no role"
    assert sorted(listed & marked.keys()) == []


@pytest.mark.parametrize("role", list(Role))
def test_every_verb_and_role(history: History, role: Role) -> None:
    """Whoever has too little is refused before anything is looked at; whoever has enough gets past the door."""
    found = dict(verbs(history.engine))
    for name, (needed, dangerous) in MARKED.items():
        for confirmed in (True, False):
            refusal = _refusal(history, found[name], Principal("operator:x", role, confirmed=confirmed))
            if not role.includes(needed):
                assert refusal == "access.role", name
            elif dangerous and not confirmed:
                assert refusal == "access.confirm", name
            else:
                assert refusal is None, name


def _refusal(history: History, verb: Callable[..., Any], principal: Principal) -> str | None:
    facet = next(p for p in vars(history.engine).values() if type(p).__name__ == verb.__qualname__.split(".")[0])
    required = [
        p
        for p in inspect.signature(inspect.unwrap(verb)).parameters.values()
        if p.default is p.empty and p.name != "self"
    ]
    unusable = object()  # whoever gets past the door stumbles over the first argument
    values = [unusable for p in required if p.kind is not p.KEYWORD_ONLY]
    named = {p.name: unusable for p in required if p.kind is p.KEYWORD_ONLY}
    with acting_as(principal):
        try:
            verb(facet, *values, **named)
        except AccessDenied as e:
            return e.code
        except Exception:  # noqa: BLE001 - it was let in, and that is all there is to see
            return None
    return None
