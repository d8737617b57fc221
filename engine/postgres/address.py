"""What may stand in a connection string, and what a connection string is once it is understood.

A :class:`Conninfo` holds exactly the settings that we pass on, to psycopg and pg_dump alike. Keys come from an
allow-list; settings of other programs (Prisma, JDBC, Rails, …) are dropped with a note; what points to files or
services outside the string is refused with the reason. Reading pasted text is the business of ``conninfo``.

Certificates: a remote host without an ``sslmode`` gets ``verify-full`` against an explicit CA bundle. A unix socket or
a loopback address gets ``prefer``: nothing leaves the machine there, and servers seldom hold a certificate for
``localhost``. A weaker mode that somebody wrote down is kept, and shown as weaker wherever the connection is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import certifi

from engine.errors import ConfigError

DEFAULT_PORT = 5432
CONNECT_TIMEOUT_S = 15
"""Neon and Aurora Serverless wake up in 3 to 10 s; a firewall that drops packets is told from them after 15."""

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_CHANNEL_BINDING = ("disable", "prefer", "require")
_NEON_OPTIONS = re.compile(r"(?:endpoint|project)=[A-Za-z0-9-]{1,100}")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_ALLOWED = frozenset(
    (
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "password",
        "sslmode",
        "sslrootcert",
        "options",
        "connect_timeout",
        "channel_binding",
        "target_session_attrs",
    )
)

_REFUSED: Mapping[str, str] = {
    "passfile": "it names a file outside the connection string; write the password into the string, it is sealed",
    "service": "it names an entry of a file outside the connection string; write host, user and database instead",
    "servicefile": "it names a file outside the connection string; write host, user and database instead",
    "sslkey": "client certificates are files outside the connection string; use a password",
    "sslcert": "client certificates are files outside the connection string; use a password",
    "sslpassword": "client certificates are files outside the connection string; use a password",
    "sslcertmode": "client certificates are files outside the connection string; use a password",
    "sslcrl": "it names a file outside the connection string",
    "sslcrldir": "it names a directory outside the connection string",
    "krbsrvname": "Kerberos tickets lie outside the connection string; use a password",
    "gsslib": "Kerberos tickets lie outside the connection string; use a password",
    "gssdelegation": "Kerberos tickets lie outside the connection string; use a password",
    "requirepeer": "it is not supported",
    "require_auth": "it is not supported",
    "requiressl": "it is obsolete; write sslmode=require",
    "replication": "a backup needs an ordinary connection, not a replication one",
    "sslkeylogfile": "it writes the session's keys to a file",
}

_OTHERS_SETTINGS: tuple[tuple[str, str], ...] = (
    (
        "this program sets it itself",
        "application_name fallback_application_name client_encoding keepalives keepalives_idle keepalives_interval"
        " keepalives_count tcp_user_timeout gssencmode sslcompression sslsni ssl_min_protocol_version"
        " ssl_max_protocol_version sslnegotiation load_balance_hosts min_protocol_version max_protocol_version",
    ),
    (
        "it is a setting of Prisma",
        "pgbouncer connection_limit pool_timeout socket_timeout statement_cache_size sslaccept sslidentity",
    ),
    ("the whole database is captured, whatever the default schema", "schema currentschema search_path"),
    ("it is a setting of Supabase's tools", "supa workaround"),
    (
        "it is a setting of the JDBC driver",
        "ssl sslfactory preparethreshold applicationname logintimeout sockettimeout tcpkeepalive stringtype autosave"
        " rewritebatchedinserts binarytransfer loadbalancehosts targetservertype preparedstatementcachequeries"
        " preparedstatementcachesizemib defaultrowfetchsize loglevel connecttimeout canceltimeout",
    ),
    (
        "it is a setting of an application framework",
        "pool pool_size prepared_statements encoding reaping_frequency checkout_timeout timeout adapter"
        " prepared_statement_cache_size prepared_statement_name_func max_connections conn_max_age uselibpqcompat"
        " max_overflow charset serverversion driver",
    ),
    (
        "it is a setting of a Go driver",
        "pool_max_conns pool_min_conns pool_max_conn_lifetime pool_max_conn_idle_time pool_health_check_period"
        " default_query_exec_mode statement_cache_capacity statement_cache_mode binary_parameters",
    ),
    (
        "it is a setting of the .NET driver",
        "pooling minpoolsize maxpoolsize trustservercertificate includeerrordetail commandtimeout keepalive"
        " minimumpoolsize maximumpoolsize nopresetonclose multiplexing maxautoprepare persistsecurityinfo"
        " connectionidlelifetime cancellationtimeout",
    ),
)
_DROPPED = {key: reason for reason, keys in _OTHERS_SETTINGS for key in keys.split()}
KNOWN_KEYS = _ALLOWED | _REFUSED.keys() | _DROPPED.keys()

_PLACEHOLDER = re.compile(
    r"\[.*\]|<.*>|\{\{?.*\}\}?|\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|[*•.…]{3,}|x{6,}"
    r"|(?:\[|<)?your[-_ ]?(?:super[-_ ]?secret[-_ ]?)?(?:db[-_ ]?|database[-_ ]?)?password(?:\]|>)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Conninfo:
    """One understood connection string. ``host`` is a name, an address, or a socket directory (absolute path).

    ``sslrootcert`` is the CA file that somebody named, None = the bundle that comes with this program. ``notes`` say
    what was dropped or understood differently when it was read; they are not part of its identity.
    """

    host: str
    dbname: str
    user: str
    password: str | None = field(default=None, repr=False)
    port: int = DEFAULT_PORT
    sslmode: str = "verify-full"
    sslrootcert: str | None = None
    options: str | None = None
    connect_timeout_s: int = CONNECT_TIMEOUT_S
    channel_binding: str | None = None
    target_session_attrs: str | None = None
    hostaddr: str | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def unix_socket(self) -> bool:
        return self.host.startswith("/")

    @property
    def ca_file(self) -> str | None:
        """The CA file that libpq is told to use; None where the mode asks for no verification and nobody named one.

        libpq would turn ``require`` into ``verify-ca`` as soon as it is given a CA file.
        """
        if self.unix_socket:
            return None
        if self.sslrootcert is not None:
            return self.sslrootcert
        return certifi.where() if self.sslmode in ("verify-ca", "verify-full") else None

    def describe(self) -> str:
        """``user@host:port/dbname``, for people: no password in it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}/{self.dbname}"

    def secrets(self) -> tuple[str, ...]:
        """What :func:`engine.redact.holding` must mask while this connection is in use."""
        if not self.password:
            return ()
        escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")  # as it stands in a password file
        return tuple(dict.fromkeys((self.password, escaped)))

    def to_url(self) -> str:
        """The canonical URL, **with the password**: what is sealed. ``parse`` reads it back to an equal value."""
        user = quote(self.user, safe="")
        secret = "" if self.password is None else ":" + quote(self.password, safe="")
        host = f"[{self.host}]" if ":" in self.host and not self.unix_socket else quote(self.host, safe="")
        settings = {
            "sslmode": self.sslmode,
            "sslrootcert": self.sslrootcert,
            "options": self.options,
            "connect_timeout": None if self.connect_timeout_s == CONNECT_TIMEOUT_S else str(self.connect_timeout_s),
            "channel_binding": self.channel_binding,
            "target_session_attrs": self.target_session_attrs,
            "hostaddr": self.hostaddr,
        }
        query = "&".join(f"{k}={quote(v, safe='')}" for k, v in settings.items() if v is not None)
        return f"postgresql://{user}{secret}@{host}:{self.port}/{quote(self.dbname, safe='')}?{query}"


