"""Data keys: one random key per artifact, wrapped for the master key and for the recovery code.

Both wraps are bound to artifact and connection, so a recipient copied into another header opens nothing. The room
names the key ids when no recipient fits; it never tries a key whose id does not match.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from engine import floe
from engine.errors import FormatError
from engine.keys.binding import bind, from_base64url, show_kid, to_base64url
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode, RecoveryPublic
from engine.model import Recipient

DEK_LEN = 32
RECIPIENT_MASTER = "master"
RECIPIENT_RECOVERY = "hpke-mlkem768x25519"


def new_dek() -> bytes:
    """A random data key, 32 bytes, for one artifact and never a second."""
    return secrets.token_bytes(DEK_LEN)


def wrap_dek(
    dek: bytes, master: MasterKey, recovery_public: RecoveryPublic, *, artifact_id: str, connection_id: str
) -> tuple[Recipient, Recipient]:
    """The two recipients of an artifact's header. Raises ValueError for a key of the wrong length."""
    if len(dek) != DEK_LEN:
        raise ValueError(f"a data key has {DEK_LEN} bytes, not {len(dek)}")
    by_master = floe.seal(_wrap_key(master), _dek_aad(master.kid, artifact_id, connection_id), dek)
    by_code = recovery_public.seal(_dek_aad(recovery_public.kid, artifact_id, connection_id), dek)
    return (
        Recipient(RECIPIENT_MASTER, master.kid, to_base64url(by_master)),
        Recipient(RECIPIENT_RECOVERY, recovery_public.kid, to_base64url(by_code)),
    )


def unwrap_dek(
    recipients: Sequence[Recipient], masters: Sequence[MasterKey], *, artifact_id: str, connection_id: str
) -> bytes:
    """The data key, by whichever of ``masters`` (all epochs at hand) the artifact was sealed under.

    Raises FormatError: ``format.wrong-key`` naming the key ids when none fits, ``format.header`` when the one that
    fits does not open.
    """
    ours = {master.kid: master for master in masters}
    for recipient in recipients:
        if recipient.t == RECIPIENT_MASTER and recipient.kid in ours:
            master = ours[recipient.kid]
            aad = _dek_aad(master.kid, artifact_id, connection_id)
            try:
                dek = floe.open_sealed(_wrap_key(master), aad, from_base64url(recipient.ct), max_bytes=DEK_LEN)
            except (FormatError, ValueError) as e:
                raise FormatError("format.header", "the wrapped data key was altered, or is of another artifact") from e
            return _checked(dek)
    raise _wrong_key(recipients, RECIPIENT_MASTER, "keyring holds", list(ours))


def unwrap_dek_with_recovery(
    recipients: Sequence[Recipient], code: RecoveryCode, *, artifact_id: str, connection_id: str
) -> bytes:
    """The data key, by the recovery code. Raises FormatError as :func:`unwrap_dek`."""
    kid = code.public.kid
    for recipient in recipients:
        if recipient.t == RECIPIENT_RECOVERY and recipient.kid == kid:
            try:
                sealed = from_base64url(recipient.ct)
            except ValueError as e:
                raise FormatError("format.header", "the wrapped data key was altered") from e
            return _checked(code.open(_dek_aad(kid, artifact_id, connection_id), sealed))
    raise _wrong_key(recipients, RECIPIENT_RECOVERY, "the recovery code is of", [kid])


def _checked(dek: bytes) -> bytes:
    if len(dek) != DEK_LEN:
        raise FormatError("format.header", "the wrapped data key has the wrong length")
    return dek


def _wrong_key(recipients: Sequence[Recipient], kind: str, holder: str, kids: Sequence[str]) -> FormatError:
    needed = " and ".join(show_kid(r.kid) for r in recipients if r.t == kind) or "no key of this kind"
    held = " and ".join(show_kid(kid) for kid in kids) or "none"
    return FormatError("format.wrong-key", f"artifact sealed under {needed}, {holder} {held}")


def _wrap_key(master: MasterKey) -> bytes:
    return master.derive("odb/v1/wrap")


def _dek_aad(kid: str, artifact_id: str, connection_id: str) -> bytes:
    return bind("odb/v1/dek", kid, artifact_id, connection_id)
