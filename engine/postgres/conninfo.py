"""Reading what people paste: URLs, key=value strings, JDBC, .NET, ``psql`` commands and lines of an .env file.

Only the text is taken apart here; ``address`` decides what the settings mean and whether they may stand. A password
with unencoded special characters is understood where there is exactly one way to read it, and refused with the
encoding to write where there are two. No part of the text that may be a password gets into a message.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from urllib.parse import unquote

from engine.errors import ConfigError
from engine.postgres.address import KNOWN_KEYS, Conninfo, build, refuse

__all__ = ["LONGEST", "Conninfo", "parse"]

LONGEST = 8192
"""Characters. The longest real strings (a JWT as password) have under 2,000."""

_SCHEME = re.compile(r"(?P<jdbc>jdbc:)?(?P<scheme>[A-Za-z][A-Za-z0-9.+-]*)://", re.IGNORECASE)
_POSTGRES = re.compile(r"postgres(?:ql)?(?P<dialect>\+[a-z0-9]+)?|postgis|pgsql", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?:export\s+|set\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*(?P<value>\S.*)", re.DOTALL)
_TOKEN = re.compile(
    r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"
    r"(?:'((?:[^'\\]|\\.)*)'(?=\s|$)|((?:[^\s\\']|\\.)(?:[^\s\\]|\\.)*|))",
    re.DOTALL,
)
_LOCATION = re.compile(
    r"(?P<hosts>(?:\[[^\]@/?#]*\]|[^\s@/?#:\[\]]*)(?::[0-9]*)?(?:,(?:\[[^\]@/?#]*\]|[^\s@/?#:\[\]]*)(?::[0-9]*)?)*)"
    r"(?:/(?P<dbname>[^/?#@]*)/?)?"
    r"(?:\?(?P<query>[^#]*))?"
)
_PAIRS = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_.-]*=[^&]*(?:&|$))*")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_ENCODE_HINT = (
    "Percent-encode the special characters of the password: @ is %40, / is %2F, ? is %3F, # is %23, : is %3A, % is %25."
)
_PAIR = re.compile(r"(?:" + "|".join(sorted(KNOWN_KEYS)) + r")\s*=")
_DOTNET = re.compile(r"(?:^|;)\s*(?:host|server|data source)\s*=[^;]*;?", re.IGNORECASE)
_DOTNET_NAMES = {
    "server": "host",
    "data source": "host",
    "username": "user",
    "user id": "user",
    "userid": "user",
    "user name": "user",
    "uid": "user",
    "pwd": "password",
    "database": "dbname",
    "initial catalog": "dbname",
    "ssl mode": "sslmode",
    "sslmode": "sslmode",
    "root certificate": "sslrootcert",
    "timeout": "connect_timeout",
}
_PSQL_FLAGS = {"-h": "host", "--host": "host", "-p": "port", "--port": "port", "-U": "user", "--username": "user"}
_PSQL_NAMES = {"-d": "dbname", "--dbname": "dbname"}
_PSQL_IGNORED = ("-w", "-W", "-X", "--no-password", "--password", "--no-psqlrc")
_VARIABLES = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGDATABASE": "dbname",
    "PGPASSWORD": "password",
    "PGSSLMODE": "sslmode",
}


def parse(text: str) -> Conninfo:
    """Understand a pasted connection string. Raises ConfigError ``config.conninfo`` with the reason."""
    if len(text) > LONGEST:
        raise refuse(f"the text is longer than {LONGEST} characters", "Paste the connection string alone.")
    stripped = _strip(text)
    if not stripped:
        raise refuse("there is no text")
    if re.search(r"[\r\n\x00]", stripped):
        raise refuse("the text has more than one line", "Paste the connection string alone, as one line.")
    return _read(stripped, ())


def _read(text: str, notes: tuple[str, ...]) -> Conninfo:
    if _command(text):
        return _read_command(text)
    if _SCHEME.match(text):
        return _read_url(text, notes)
    if ";" in text and _DOTNET.search(text) and not _reads_as_pairs(text):
        return build(_split_dotnet(text), notes)
    if re.match(r"[A-Za-z_][A-Za-z0-9_]*\s*=", text):
        return build(_split_pairs(text), notes)
    raise refuse(
        "the text is neither a URL nor a list of key=value settings",
        "Paste the connection string of the provider's page, for example `postgresql://reader:…@host:5432/dbname`.",
    )


def _strip(text: str) -> str:
    """Take away what came along in the paste: spaces, quotes, a semicolon or comma, ``NAME=`` of an .env file."""
    for _ in range(6):
        before = text
        text = text.strip().strip("\ufeff\u200b")
        if not _PAIR.match(text):  # there it may be the end of a value
            text = text.rstrip(";,").strip()
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"`" and text[0] not in text[1:-1]:
            text = text[1:-1]
        if len(text) > 1 and text[0] + text[-1] in ("“”", "‘’", "<>", "«»"):
            text = text[1:-1]
        named = _ASSIGNMENT.fullmatch(text)
        if named and not text.lower().startswith("pgpassword"):
            value = named["value"].lstrip("'\"`")
            if _SCHEME.match(value) and not named["value"].startswith("//"):
                text = named["value"]
        if text == before:
            return text
    return text


# -- URLs


def _read_url(text: str, notes: tuple[str, ...]) -> Conninfo:
    head = _SCHEME.match(text)
    assert head is not None
    scheme = _POSTGRES.fullmatch(head["scheme"])
    if scheme is None:
        raise refuse(f"{head['scheme'].lower()}:// is not a PostgreSQL address", _scheme_hint(head["scheme"].lower()))
    if head["jdbc"]:
        notes += ("read as a JDBC address",)
    elif scheme["dialect"]:
        notes += (f"dropped {scheme['dialect']}: it names a driver",)
    rest = text[head.end() :]
    userinfo, location, raw = _split_url(rest)
    settings: dict[str, str] = {}
    if userinfo is not None:
        user, colon, password = userinfo.partition(":")
        settings["user"] = _decode(user, "user name")
        if colon:
            if raw:
                notes += ("the password was read with its special characters as they stand, not percent-encoded",)
            settings["password"] = _decode_password(password, raw=raw)
    settings |= _split_hosts(location["hosts"] or "")
    if location["dbname"]:
        settings["dbname"] = _decode(location["dbname"], "database name")
    for pair in filter(None, (location["query"] or "").split("&")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise refuse("something behind the ? is not key=value", _ENCODE_HINT)
        settings[_decode(key, "setting")] = _decode(value, "setting")
    return build(settings, notes)


def _split_url(rest: str) -> tuple[str | None, re.Match[str], bool]:
    """``(userinfo, location, raw)``; ``raw``: the password holds unencoded ``@ / ? #``.

    Every ``@`` could end the userinfo; those are readings where the rest is a location and nothing else.
    """
    readings: list[tuple[str, re.Match[str]]] = []
    for at in (i for i, c in enumerate(rest) if c == "@"):
        location = _LOCATION.fullmatch(rest, at + 1)
        if location and _PAIRS.fullmatch(location["query"] or ""):
            readings.append((rest[:at], location))
    strict = [r for r in readings if not re.search(r"[/?#@]", r[0]) and _keys_known(r[1]["query"] or "")]
    if strict:
        return *strict[0], False
    if len(readings) == 1:
        userinfo, location = readings[0]
        return userinfo, location, bool(re.search(r"[/?#@]", userinfo))
    whole = _LOCATION.fullmatch(rest)
    if not readings and whole and ("@" not in rest or _keys_known(whole["query"] or "")):
        return None, whole, False
    if readings:
        raise refuse("the password can be read in more than one way", _ENCODE_HINT)
    raise refuse("the address cannot be taken apart", _ENCODE_HINT)


def _keys_known(query: str) -> bool:
    return all(unquote(p.partition("=")[0]).lower() in KNOWN_KEYS for p in query.split("&") if p)


def _split_hosts(hosts: str) -> dict[str, str]:
    if "," in hosts:
        return {"host": hosts}  # refused by address, with its reason
    if hosts.startswith("["):
        host, _, port = hosts[1:].partition("]")
        found = {"host": host, "port": port[1:]}
    else:
        host, _, port = hosts.partition(":")
        found = {"host": _decode(host, "host"), "port": port}
    return {k: v for k, v in found.items() if v}


def _decode(text: str, what: str) -> str:
    if "%" in _PERCENT.sub("", text):
        raise refuse(f"the {what} has a % that is not followed by two hex digits", _ENCODE_HINT)
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as e:
        raise refuse(f"the {what} is not UTF-8 once it is percent-decoded", _ENCODE_HINT) from e


def _decode_password(text: str, *, raw: bool) -> str:
    encoded = _PERCENT.search(text) is not None
    if encoded and (raw or "%" in _PERCENT.sub("", text)):
        raise refuse("the password is percent-encoded in one place and not in another", _ENCODE_HINT)
    return _decode(text, "password") if encoded else text


def _scheme_hint(scheme: str) -> str:
    if scheme.startswith("prisma"):
        return "Prisma Accelerate is not a database: paste the DIRECT_URL that starts with postgresql://."
    if scheme in ("http", "https"):
        return "This is the address of a web page or API: paste the database's own string, which starts with postgresql://."
    return "Only PostgreSQL can be protected: paste a string that starts with postgresql://."


# -- key=value, .NET, psql


def _split_pairs(text: str) -> dict[str, str]:
    """libpq's key=value form, to the letter of its quoting rules."""
    settings: dict[str, str] = {}
    at = 0
    while at < len(text) and not text[at:].isspace():
        token = _TOKEN.match(text, at)
        if token is None:
            raise refuse(
                "something is not key=value",
                "Put a value with spaces into single quotes and write \\' and \\\\ inside: password='a b\\'c'.",
            )
        value = token[2] if token[2] is not None else token[3]
        settings[token[1]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        at = token.end()
    return settings


def _reads_as_pairs(text: str) -> bool:
    """Whether libpq's form fits: known keys, and no semicolon in the host."""
    try:
        settings = _split_pairs(text)
    except ConfigError:
        return False
    return settings.keys() <= KNOWN_KEYS and ";" not in settings.get("host", "")


def _split_dotnet(text: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for part in re.findall(r"(?:[^;\"']|\"[^\"]*\"|'[^']*')+", text):
        key, equals, value = part.partition("=")
        if not equals:
            raise refuse("something between the semicolons is not key=value")
        name, value = key.strip().lower(), value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        name = _DOTNET_NAMES.get(name, name)
        settings[name] = _DOTNET_SSLMODE.get(value.lower(), value) if name == "sslmode" else value
    return settings


_DOTNET_SSLMODE = {"verifyfull": "verify-full", "verifyca": "verify-ca"}


def _command(text: str) -> bool:
    return re.match(r"(?:PG[A-Z]+=(?:'[^']*'|\"[^\"]*\"|\S+)\s+)*(?:\S*/)?psql\s", text) is not None


def _read_command(text: str) -> Conninfo:
    """A pasted ``psql`` command, with ``PG…=`` variables before it."""
    try:
        words = shlex.split(text)
    except ValueError as e:
        raise refuse("the quotes of the psql command do not match") from e
    settings: dict[str, str] = {}
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        if name not in _VARIABLES:
            raise refuse(f"the variable {name} is not known here", "Paste the connection string alone.")
        settings[_VARIABLES[name]] = value
    words = words[1:]
    free: list[str] = []
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        name = (_PSQL_FLAGS | _PSQL_NAMES).get(flag, "") if word.startswith("-") else ""
        if name:
            if not equals and not words:
                raise refuse(f"nothing follows {flag} in the psql command")
            settings[name] = value if equals else words.pop(0)
        elif word.startswith("-"):
            if word not in _PSQL_IGNORED:
                raise refuse("the psql command has a flag that is not known here", "Paste the connection string alone.")
        else:
            free.append(word)
    for name, word in zip(("dbname", "user"), free, strict=False):
        settings.setdefault(name, word)
    return _with_inner(settings)


def _with_inner(settings: dict[str, str]) -> Conninfo:
    """psql takes a whole connection string for a database name."""
    inner = settings.get("dbname", "")
    if not (_SCHEME.match(inner) or "=" in inner):
        return build(settings, ("read as a psql command",))
    parsed = _read(inner, ("read as a psql command",)) if "password" not in settings else None
    if parsed is not None:
        return parsed
    outer = {k: v for k, v in settings.items() if k != "dbname"}
    if _SCHEME.match(inner):
        whole = _read(inner, ("read as a psql command",))
        return whole if whole.password else _replace_password(whole, outer["password"])
    return build(outer | _split_pairs(inner), ("read as a psql command",))


def _replace_password(whole: Conninfo, password: str) -> Conninfo:
    return replace(whole, password=password)
