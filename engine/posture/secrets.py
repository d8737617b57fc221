"""Credentials at rest, and the artifacts that they seal."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model.posture import Statement
from engine.posture.facts import Looked, Place, Unknown
from engine.posture.wording import LIMIT, UNKNOWN, WEAKER, Where, ago, instant, listed, plural, say

_KEYRINGS = {
    "secret-service": "the Secret Service of this account's session",
    "kwallet": "KWallet, in this account's session",
    "macos": "the macOS keychain",
    "windows": "the Windows credential manager",
    "systemd": "an encrypted systemd credential, bound to this machine",
}
_VERIFIED_DAYS = 180
_TYPE_BACK = "In the console: 6 Settings › Key and recovery, `f` types it back."


def at_rest(looked: Looked) -> Iterator[Statement]:
    """The master key, the recovery code, and what is sealed under them."""
    key = looked.doctor.key
    if key is None:
        yield say(
            "Where the master key is kept is not known: there is no installation here.",
            (("keyrings looked at", len(looked.doctor.keyrings)),),
            UNKNOWN,
        )
        return
    yield _keyring(looked)
    weak = [k.name for k in looked.doctor.keyrings if k.state == "key.weak-backend"]
    trusted = [k.name for k in looked.doctor.keyrings if k.usable]
    yield say(
        "There are keyrings here that are not trusted with a master key; this program does not use them."
        if weak
        else "Every keyring here that could be used is one that may hold a master key.",
        (("usable and trusted", listed(trusted) or "none"), ("not trusted", listed(weak) or "none")),
        place="settings:tools",
    )
    yield _age(looked)
    yield _recovery(looked)
    yield _sealed(looked, key.kid)


def _sealed(looked: Looked, kid: str) -> Statement:
    sealed = looked.sealed
    older = [k for k in sealed.kids if k != kid]
    facts = (
        ("cells that hold secrets", sealed.cells),
        ("sealed under", listed(sealed.kids) or "nothing yet"),
        ("not sealed", listed(sealed.open) or "none"),
    )
    if sealed.open:
        return say(
            f"{plural(len(sealed.open), 'cell')} of the catalog should be sealed and"
            f" {'is' if len(sealed.open) == 1 else 'are'} not: somebody altered the catalog.",
            facts,
            WEAKER,
            mend="Enter those secrets anew, and look for who wrote there: `offsitedb connection edit NAME --url`.",
        )
    under = "the master key" if not older else "the master key or one before it"
    return say(
        f"Connection strings, bucket keys, alert URLs and the signing key are sealed with AES-256-GCM under {under},"
        " each bound to its cell; they are opened in memory when a job needs them.",
        facts,
    )


def _keyring(looked: Looked) -> Statement:
    key = looked.doctor.key
    assert key is not None
    facts = (("keyring", key.backend), ("key id", key.kid), ("epoch", key.epoch), ("state", key.state))
    if key.state != "ok":
        return say(
            f"The master key should be in {key.backend}, and cannot be had now: {key.detail.split('. ')[0]}.",
            facts,
            WEAKER,
            mend="`offsitedb key restore` puts it back with the recovery code; `offsitedb key status` says what is"
            " wrong.",
            place="settings:key",
        )
    known = _KEYRINGS.get(key.backend)
    if known is not None:
        return say(f"The master key is in {known}, and in no file of ours.", facts, place="settings:key")
    if key.backend == "kernel":
        return say(
            "The master key is in the kernel's keyring of this account, in memory alone: it is gone when this machine"
            " restarts, and backups stop until somebody puts it back.",
            facts,
            WEAKER,
            mend="`offsitedb key install-systemd` makes it permanent, encrypted to this machine.",
            place="settings:key",
        )
    return say(
        f"The master key is {key.backend}: no keyring of this machine keeps it.",
        facts,
        WEAKER,
        mend="Begin with `offsitedb init`, which keeps the key in a keyring of the machine.",
        place="settings:key",
    )


def _age(looked: Looked) -> Statement:
    kept = looked.keys
    since = kept.rotated_at or kept.made_at
    facts = (
        ("made", kept.made_at),
        ("last rotation", kept.rotated_at or "never"),
        ("last put back with the recovery code", kept.restored_at or "never"),
    )
    age = ago(looked.at, since)
    how = f"was rotated {age}" if kept.rotated_at is not None else f"was never rotated; it was made {age}"
    return say(f"The master key {how}.", facts, place="settings:key")


def _recovery(looked: Looked) -> Statement:
    key, kept = looked.doctor.key, looked.keys
    assert key is not None
    facts = (
        ("recovery key id", key.recovery_kid),
        ("confirmed", key.recovery_confirmed_at or "never"),
        ("verified since, whole", kept.code_verified_at or "never"),
    )
    if key.recovery_confirmed_at is None:
        return say(
            "Nobody has confirmed that the recovery code is kept anywhere. When this machine is gone, it is the only"
            " way back to the snapshots.",
            facts,
            WEAKER,
            mend=_TYPE_BACK,
            place="settings:key",
        )
    newest = max(t for t in (key.recovery_confirmed_at, kept.code_verified_at) if t is not None)
    age = ago(looked.at, newest)
    if (looked.at - newest).days >= _VERIFIED_DAYS:
        return say(
            f"The recovery code was last confirmed {age}. Whether it can still be found is not known.",
            facts,
            WEAKER,
            mend=f"Take it from where it is kept. {_TYPE_BACK}",
            place="settings:key",
        )
    return say(
        f"The recovery code was confirmed {age}. This machine does not keep it; where it is kept only people know.",
        facts,
        place="settings:key",
    )


def artifacts(looked: Looked) -> Iterator[Statement]:
    """The sealed objects and where they lie."""
    key = looked.doctor.key
    newest = [s for s in looked.sources if s.taken is not None]
    if newest and key is not None:
        others = sorted({s.taken.kid for s in newest if s.taken is not None and s.taken.kid != key.kid})
        yield say(
            "Every snapshot is sealed before it leaves this machine: AES-256-GCM in segments (FLOE, key-committing),"
            " its key wrapped for the master key and for the recovery code (HPKE, ML-KEM-768 with X25519).",
            (
                ("connections with snapshots", len(newest)),
                ("sealed for the key", key.kid if not others else f"{key.kid}, and older ones: {listed(others)}"),
                ("and for the recovery key", key.recovery_kid),
                *((f"SHA-256 of the newest of {s.name}", s.taken.sha256) for s in newest[:10] if s.taken is not None),
            ),
        )
    else:
        yield say(
            "Nothing was sealed yet: there is no snapshot.",
            (("connections", len(looked.sources)), ("snapshots", 0)),
            place="connections",
        )
    for place in looked.places:
        yield from _kept(looked, place)
    history = looked.history
    ends = f"up to event {history.signed}" if history.signed_at is not None else "nowhere yet"
    yield say(
        f"What happens is kept as a chain of hashes of {plural(history.events, 'event')}, signed {ends}. Receipts and"
        " manifests are signed with the same key.",
        (
            ("events", history.events),
            ("newest signed", history.signed),
            ("signed", history.signed_at),
            ("signing key", history.signer[:16]),
        ),
    )


def _kept(looked: Looked, place: Place) -> Iterator[Statement]:
    where = Where(subject=place.name, place="settings:destinations")
    if place.endpoint is None:
        yield _folder(place)
    elif place.prunes:
        yield say(
            f"Snapshots in {place.name} can be deleted with a prune credential of its own; the worker's key need not be"
            " able to. What rights the provider gives each of the two is not asked.",
            (("prune credential", True), ("policies that remove", place.policies)),
            **where,
        )
    elif place.policies:
        yield say(
            f"Retention removes snapshots in {place.name} with the key that writes them: whoever steals that key can"
            " delete the backups.",
            (("prune credential", False), ("policies that remove", place.policies)),
            WEAKER,
            mend=f"`offsitedb destination policy {place.name}` prints both policies, `offsitedb destination edit"
            f" {place.name} --prune-key` takes the second key.",
            **where,
        )
    else:
        yield say(
            f"Nothing removes snapshots in {place.name}: there is no prune credential and no retention policy.",
            (("prune credential", False), ("policies that remove", 0)),
            **where,
        )
    if place.endpoint is not None:
        yield _lock(place)
    yield _listing(looked, place)


def _folder(place: Place) -> Statement:
    where = Where(subject=place.name, place="settings:destinations")
    facts = (("folder", place.where), ("on the file system of the installation", _told(place.beside)))
    if isinstance(place.beside, Unknown):
        return say(
            f"Whether the folder of {place.name} is off-site is not known: {place.beside.why}.", facts, UNKNOWN, **where
        )
    if place.beside:
        return say(
            f"{place.name} is a folder on the file system of this installation: what destroys the machine destroys its"
            " backups.",
            facts,
            WEAKER,
            mend="`offsitedb destination add NAME --bucket B --region R`, then"
            " `offsitedb connection edit C --destination NAME`.",
            **where,
        )
    return say(
        f"{place.name} is a folder on another file system than this installation's. Whether that is another machine is"
        " not known: the file system does not say it.",
        facts,
        UNKNOWN,
        **where,
    )


def _told(value: bool | Unknown) -> object:
    return f"not known: {value.why}" if isinstance(value, Unknown) else value


def _lock(place: Place) -> Statement:
    where = Where(subject=place.name, place="settings:destinations")
    seen = place.listing
    if seen is None or not seen.snapshots:
        return say(
            f"Whether {place.name} locks what is written is not known: it is read from its newest snapshot when it is"
            " reconciled.",
            (("reconciled", seen.at if seen is not None else "never"), ("Object Lock", "not looked at")),
            UNKNOWN,
            **where,
        )
    if seen.lock is None:
        return say(
            f"The newest snapshot in {place.name} has no Object Lock: whoever may delete there can delete it.",
            (("reconciled", seen.at), ("Object Lock", None)),
            WEAKER,
            mend="Give the bucket a default retention at the provider, take a checkpoint, then"
            f" `offsitedb reconcile {place.name}`.",
            **where,
        )
    until = f"until {instant(seen.lock.until)}" if seen.lock.until is not None else "without a date"
    return say(
        f"The newest snapshot in {place.name} is locked by its provider ({seen.lock.mode}) {until}.",
        (("reconciled", seen.at), ("Object Lock", f"{seen.lock.mode} {until}")),
        **where,
    )


def _listing(looked: Looked, place: Place) -> Statement:
    where = Where(subject=place.name, place="settings:destinations")
    seen = place.listing
    if seen is None:
        return say(
            f"Whether everything that the ledger names lies in {place.name} is not known: it was never reconciled.",
            (("reconciled", "never"), ("snapshots in the ledger", place.snapshots)),
            UNKNOWN,
            **where,
        )
    facts = (("reconciled", seen.at), ("snapshots", seen.snapshots), ("agrees", seen.agrees))
    if not seen.agrees:
        return say(
            f"What lies in {place.name} does not agree with the ledger.",
            facts,
            WEAKER,
            mend=f"`offsitedb reconcile {place.name}` names every difference.",
            **where,
        )
    return say(f"What lies in {place.name} agreed with the ledger {ago(looked.at, seen.at)}.", facts, **where)


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
