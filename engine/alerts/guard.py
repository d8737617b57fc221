"""Which URLs alerts may be sent to, and which addresses: what keeps a channel from reaching into our own network.
Whoever is asked for time stamps is judged by the same rules.

A URL is judged when the channel is added, its addresses every time something is sent; the connection is then made to
the very address that was judged. Refused are userinfo, odd ports, redirects, addresses written in unusual ways, and
every address that is not on the public internet; a channel added with ``allow_private`` may reach private networks and
this machine, but never link-local addresses, where clouds keep their credentials.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from engine.errors import AlertFailed, ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]

PORTS = frozenset((443, 8443))
"""The ports of public services; a channel with ``allow_private`` may use any."""
LONGEST = 2000
MOST_ADDRESSES = 4
"""So many addresses of one name are tried."""

_PLAIN = re.compile(r"[\x21-\x7e]+")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_UNICAST6 = ipaddress.IPv6Network("2000::/3")
_UNIQUE_LOCAL6 = ipaddress.IPv6Network("fc00::/7")
_STRANGE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # Teredo, and what IETF protocols use
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
)
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local; the metadata services of clouds
        "100.100.100.200/32",  # the one of Alibaba Cloud
        "192.0.0.192/32",  # the one of Oracle Cloud
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/32",  # IPv4 inside IPv6; other forms of it are in no network that is allowed
        "2002::/16",
        "fd00:ec2::254/128",  # the metadata service of AWS
        "fd20:ce::254/128",  # the one of Google Cloud
    )
)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was judged, in its parts. ``path`` holds tokens: it is sent and never shown."""

    scheme: str
    host: str
    port: int
    path: str
    allow_private: bool

    @property
    def authority(self) -> str:
        """The host as its own server knows it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without what may be secret in it."""
        return f"{self.scheme}://{self.authority}{'/…' if self.path != '/' else '/'}"

    def at(self, address: str) -> str:
        """The same URL at one address, which leaves nothing to resolve."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def check_url(text: str, *, allow_private: bool) -> Target:
    """Judge ``text``. Raises ConfigError ``config.alert-url``; the message does not repeat the URL."""
    if not _PLAIN.fullmatch(text) or "\\" in text or len(text) > LONGEST:
        raise _refused(f"the URL must be 1 to {LONGEST} ASCII characters without blanks and backslashes")
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as e:
        raise _refused("the URL cannot be read") from e
    scheme = parts.scheme.lower()
    if scheme not in ("https", "http"):
        raise _refused("the URL does not begin with https://")
    if scheme == "http" and not allow_private:
        raise _refused("the URL has to begin with https://", "Give an https URL; http is for `--allow-private`.")
    if "@" in parts.netloc:
        raise _refused("the URL has a user or password in it", "Put the token where the service wants it: in the path.")
    if "#" in text:
        raise _refused("the URL has a fragment, which is never sent")
    literal = _host(host.removesuffix("."), bracketed=parts.netloc.startswith("["))
    if port is None:
        port = 443 if scheme == "https" else 80
    elif not port or (not allow_private and port not in PORTS):
        raise _refused(f"port {port} is none of a public service: {', '.join(map(str, sorted(PORTS)))}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(scheme, host.removesuffix("."), port, path, allow_private)
    if literal is not None and not allowed(literal, allow_private=allow_private):
        raise _refused(f"{literal} is not an address on the internet")
    return target


def addresses(target: Target, resolve: Resolve | None = None) -> tuple[str, ...]:
    """The addresses of ``target`` as they are now, each of them allowed.

    One that is not spoils them all: a name that points into our network is none of a service outside. Raises
    AlertFailed ``alert.refused``, ``alert.unreachable``.
    """
    try:
        found = (resolve or _resolve)(target.host, target.port)
    except OSError as e:
        raise AlertFailed("alert.unreachable", f"the host name {target.host} does not resolve", retry=True) from e
    judged: list[str] = []
    for text in dict.fromkeys(found):
        try:
            address = ipaddress.ip_address(text)
        except ValueError as e:
            raise AlertFailed("alert.refused", f"{target.host} resolves to something that is no address") from e
        if not allowed(address, allow_private=target.allow_private):
            raise AlertFailed("alert.refused", f"{target.host} leads to {address}, where nothing may be sent")
        judged.append(str(address))
    if not judged:
        raise AlertFailed("alert.unreachable", f"the host name {target.host} has no address", retry=True)
    return tuple(judged[:MOST_ADDRESSES])


def allowed(address: Address, *, allow_private: bool) -> bool:
    """Whether alerts may be sent to ``address``."""
    if any(address.version == net.version and address in net for net in _NEVER):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return False
    return _public(address) or (allow_private and _private(address))


def _public(address: Address) -> bool:
    if any(address.version == net.version and address in net for net in _STRANGE):
        return False
    if isinstance(address, ipaddress.IPv6Address) and (address not in _UNICAST6 or _isatap(address)):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _private(address: Address) -> bool:
    """Our own networks and this machine, in their usual forms."""
    if isinstance(address, ipaddress.IPv4Address):
        return True
    return address.is_loopback or address in _UNIQUE_LOCAL6 or (address in _UNICAST6 and not _isatap(address))


def _isatap(address: ipaddress.IPv6Address) -> bool:
    """Whether an IPv4 address is written inside."""
    return (int(address) >> 32) & 0xFFFF_FFFF in (0x0000_5EFE, 0x0200_5EFE)


def _host(host: str, *, bracketed: bool) -> Address | None:
    """The address that ``host`` is, None for a name. Raises ConfigError for what is neither."""
    if bracketed:
        try:
            return ipaddress.IPv6Address(host)
        except ValueError as e:
            raise _refused("the URL's host is no IPv6 address") from e
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("the URL's host is no name", "Write a name beyond ASCII in its `xn--` form.")
    if not _NUMBER.fullmatch(labels[-1]):
        return None
    try:
        return ipaddress.IPv4Address(host)  # four decimal numbers and nothing else
    except ValueError as e:
        raise _refused("the URL's host is an address in an unusual form", "Write it as four decimal numbers.") from e


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(where[0]) for *_, where in found]


def _refused(message: str, hint: str | None = None) -> ConfigError:
    return ConfigError("config.alert-url", message, hint=hint)
