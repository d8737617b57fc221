"""The sealed objects, where they lie, and the history that tells of them."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model.posture import Statement
from engine.posture.facts import Looked, Place, Unknown
from engine.posture.wording import UNKNOWN, WEAKER, Where, ago, instant, listed, plural, say
from engine.stream import container


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
                ("recipients of what is written now", f"{container.RECIPIENT_MASTER}, {container.RECIPIENT_RECOVERY}"),
                ("format", f"version {container.VERSION}, segments of {container.SEG:,} bytes, {container.COMP}"),
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
        if place.listing is None or place.listing.lock is None:
            yield _versions(place)
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
        (
            ("reconciled", seen.at),
            ("Object Lock", f"{seen.lock.mode} {until}"),
            ("versions", "kept: a lock is of a version"),
        ),
        **where,
    )


def _versions(place: Place) -> Statement:
    """Whether the bucket keeps what is overwritten or deleted: seen only when something is deleted."""
    where = Where(subject=place.name, place="settings:destinations")
    seen = ("last deleted", place.deleted_at or "nothing yet")
    if place.versions:
        return say(
            f"{place.name} keeps older versions: what was deleted there left one behind.",
            (seen, ("versions", "kept")),
            **where,
        )
    why = "what was deleted there left nothing to be seen" if place.deleted_at else "nothing was deleted there yet"
    return say(
        f"Whether {place.name} keeps older versions of what is overwritten or deleted is not known: {why}.",
        (seen, ("versions", "not asked")),
        UNKNOWN,
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
