"""Which bucket is meant: endpoint, region, bucket and prefix, each checked before anything is sent anywhere.

An endpoint is where keys go, so it is refused unless it is what it looks like: http or https, a host, perhaps a port,
nothing else. Plain http is for this machine alone unless the operator agreed to it. Addresses that no storage has
(link-local, which is where clouds keep their instance metadata, multicast, unspecified, and numbers in disguise) are
refused by text here and, when a name resolves to one, before the first connection.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from engine.errors import ConfigError, StoreError
from engine.storage.base import validate_key
from engine.storage.s3.profiles import Profile, profile_of

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""The naming rules of S3: 3 to 63 small letters, digits, dots and dashes."""
_REGION = re.compile(r"[A-Za-z0-9-]{1,40}")
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_ENDPOINT_HINT = "Give a URL without path and password, such as `https://s3.example.com`."
_MAX_CA_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: until a connection stands, and without a byte before an answer counts as lost."""

    connect_s: float = 10.0
    read_s: float = 60.0


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """A place in a bucket. ``prefix`` has no slash at either end and may be empty; made by :func:`bucket_address`."""

    profile: Profile
    bucket: str
    endpoint: str
    region: str
    prefix: str
    ca_pem: str | None
    allow_http: bool

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    @property
    def encrypted(self) -> bool:
        return self.endpoint.startswith("https://")

    @property
    def virtual(self) -> bool:
        """Whether the bucket is part of the host's name instead of the path."""
        return not self.profile.path_style and "." not in self.bucket

    def full(self, key: str) -> str:
        """The key within the bucket of ``key``, which is relative to the prefix."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def relative(self, full: str) -> str:
        """The inverse of :meth:`full`."""
        return full[len(self.prefix) + 1 :] if self.prefix else full

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"


def bucket_address(
    *,
    bucket: str,
    provider: str = "s3",
    endpoint: str | None = None,
    region: str | None = None,
    prefix: str | None = None,
    ca_pem: str | None = None,
    allow_http: bool = False,
) -> BucketAddress:
    """Check every part and fill in what the provider's profile knows. Raises ConfigError ``config.invalid``."""
    profile = profile_of(provider)
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or _is_number(bucket):
        raise ConfigError(
            "config.invalid",
            f"{bucket[:80]!r} cannot be a bucket",
            hint="A bucket's name has 3 to 63 small letters, digits, dots and dashes.",
        )
    region = region or _region_in(endpoint, profile) or profile.region
    if region is None:
        raise ConfigError(
            "config.invalid",
            f"the region of the {profile.title} bucket is not known",
            hint="Say it with `--region`: it is in the endpoint that the provider shows, such as `us-west-004`.",
        )
    if not _REGION.fullmatch(region):
        raise ConfigError("config.invalid", f"{region[:80]!r} cannot be a region", hint="Say it like `eu-central-1`.")
    return BucketAddress(
        profile=profile,
        bucket=bucket,
        endpoint=_endpoint(profile, endpoint, region, allow_http=allow_http),
        region=region,
        prefix=_prefix(prefix or ""),
        ca_pem=_ca(ca_pem),
        allow_http=allow_http,
    )


def refuse_forbidden_addresses(address: BucketAddress) -> None:
    """Raise ConfigError when the endpoint's name leads to an address that no storage has. A name that does not resolve
    is left to the connection, which says so better."""
    try:
        found = socket.getaddrinfo(address.host, None, type=socket.SOCK_STREAM)
    except OSError:
        return
    for *_, where in found:
        _refuse_address(address.endpoint, ipaddress.ip_address(str(where[0]).partition("%")[0]))


def _region_in(endpoint: str | None, profile: Profile) -> str | None:
    """The region that an endpoint of the provider's own names."""
    if endpoint is None or profile.endpoint is None:
        return None
    before, _, after = profile.endpoint.partition("{region}")
    given = endpoint.strip().rstrip("/").lower()
    named = given.removeprefix(before).removesuffix(after)
    return named if given == f"{before}{named}{after}" and re.fullmatch(r"[a-z0-9-]+", named) else None


