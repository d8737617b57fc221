"""Checks of this machine: the PostgreSQL programs, and whether a drill here could restore what the source uses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from engine.cancel import CancelToken
from engine.errors import OffsiteError
from engine.model import Check, CheckStatus, Inventory, ServerFacts
from engine.postgres import locales
from engine.postgres.libraries import debian_packages
from engine.postgres.tools import FLOOR, Toolset, extension_lacks, has_extension, package
from engine.preflight.findings import listed, plural
from engine.process import run

_PACKAGES = {
    # extension -> what stands behind `postgresql-<major>-` in Debian's and PGDG's package names
    "vector": "pgvector",
    "postgis": "postgis-3",
    "postgis_raster": "postgis-3",
    "postgis_topology": "postgis-3",
    "postgis_sfcgal": "postgis-3",
    "postgis_tiger_geocoder": "postgis-3",
    "address_standardizer": "postgis-3",
    "pgrouting": "pgrouting",
    "pg_cron": "cron",
    "pg_partman": "partman",
    "pg_repack": "repack",
    "pg_hint_plan": "pg-hint-plan",
    "pgaudit": "pgaudit",
    "hypopg": "hypopg",
    "plv8": "plv8",
    "timescaledb": "timescaledb",
    "pg_squeeze": "squeeze",
    "rum": "rum",
    "ip4r": "ip4r",
    "hll": "hll",
    "semver": "semver",
    "pgtap": "pgtap",
    "age": "age",
    "orafce": "orafce",
    "http": "http",
    "pllua": "pllua",
    "plr": "plr",
    "prefix": "prefix",
    "unit": "unit",
    "wal2json": "wal2json",
    "pg_similarity": "similarity",
    "pgsphere": "pgsphere",
    "h3": "h3",
    "icu_ext": "icu-ext",
    "mysql_fdw": "mysql-fdw",
    "tds_fdw": "tds-fdw",
    "plpython3u": "plpython3",  # postgresql-plpython3-<major>
    "plperl": "plperl",
    "pltcl": "pltcl",
}
_OWN_PACKAGE = ("plpython3u", "plperl", "pltcl")
_LOCALE_TIMEOUT_S = 10.0


def check_tools(facts: ServerFacts, toolset: Toolset | None, error: OffsiteError | None) -> Iterator[Check]:
    """Whether the programs of the server's own major are here, can drill, and are without known holes."""
    if toolset is None:
        reason = error.message if error is not None else "none found"
        fix = f"offsitedb postgres install {facts.major}"
        detail = (
            f"The PostgreSQL programs of major {facts.major} are not on this machine ({reason}). Dump and drill use the"
            f" server's own major, no other. Distribution packages: {package(facts.major)}."
        )
        yield Check("tools", CheckStatus.FAIL, detail, fix)
        return
    yield Check("tools", CheckStatus.OK, f"PostgreSQL {toolset.version} programs ({toolset.source}).")
    if not toolset.has_server:
        yield Check(
            "drill-server",
            CheckStatus.WARN,
            f"Only the client programs of PostgreSQL {toolset.major} are here: snapshots can be taken, drills cannot"
            " run.",
            f"offsitedb postgres install {toolset.major}",
        )
    if not toolset.meets_floor:
        floor = FLOOR[toolset.major]
        yield Check(
            "client-floor",
            CheckStatus.WARN,
            f"PostgreSQL {toolset.version} has known security holes; {floor // 10000}.{floor % 10000} is the first"
            " without. Update the packages of this host.",
        )


def check_extensions(inventory: Inventory, toolset: Toolset | None) -> Iterator[Check]:
    """Extensions of the source that a scratch server here could not create (F27)."""
    if toolset is None or not toolset.has_server:
        return
    known = {e.name: has_extension(toolset, e.name) for e in inventory.needs.extensions}
    missing = [name for name, there in known.items() if there is False]
    if missing:
        detail = (
            f"{plural(len(missing), 'extension')} of the source cannot be made by the PostgreSQL {toolset.major} of"
            f" this host: {listed(missing)}. Snapshots are complete, but a drill here ends as COULD NOT VERIFY."
        )
        names = " ".join(dict.fromkeys(p for name in missing for p in _packages(name, toolset)))
        yield Check("drill-extensions", CheckStatus.WARN, detail, f"apt install {names}")


def check_locales(
    facts: ServerFacts, inventory: Inventory, toolset: Toolset | None, cancel: CancelToken
) -> Iterator[Check]:
    """Locales and collations that a drill on this host would miss."""
    if toolset is None or not toolset.has_server:
        return
    needs_icu = [f"{c.schema}.{c.name}" for c in inventory.needs.collations if c.provider == "icu"]
    if facts.locale_provider == "icu":
        needs_icu.insert(0, "the database itself")
    if needs_icu and toolset.icu is False:
        detail = (
            f"ICU collations are used ({listed(needs_icu)}), and PostgreSQL {toolset.version} here was built without"
            " ICU: a drill ends as COULD NOT VERIFY."
        )
        yield Check("drill-icu", CheckStatus.WARN, detail, f"apt install postgresql-{toolset.major}")
    here = installed_locales(cancel)
    if here is None:
        return
    named = [c.locale for c in inventory.needs.collations if c.provider == "libc" and c.locale]
    absent = sorted({n for n in named if not _available(n, here)})
    if absent:
        detail = (
            f"Collations of the source need locales that this host lacks: {listed(absent)}."
            " A drill ends as COULD NOT VERIFY."
        )
        yield Check("drill-collations", CheckStatus.WARN, detail, _commands(absent))
    own = sorted(
        {n for n in (facts.collate, facts.ctype) if facts.locale_provider != "builtin" and not _available(n, here)}
    )
    if own:
        detail = (
            f"The database's locale {listed(own)} is not on this host: a drill uses C.UTF-8 instead and says so"
            " (PROVEN WITH SKIPS)."
        )
        yield Check("drill-locale", CheckStatus.INFO, detail, _commands(own))


def _commands(names: list[str]) -> str | None:
    return "\n".join(c for n in names if (c := locales.command(n)) is not None) or None


def uses_icu(facts: ServerFacts, inventory: Inventory) -> bool:
    """Whether a scratch server must know ICU collations."""
    return facts.locale_provider == "icu" or any(c.provider == "icu" for c in inventory.needs.collations)


def installed_locales(cancel: CancelToken) -> frozenset[str] | None:
    """Names of this host's locales in one spelling; None where the system does not list them."""
    try:
        done = run(["locale", "-a"], name="locale", cancel=cancel, timeout_s=_LOCALE_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.status != 0:
        return None
    return frozenset(_spelling(line) for line in done.stdout.decode("utf-8", "replace").split())


def _available(locale: str, here: frozenset[str]) -> bool:
    return locale in ("C", "POSIX") or _spelling(locale) in here or (sys.platform == "darwin" and locale == "C.UTF-8")


def _spelling(locale: str) -> str:
    """``en_US.UTF-8`` and ``en_US.utf8`` are the same locale to the C library."""
    name, dot, codeset = locale.partition(".")
    return f"{name}{dot}{codeset.replace('-', '').lower()}"


def _packages(extension: str, toolset: Toolset) -> tuple[str, ...]:
    """Debian's packages that make the extension work for ``toolset``."""
    lacking = extension_lacks(toolset, extension)
    return debian_packages(lacking) if lacking else (_package(extension, toolset.major),)


def _package(extension: str, major: int) -> str:
    tail = _PACKAGES.get(extension, extension.replace("_", "-"))
    return f"postgresql-{tail}-{major}" if extension in _OWN_PACKAGE else f"postgresql-{major}-{tail}"
