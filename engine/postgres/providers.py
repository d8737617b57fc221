"""Who hosts a database, told from its host name, and whether the address is one of a connection pooler.

A pooler in *session* mode is as good as a direct connection. In *transaction* mode every statement may land on
another backend, so that no snapshot can be held: such addresses get advice which host or port to use instead. Names
only give a hint; ``probe`` looks at what really happens on the wire.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.postgres.address import Conninfo, is_loopback

_PROVIDERS: tuple[tuple[str, str], ...] = (
    # suffix of the host name -> provider; the first that fits wins
    ("supabase.co", "supabase"),
    ("supabase.com", "supabase"),
    ("supabase.net", "supabase"),
    ("neon.tech", "neon"),
    ("neon.build", "neon"),
    ("rlwy.net", "railway"),
    ("railway.app", "railway"),
    ("railway.internal", "railway"),
    ("render.com", "render"),
    ("compute-1.amazonaws.com", "heroku"),
    ("compute.amazonaws.com", "heroku"),
    ("herokuapp.com", "heroku"),
    ("postgresbridge.com", "crunchy"),
    ("aivencloud.com", "aiven"),
    ("db.ondigitalocean.com", "digitalocean"),
    ("postgres.database.azure.com", "azure"),
    ("postgres.cosmos.azure.com", "azure"),
    ("sql.goog", "gcp"),
    ("fly.dev", "fly"),
    ("flycast", "fly"),
    ("flympg.net", "fly"),
    ("tsdb.cloud.timescale.com", "timescale"),
    ("tsdb.forge.timescale.com", "timescale"),
    ("timescale.com", "timescale"),
    ("scw.cloud", "scaleway"),
    ("xata.sh", "xata"),
    ("xata.tech", "xata"),
    ("nile.tech", "nile"),
    ("thenile.dev", "nile"),
    ("tembo.io", "tembo"),
    ("elephantsql.com", "elephantsql"),
    ("koyeb.app", "koyeb"),
    ("ovh.net", "ovh"),
    ("prisma.io", "prisma"),
    ("planetscale.com", "planetscale"),
    ("psdb.cloud", "planetscale"),
    ("gigalixir.com", "gigalixir"),
    ("northflank.com", "northflank"),
)


@dataclass(frozen=True, slots=True)
class PoolerAdvice:
    """A pooler and what to use instead. ``kind``: "transaction" or "session"; only the first is a reason to refuse.

    ``certain`` is False where the port only suggests it (any server may listen there): then the live probe decides.
    """

    kind: str
    name: str
    text: str
    certain: bool = True

    @property
    def unusable(self) -> bool:
        return self.kind == "transaction"


def recognise(host: str) -> str | None:
    """The provider behind a host name or socket directory, "local", or None."""
    name = host.lower().rstrip(".")
    if name.startswith("/cloudsql/"):
        return "gcp"
    if is_loopback(host):
        return "local"
    if name.endswith((".rds.amazonaws.com", ".rds.amazonaws.com.cn")):
        return "aurora" if ".cluster-" in name else "rds"
    if re.fullmatch(r"dpg-[a-z0-9]+-a", name):
        return "render"  # the name inside Render's network
    for suffix, provider in _PROVIDERS:
        if name == suffix or name.endswith("." + suffix):
            return provider
    if name.endswith(".internal"):
        return "fly" if len(name.split(".")) >= 2 and not name.endswith(".compute.internal") else None
    return None


def pooler_advice(conninfo: Conninfo) -> PoolerAdvice | None:
    """What the address itself says about a pooler, or None."""
    host, port = conninfo.host.lower(), conninfo.port
    provider = recognise(conninfo.host)
    for look in (_supabase, _neon, _amazon, _digitalocean, _others):
        advice = look(provider, host, port)
        if advice is not None:
            return advice
    return None


def _supabase(provider: str | None, host: str, port: int) -> PoolerAdvice | None:
    if provider != "supabase":
        return None
    if port == 6543:
        instead = "" if ".pooler." not in host else f" on the same host {host}"
        return PoolerAdvice(
            "transaction",
            "Supabase transaction pooler",
            f"Port 6543 is Supabase's transaction pooler: use the session pooler, port 5432{instead}"
            ' (Connect page, "Session pooler"), or the direct connection.',
        )
    if ".pooler." in host:
        return PoolerAdvice("session", "Supabase session pooler", "This is Supabase's session pooler, which is fine.")
    return None


def _neon(provider: str | None, host: str, port: int) -> PoolerAdvice | None:
    del port
    endpoint, _, domain = host.partition(".")
    if provider != "neon" or not endpoint.endswith("-pooler"):
        return None
    direct = f"{endpoint.removesuffix('-pooler')}.{domain}"
    return PoolerAdvice(
        "transaction",
        "Neon pooler",
        f"This is Neon's pooler, which works per transaction: use the direct host {direct} (the same name without"
        " `-pooler`).",
    )


def _amazon(provider: str | None, host: str, port: int) -> PoolerAdvice | None:
    del port
    if provider not in ("rds", "aurora") or ".proxy-" not in host:
        return None
    return PoolerAdvice(
        "transaction",
        "RDS Proxy",
        "This is an RDS Proxy, which shares sessions between clients: use the endpoint of the instance, or of the"
        " cluster's reader, from the Connectivity tab of the RDS console.",
    )


def _digitalocean(provider: str | None, host: str, port: int) -> PoolerAdvice | None:
    del host
    if provider != "digitalocean" or port != 25061:
        return None
    return PoolerAdvice(
        "transaction",
        "DigitalOcean connection pool",
        "Port 25061 is a DigitalOcean connection pool: use port 25060 and the database's own name, not the pool's.",
    )


def _others(provider: str | None, host: str, port: int) -> PoolerAdvice | None:
    if provider in ("render", "fly", "crunchy", "heroku", "azure", "timescale") or "pgbouncer" in host:
        known = {
            "crunchy": (5431, "port 5432 of the same host"),
            "heroku": (5433, "DATABASE_URL instead of DATABASE_CONNECTION_POOL_URL"),
            "azure": (6432, "port 5432 of the same host"),
            "timescale": (0, "the service's own port, without the pooler"),
        }.get(provider or "", (6432, "port 5432 of the database server itself"))
        if port == known[0] or (port == 6432 and provider != "timescale") or "pgbouncer" in host:
            return PoolerAdvice(
                "transaction",
                "PgBouncer",
                f"This looks like PgBouncer in transaction mode: use {known[1]}.",
                certain=provider in ("crunchy", "heroku", "azure") and port == known[0],
            )
        if provider == "timescale" and ".pooler." in host:
            return PoolerAdvice(
                "transaction", "Timescale pooler", f"This is a connection pooler: use {known[1]}.", False
            )
        return None
    if port == 6432:
        return PoolerAdvice(
            "transaction",
            "PgBouncer",
            "Port 6432 is PgBouncer's: use the database server itself, usually port 5432, or a pool with"
            " pool_mode = session.",
            certain=False,
        )
    if port == 6543 or ".pooler." in host or host.split(".")[0].endswith("-pooler"):
        return PoolerAdvice(
            "transaction",
            "connection pooler",
            "This looks like a connection pooler: use the direct address of the database, or a pool in session mode.",
            certain=False,
        )
    return None
