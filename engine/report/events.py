"""What an event of the history is called in a report."""

from __future__ import annotations

import re

_WORDS = {
    "access.set": "who has to log in was changed",
    "apikey.created": "an API key was made",
    "apikey.revoked": "an API key was revoked",
    "apikey.rotated": "an API key was replaced",
    "channel.added": "a channel for alerts was added",
    "channel.changed": "a channel for alerts was changed",
    "channel.removed": "a channel for alerts was removed",
    "check.added": "a check of restored copies was added",
    "check.removed": "a check of restored copies was removed",
    "connection.added": "a database was added",
    "connection.changed": "a database's connection was changed",
    "connection.recovered": "a database was taken over from the recovery kit",
    "connection.removed": "a database was removed",
    "catalog.adopted": "the rows of an older catalog were bound to the history as they were found",
    "catalog.changed": "rows were changed that no other event tells of",
    "catalog.moved": "the catalog was moved",
    "catalog.rebuilt": "the rows of a recovered catalog were bound to the history as they were found",
    "connection.tested": "a database was tested",
    "connection.targets-set": "targets were set",
    "connection.scratch-set": "where a database is restored to in drills was changed",
    "connection.fingerprint-set": "whether contents are compared was changed",
    "connection.drift-limit-set": "how many rows may be lost unannounced was changed",
    "connection.worker-label-set": "which workers run a database's jobs was changed",
    "destination.added": "a destination was added",
    "destination.changed": "a destination was changed",
    "destination.removed": "a destination was removed",
    "drills.set": "which snapshots are drilled was changed",
    "installation.created": "the installation was made",
    "key.resealed": "what was sealed for an older key was sealed for the new one",
    "key.retired": "an older key was taken out of use",
    "key.shown": "the master key was handed out as text",
    "installation.recovered": "the installation was recovered from a destination with the recovery code",
    "key.restored": "the master key was put back from the recovery code",
    "key.rotated": "the master key was replaced",
    "key.recovery-confirmed": "the recovery code was confirmed",
    "operator.confirm-failed": "an operator did not know the password again",
    "operator.login-failed": "somebody failed to log in",
    "operator.added": "an operator was added",
    "operator.disabled": "an operator was shut out",
    "operator.enabled": "an operator was let in again",
    "operator.password-changed": "an operator changed the password",
    "operator.recovered": "an operator was let in by the recovery code",
    "operator.removed": "an operator was removed",
    "operator.reset": "an operator's password was reset",
    "operator.role-set": "an operator's role was changed",
    "recovery.gap": "a recovery found that a snapshot before others is not there",
    "recovery.kit-failed": "writing the recovery kit failed",
    "recovery.kit-written": "the recovery kit was written",
    "recovery.no-artifact": "a recovery found a manifest whose artifact is not there",
    "recovery.no-manifest": "a recovery found an artifact without a manifest",
    "recovery.not-reached": "a recovery could not reach another destination",
    "recovery.number-twice": "a recovery found a number that was given twice",
    "recovery.still-written": "a recovery found that somebody had just written to the destination",
    "recovery.unknown-connection": "a recovery found snapshots of a database that the kit does not name",
    "recovery.unreadable": "a recovery could not read a manifest",
    "recovery.wrong-size": "a recovery found an artifact of another size than was written",
    "recovery.verified": "the recovery code was proven to open what it has to open",
    "report.stamped": "a time stamp for a monthly report was had",
    "report.unstamped": "no time stamp for a monthly report could be had",
    "retention.paused": "deleting was paused",
    "retention.resumed": "deleting was resumed",
    "retention.set": "the rules of what is kept were changed",
    "retention.cleared": "the rules of what is kept were removed",
    "schedule.removed": "a schedule was removed",
    "schedule.set": "a schedule was set",
    "scratch.added": "a scratch server was added",
    "scratch.removed": "a scratch server was removed",
    "snapshot.pinned": "a snapshot was pinned",
    "snapshot.unpinned": "a snapshot's pin was taken off",
}


def event_words(kind: str) -> str:
    """``an operator was added`` of ``operator.added``; what is not known stays legible."""
    return _WORDS.get(kind, kind.replace(".", ": ").replace("-", " "))


_NAMES = {
    "backend": "keyring",
    "bundle_of": "kit of the host",
    "bundle_sealed_at": "kit written",
    "cron": "times",
    "destinations": "destinations read",
    "drills": "drilled",
    "enabled": "in force",
    "epoch": "number",
    "expect": "expected answer",
    "fields": "values sealed anew",
    "key_backend": "keyring",
    "kid": "key id",
    "lost": "snapshots lost",
    "objects": "files written",
    "recovery_kid": "recovery key id",
    "rows": "rows of the catalog",
    "sessions_ended": "logins ended",
    "steps": "things opened",
    "where": "place",
    "zone": "time zone",
}
_LEFT_OUT = re.compile(r"(?:^|, )(?:stamp|sha256): [0-9a-f]{64}(?=, |$)")
"""Which state a kit is of, and its hash: for the program alone; they stand in the record."""
_NAMED = re.compile(r"(^|, )([a-z][a-z_]*): (?:(True|False)(?=, |$))?")
_YES_NO = {"True": "yes", "False": "no", None: ""}


def detail_words(detail: str) -> str:
    """What an event says besides, ``name: value, …`` with its names in plain words."""
    without = _LEFT_OUT.sub("", detail).removeprefix(", ")
    return _NAMED.sub(
        lambda found: f"{found[1]}{_NAMES.get(found[2], found[2].replace('_', ' '))}: {_YES_NO[found[3]]}", without
    )