def _endpoint(profile: Profile, given: str | None, region: str, *, allow_http: bool) -> str:
    if given is None:
        if profile.endpoint is None:
            raise ConfigError(
                "config.invalid",
                f"a {profile.title} bucket needs its endpoint",
                hint=f"Say it with `--endpoint {profile.example}`.",
            )
        return profile.endpoint.format(region=region)
    endpoint = given.strip()
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as e:
        raise ConfigError("config.invalid", "the endpoint is no URL", hint=_ENDPOINT_HINT) from e
    if parts.username is not None or parts.password is not None or "@" in endpoint:
        raise ConfigError("config.invalid", "the endpoint has a user or a password in it", hint=_ENDPOINT_HINT)
    host = parts.hostname or ""
    plain = endpoint.isascii() and endpoint.isprintable() and "\\" not in endpoint and "%" not in endpoint
    if parts.scheme not in ("http", "https") or not host or port == 0 or not plain:
        raise ConfigError("config.invalid", f"{endpoint[:80]!r} is no endpoint", hint=_ENDPOINT_HINT)
    if parts.path not in ("", "/") or parts.query or parts.fragment or "?" in endpoint or "#" in endpoint:
        raise ConfigError(
            "config.invalid",
            "the endpoint has more than a host and a port",
            hint=f"{_ENDPOINT_HINT} The bucket is said with `--bucket`, a path within it with `--prefix`.",
        )
    literal = _check_host(endpoint, host)
    if parts.scheme == "http" and not allow_http and not _is_loopback(host, literal):
        raise ConfigError(
            "config.invalid",
            f"the endpoint {endpoint} is not encrypted",
            hint="Use https. If the network between here and there is trusted, say so with `--allow-http`.",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


def _check_host(endpoint: str, host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that ``host`` is, None for a name. Raises ConfigError for what no storage has as its address."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        if _is_number(host.rstrip(".").rpartition(".")[2]) or not _HOST.fullmatch(host) or len(host) > 253:
            raise ConfigError(
                "config.invalid", f"{host[:80]!r} is neither a host name nor an address", hint=_ENDPOINT_HINT
            ) from None
        return None
    _refuse_address(endpoint, literal)
    return literal


def _refuse_address(endpoint: str, literal: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = literal.ipv4_mapped if isinstance(literal, ipaddress.IPv6Address) else None
    real = mapped or literal
    strange = real.is_link_local or real.is_multicast or real.is_unspecified or real.is_reserved
    if mapped is not None or (strange and not real.is_loopback):  # of IPv6 ::1 counts as reserved, too
        raise ConfigError(
            "config.invalid",
            f"the endpoint {endpoint[:80]} leads to {literal}, which is no address of a storage",
            hint="Give the host name of the storage.",
        )


def _is_number(label: str) -> bool:
    """Whether a C library would read ``label`` as a number: decimal, octal or hexadecimal."""
    return re.fullmatch(r"[0-9.]+|0[xX][0-9a-fA-F]*", label) is not None


def _is_loopback(host: str, literal: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    return literal.is_loopback if literal is not None else host == "localhost" or host.endswith(".localhost")


def _prefix(text: str) -> str:
    prefix = text.strip("/")
    if not prefix:
        return ""
    try:
        validate_key(f"{prefix}/v1")
    except StoreError as e:
        raise ConfigError("config.invalid", f"the prefix cannot be used: {e.message}", hint=e.hint) from e
    if len(prefix.encode()) > 512:
        raise ConfigError(
            "config.invalid", "the prefix is longer than 512 bytes", hint="Keys need room behind it: S3 allows 1,024."
        )
    return prefix


def _ca(text: str | None) -> str | None:
    """The CA bundle, held against OpenSSL. Raises ConfigError when it holds no certificate, or a private key."""
    if text is None:
        return None
    if len(text) > _MAX_CA_BYTES or "PRIVATE KEY" in text:
        raise ConfigError(
            "config.invalid",
            "the CA file is too large or holds a private key",
            hint="Give the CA's certificate alone, as PEM.",
        )
    # imported here: ssl takes 20 ms and only buckets with a CA of their own need it
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as e:
        raise ConfigError(
            "config.invalid",
            "the CA file holds no certificate in PEM",
            hint="It begins with `-----BEGIN CERTIFICATE-----`.",
        ) from e
    return text
