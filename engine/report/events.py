"""What an event of the history is called in a report."""

from __future__ import annotations

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
    "connection.removed": "a database was removed",
    "connection.targets-set": "targets were set",
    "connection.scratch-set": "where a database is restored to in drills was changed",
    "connection.fingerprint-set": "whether contents are compared was changed",
    "connection.drift-limit-set": "how many rows may be lost unannounced was changed",
    "connection.worker-label-set": "which workers run a database's jobs was changed",
    "destination.added": "a destination was added",
    "destination.changed": "a destination was changed",
    "destination.removed": "a destination was removed",
    "installation.created": "the installation was made",
    "key.restored": "the master key was put back from the recovery code",
    "key.rotated": "the master key was replaced",
    "key.recovery-confirmed": "the recovery code was confirmed",
    "operator.added": "an operator was added",
    "operator.disabled": "an operator was shut out",
    "operator.enabled": "an operator was let in again",
    "operator.password-changed": "an operator changed the password",
    "operator.recovered": "an operator was let in by the recovery code",
    "operator.removed": "an operator was removed",
    "operator.reset": "an operator's password was reset",
    "operator.role-set": "an operator's role was changed",
    "retention.paused": "deleting was paused",
    "retention.resumed": "deleting was resumed",
    "retention.set": "the rules of what is kept were changed",
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
