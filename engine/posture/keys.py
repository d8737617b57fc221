"""Credentials at rest: the master key, the recovery code, and what is sealed."""

from __future__ import annotations

from collections.abc import Iterator

from engine.model.posture import Statement
from engine.posture.facts import Looked
from engine.posture.wording import UNKNOWN, WEAKER, ago, listed, plural, say

_KEYRINGS = {
    "secret-service": "the Secret Service of this account's session",
    "kwallet": "KWallet, in this account's session",
    "macos": "the macOS keychain",
    "windows": "the Windows credential manager",
    "systemd": "an encrypted systemd credential, bound to this machine",
}
_VERIFIED_DAYS = 180
_TYPE_BACK = "Try it: `offsitedb recovery verify`."


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
