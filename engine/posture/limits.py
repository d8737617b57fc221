"""What this is not: said with every posture, so that nobody takes it for more."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model.posture import Statement
from engine.posture.facts import Looked
from engine.posture.wording import LIMIT, say


def limits(looked: Looked) -> Iterator[Statement]:
    """What this is not."""
    version = ("program", f"offsitedb {looked.doctor.version}")
    looked_at = ("looked at", looked.at)
    newest = [s.proven_at for s in looked.sources if s.proven_at is not None]
    oldest = min(newest) if newest else None
    yield say(
        "This is no certificate: nobody audited this installation for SOC 2, ISO 27001 or anything else by writing"
        " this. It says what the program found about itself, at the moment of looking.",
        (version, looked_at),
        LIMIT,
    )
    yield say(
        "It is no replica and no point-in-time recovery: a database comes back as it was at a snapshot, and what was"
        " written since is lost.",
        (
            ("oldest of the newest proofs", oldest or "nothing was proven"),
            ("connections", len(looked.sources)),
        ),
        LIMIT,
    )
    yield say(
        "It backs up one database at a time and no server: roles, passwords, tablespaces and other databases are not in"
        " it. Owners and grants are not restored.",
        (("connections", len(looked.sources)), version),
        LIMIT,
    )
    yield say(
        "Signatures do not bind whoever holds the signing key: they could have written history anew before its first"
        " copy left this machine.",
        (("signing key", looked.history.signer[:16]), ("newest signed event", looked.history.signed)),
        LIMIT,
    )
    yield say(
        "It does not protect a machine from its own administrator: whoever controls the account of the worker can open"
        " what it can open.",
        (("OS account", looked.os_user), ("root", looked.root)),
        LIMIT,
    )
    yield say(
        "How to report a vulnerability, and which versions get fixes, is said in SECURITY.md, beside the source.",
        (version,),
        LIMIT,
    )
