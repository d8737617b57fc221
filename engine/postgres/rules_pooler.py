"""What poolers say in PostgreSQL's place."""

from __future__ import annotations

from engine.postgres.rule import Place, rule

_CONNECT = (Place.CONNECT,)
_ANY = (Place.CONNECT, Place.SESSION, Place.DUMP)

POOLER_RULES = (
    rule(
        "pooler-user",
        _CONNECT,
        r"tenant or user not found|tenant/user .* not found",
        "pg.auth",
        "the pooler does not know this user",
        "Behind Supabase's pooler the user is `postgres.<project-ref>` or `<role>.<project-ref>`: copy the string of"
        " the session pooler from the project's Connect page.",
    ),
    rule(
        "neon-endpoint",
        _CONNECT,
        r"endpoint id is not specified|inconsistent project name",
        "pg.auth",
        "Neon could not tell which endpoint is meant",
        "Add `options=endpoint%3D<endpoint-id>` behind the ? of the connection string; the id is the"
        " first part of the host.",
    ),
    rule(
        "pooler",
        _CONNECT,
        r"unsupported startup parameter|gssapi negotiation|prepared statement .* (?:already exists|does not exist)",
        "pg.pooler",
        "a pooler answered and refused what a backup needs",
        "Use the session pooler (port 5432) or the direct address of the same database.",
    ),
    rule(
        "pool-full",
        _ANY,
        r"query_wait_timeout|no more connections allowed",
        "pg.unreachable",
        "the pooler has no connection to the server left for us",
        "A backup takes three for as long as it lasts. Raise default_pool_size (and max_client_conn) of the pooler, or"
        " give the direct address of the database: `offsitedb connection edit NAME --url`.",
        retry=True,
    ),
    rule(
        "pool-server",
        _ANY,
        r"server login (?:has been failing|failed)|server_login_retry|server connect(?:ion)? (?:failed|crashed)",
        "pg.unreachable",
        "the pooler answers, but does not get through to the server behind it",
        "Look at the server behind the pooler and at the pooler's log; `SHOW SERVERS;` in its console names it.",
        retry=True,
    ),
    rule(
        "pool-mode",
        _ANY,
        r"not allowed in (?:statement|transaction) pooling mode",
        "pg.pooler",
        "the address is a pooler's that gives every statement another session, which cannot hold a snapshot",
        "Use the session pooler (port 5432) or the direct address of the same database: `offsitedb connection edit NAME"
        " --url`.",
    ),
)