def refuse(message: str, hint: str | None = None) -> ConfigError:
    """The one error of this room: ``config.conninfo``. Never put a part of the string into it that may be secret."""
    return ConfigError("config.conninfo", message, hint=hint)


def build(settings: Mapping[str, str], notes: tuple[str, ...] = ()) -> Conninfo:
    """A :class:`Conninfo` from decoded settings by libpq's names. Raises ConfigError ``config.conninfo``."""
    kept, dropped = _sift(settings)
    for key, value in kept.items():
        if _CONTROL.search(value):
            raise refuse(f"{key} contains a control character", "Paste the connection string as one line.")
    password = _password(kept.get("password"))
    host, hostaddr = _hosts(kept)
    user, dbname = kept.get("user", ""), kept.get("dbname", "")
    if not user:
        raise refuse(
            "there is no user name", "Write it before the host: `postgresql://USER:PASSWORD@HOST:5432/DBNAME`."
        )
    if not dbname:
        raise refuse("there is no database name", "Write it behind the port: `postgresql://USER@HOST:5432/DBNAME`.")
    for what, value in (("user name", user), ("database name", dbname), ("host", host)):
        if _PLACEHOLDER.fullmatch(value) and value[0] in "[<{$":
            raise refuse(f"the {what} is still a placeholder", f"Replace {value} by the real {what}.")
    timeout_s, timeout_note = _timeout(kept.get("connect_timeout"))
    return Conninfo(
        host=host,
        hostaddr=hostaddr,
        port=_port(kept.get("port")),
        dbname=dbname,
        user=user,
        password=password,
        sslmode=_sslmode(kept.get("sslmode"), host, hostaddr),
        sslrootcert=_ca(kept.get("sslrootcert")),
        options=_options(kept.get("options")),
        connect_timeout_s=timeout_s,
        channel_binding=_choice("channel_binding", kept.get("channel_binding"), _CHANNEL_BINDING),
        target_session_attrs=_choice("target_session_attrs", kept.get("target_session_attrs"), _SESSION_ATTRS),
        notes=notes + dropped + timeout_note,
    )


