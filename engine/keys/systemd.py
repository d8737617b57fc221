"""systemd credentials as a read-only ``keyring`` backend, and the text that sets them up.

A service with ``LoadCredentialEncrypted=`` finds its master key, decrypted with the machine's TPM or host key, as a
file in ``$CREDENTIALS_DIRECTORY`` that only it can read; the key survives reboots without a desktop session. The room
writes nothing: systemd-creds does, with the key on its standard input.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.compat import properties
from keyring.errors import PasswordDeleteError, PasswordSetError

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
UNIT = "offsitedb-worker.service"
_STORE_DIRECTORY = "/etc/credstore.encrypted"  # systemd.exec(5)
_SERVICE = re.compile(r"[0-9a-z-]+/([0-9A-Za-z][0-9A-Za-z-]{0,63})")
_USER = re.compile(r"master/([1-9][0-9]{0,8})")
_MAX_CREDENTIAL_BYTES = 4_096


class SystemdCredentials(KeyringBackend):
    """Reads ``offsitedb-<catalog id>-master-<epoch>`` from the service's credentials."""

    @properties.classproperty
    def priority(self) -> float:
        """Low: it cannot store. Raises RuntimeError outside of a service with credentials."""
        check_usable()
        return 0.4

    def get_password(self, service: str, username: str) -> str | None:
        """The text of the credential, or None when the service was given none. Raises OSError."""
        catalog, epoch = _SERVICE.fullmatch(service), _USER.fullmatch(username)
        directory = os.environ.get(CREDENTIALS_VARIABLE)
        if catalog is None or epoch is None or directory is None:
            return None
        path = Path(directory) / credential_name(catalog[1], int(epoch[1]))
        try:
            with path.open("rb") as credential:
                return credential.read(_MAX_CREDENTIAL_BYTES).decode("ascii").strip()
        except FileNotFoundError:
            return None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Always raises keyring's PasswordSetError."""
        del service, username, password
        raise PasswordSetError(
            "systemd credentials are read-only: `offsitedb key install-systemd` shows how to set them"
        )

    def delete_password(self, service: str, username: str) -> None:
        """Always raises keyring's PasswordDeleteError."""
        del service, username
        raise PasswordDeleteError("systemd credentials are read-only: delete the file below " + _STORE_DIRECTORY)


def check_usable() -> None:
    """Raise RuntimeError unless this process was given a credentials directory."""
    directory = os.environ.get(CREDENTIALS_VARIABLE)
    if not directory:
        raise RuntimeError("this process is no systemd service with credentials")
    if not Path(directory).is_dir():
        raise RuntimeError("the systemd credentials directory does not exist")


def credential_name(catalog_id: str, epoch: int) -> str:
    """The name of the credential of one master epoch."""
    return f"offsitedb-{catalog_id}-master-{epoch}"


def render_install(catalog_id: str, epochs: Sequence[int], *, retired: Sequence[int] = (), unit: str = UNIT) -> str:
    """The shell text that encrypts each epoch (read from standard input, never on a command line) and the drop-in.

    Running it again, after a rotation, replaces what it did before; ``retired`` epochs are removed. Raises ValueError
    for a catalog id or unit name that has no place in a file name.
    """
    if _SERVICE.fullmatch(f"offsitedb/{catalog_id}") is None:
        raise ValueError("not a catalog id")
    if re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z@_.-]{0,200}\.service", unit) is None:
        raise ValueError("not the name of a service unit")
    drop_in = f"/etc/systemd/system/{unit}.d/offsitedb-key.conf"
    names = [credential_name(catalog_id, epoch) for epoch in epochs]
    encrypt = "\n".join(_encrypt(name, epoch) for name, epoch in zip(names, epochs, strict=True))
    loads = "\n".join(f"LoadCredentialEncrypted={name}:{_STORE_DIRECTORY}/{name}" for name in names)
    old = [f"{_STORE_DIRECTORY}/{credential_name(catalog_id, epoch)}" for epoch in retired]
    remove = f"\n# Nothing needs these any more.\nrm -f {shlex.join(old)}\n" if old else ""
    return f"""\
# Run as root. The key goes through a pipe: it is never on a command line, on the screen or in a file in clear.
install -d -m 0700 {_STORE_DIRECTORY}
{encrypt}

# Give it to the service.
install -d -m 0755 {shlex.quote(str(Path(drop_in).parent))}
cat > {shlex.quote(drop_in)} <<'END'
[Service]
{loads}
END
systemctl daemon-reload
systemctl restart {shlex.quote(unit)}
{remove}"""


def _encrypt(name: str, epoch: int) -> str:
    return f"""\
offsitedb key install-systemd --print-key --epoch {epoch} |
systemd-creds encrypt --name={shlex.quote(name)} - {shlex.quote(f"{_STORE_DIRECTORY}/{name}")}"""
