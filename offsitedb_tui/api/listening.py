"""Where the server listens: a loopback port, a unix socket, or, with TLS alone, any address.

What could be heard by others in clear does not start: a key in clear is a key for everybody on the way.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ConfigError

DEFAULT = "127.0.0.1:8440"
_SOCKET_MODE = 0o660
_BACKLOG = 256


@dataclass(frozen=True, slots=True)
class Listening:
    """Open sockets, and how they are reached. ``tls`` None: plain HTTP, on this machine only."""

    sockets: tuple[socket.socket, ...]
    where: str
    tls: ssl.SSLContext | None
    unix: Path | None = None

    def close(self) -> None:
        for one in self.sockets:
            one.close()
        if self.unix is not None:
            self.unix.unlink(missing_ok=True)


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS 1.2 and newer with this certificate chain. Raises ConfigError ``api.listen``."""
    if (cert is None) != (key is None):
        raise ConfigError("api.listen", "a certificate needs its key", hint="Give both `--cert FILE` and `--key FILE`.")
    if cert is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as e:
        raise ConfigError(
            "api.listen",
            f"certificate and key cannot be used: {getattr(e, 'strerror', None) or e}",
            hint="Give PEM files that belong together and that this user may read; the key without a password.",
        ) from e
    return context


def listen_tcp(address: str, tls: ssl.SSLContext | None) -> Listening:
    """Listen on HOST:PORT. Raises ConfigError ``api.listen``."""
    host, port = _split(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as e:
        raise ConfigError("api.listen", f"{host} is no address of this machine: {e}") from e
    places = sorted({(family, sockaddr) for family, _, _, _, sockaddr in found})
    beyond = [str(sockaddr[0]) for _, sockaddr in places if not _loopback(str(sockaddr[0]))]
    if beyond and tls is None:
        raise ConfigError(
            "api.listen",
            f"{beyond[0]} can be reached from other machines, and there is no certificate",
            hint="Give `--cert FILE --key FILE`, or listen on this machine alone: `--listen 127.0.0.1:8440`.",
        )
    opened: list[socket.socket] = []
    try:
        for family, sockaddr in places:
            opened.append(_bound(family, sockaddr))
    except OSError as e:
        for one in opened:
            one.close()
        raise ConfigError("api.listen", f"cannot listen on {address}: {e.strerror or e}") from e
    shown = opened[0].getsockname()
    name = f"[{shown[0]}]" if ":" in shown[0] else shown[0]
    return Listening(tuple(opened), f"{'https' if tls else 'http'}://{name}:{shown[1]}", tls)


def listen_unix(path: Path) -> Listening:
    """Listen on a socket of the file system, for its user and group. Raises ConfigError ``api.listen``."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _take_away_dead(path)
        before = os.umask(0o777 & ~_SOCKET_MODE)
        try:
            one.bind(str(path))
        finally:
            os.umask(before)
        one.listen(_BACKLOG)
    except OSError as e:
        one.close()
        raise ConfigError("api.listen", f"cannot listen on {path}: {e.strerror or e}") from e
    return Listening((one,), f"unix:{path}", None, path)


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
        raise ConfigError("api.listen", f"{address[:80]!r} is not HOST:PORT")
    return host, int(port)


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _bound(family: int, sockaddr: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(sockaddr)
        one.listen(_BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _take_away_dead(path: Path) -> None:
    """A socket that nobody listens on is what a killed server left. Raises OSError when somebody does."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(17, "there is a file of that name")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(98, "another server listens there")


def _no_password() -> str:
    raise ValueError("the key has a password")