def is_loopback(host: str) -> bool:
    """Whether nothing sent to ``host`` leaves the machine: a unix socket, ``localhost``, 127.0.0.0/8, ::1."""
    if host.startswith("/") or host.lower() in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def _sift(settings: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Split into what we keep and notes about what is dropped; refuse the rest."""
    kept: dict[str, str] = {}
    notes: list[str] = []
    for key, value in settings.items():
        if key in _ALLOWED:
            kept[key] = value
            continue
        if key in _REFUSED:
            raise refuse(f"{key} is not allowed in a connection string here: {_REFUSED[key]}", f"Remove {key}.")
        reason = _DROPPED.get(key) or _DROPPED.get(key.lower().replace(" ", "").replace("_", ""))
        reason = reason or _DROPPED.get(key.lower())
        if reason is None:
            shown = key if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_. -]{0,40}", key) else "a setting"
            raise refuse(
                f"{shown} is not a setting that is known here",
                "Remove it; if it is a part of the password, percent-encode the password's special characters.",
            )
        notes.append(f"dropped {key}: {reason}")
    return kept, tuple(notes)


def _password(password: str | None) -> str | None:
    if not password:
        return None
    if _PLACEHOLDER.fullmatch(password):
        raise refuse(
            "the password is still the placeholder of the page it was copied from",
            "Replace the placeholder, brackets included, by the database password, then paste the string again.",
        )
    return password


def _hosts(kept: Mapping[str, str]) -> tuple[str, str | None]:
    host, hostaddr = kept.get("host", ""), kept.get("hostaddr") or None
    if "," in host or "," in (hostaddr or "") or "," in kept.get("port", ""):
        raise refuse(
            "there is more than one host",
            "Name one host, the one that should be read: a snapshot is taken on exactly one server.",
        )
    if hostaddr is not None:
        try:
            ipaddress.ip_address(hostaddr)
        except ValueError as e:
            raise refuse("hostaddr is not an IP address", "Write the name of the server as host instead.") from e
        host = host or hostaddr
    if not host:
        raise refuse("there is no host", "Write a host name, an address, or the directory of a unix socket.")
    if host.startswith("/"):
        return host, hostaddr
    address = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in address:
        try:
            ipaddress.IPv6Address(address)
        except ValueError as e:
            raise refuse("the host is not a host name and not an IPv6 address") from e
        return address, hostaddr
    if not _HOST.fullmatch(host) and not (host[0] in "[<{$" and _PLACEHOLDER.fullmatch(host)):
        raise refuse(
            "the host is not a host name",
            "If the password contains one of @ / ? # : % write that character percent-encoded: @ is %40, / is %2F,"
            " ? is %3F, # is %23, : is %3A, % is %25.",
        )
    return host, hostaddr


def _port(text: str | None) -> int:
    if text is None or text == "":
        return DEFAULT_PORT
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise refuse("the port is not a number from 1 to 65535")
    return int(text)


def _sslmode(text: str | None, host: str, hostaddr: str | None) -> str:
    chosen = _choice("sslmode", text or None, SSLMODES)
    return chosen or ("prefer" if is_loopback(hostaddr or host) else "verify-full")


def _ca(text: str | None) -> str | None:
    if not text or text == "system":  # libpq before 16 does not know "system"; the bundle means the same roots
        return None
    if not text.startswith("/"):
        raise refuse("sslrootcert is not an absolute path", "Write the full path of the CA file, or leave it away.")
    return text


def _options(text: str | None) -> str | None:
    if not text:
        return None
    if not _NEON_OPTIONS.fullmatch(text):
        raise refuse(
            "options may only name a Neon endpoint here: anything else changes how the database is read",
            "Remove options; timeouts and the search path are set by this program.",
        )
    return text


def _timeout(text: str | None) -> tuple[int, tuple[str, ...]]:
    if text is None or text == "":
        return CONNECT_TIMEOUT_S, ()
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise refuse("connect_timeout is not a number of seconds")
    if not 2 <= int(text) <= 600:  # libpq: 0 waits for ever, and less than 2 s is not possible
        return CONNECT_TIMEOUT_S, (f"connect_timeout is {CONNECT_TIMEOUT_S} s: {text} s is not usable",)
    return int(text), ()


def _choice(key: str, text: str | None, allowed: tuple[str, ...]) -> str | None:
    if not text:
        return None
    if text.lower() not in allowed:
        raise refuse(f"{key} is none of {', '.join(allowed)}")
    return text.lower()
