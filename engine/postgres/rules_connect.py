"""What a refused connection means: texts of libpq, servers and poolers, for sessions of ours and pg_dump's alike.

libpq gives no SQLSTATE for a connection that fails, not even for a wrong password, so they are told apart by text.
"""

from __future__ import annotations

from engine.postgres.rule import Case, Place, Rule, rule
from engine.postgres.rules_pooler import POOLER_RULES
from engine.postgres.rules_tls import TLS_RULES

_CONNECT = (Place.CONNECT,)
_FAILED = r"\A(?=.*(?:connection to server (?:at|on) .* failed|could not connect to server|could not translate host))"
"""How pg_dump says that it could not connect: only then are these its rules as well."""


def _hba(case: Case) -> str:
    address = case.name("address", "ADDRESS")
    mask = "/128" if ":" in address else "/32"
    kind = "hostssl" if "SSL encryption" in case.text else "host"
    who = address + mask if address != "ADDRESS" and not address.startswith("[") else address
    return (
        "Allow this machine's address in the provider's network settings, or add a line for it to pg_hba.conf:"
        f" `{kind} {case.near.dbname} {case.near.role} {who} scram-sha-256`, then `SELECT pg_reload_conf();`."
    )


_RULES: tuple[Rule, ...] = (
    *POOLER_RULES,
    rule(
        "unknown-host",
        _CONNECT,
        r"could not translate host name|name or service not known|nodename nor servname|no address associated"
        r"|failed to resolve|name resolution",
        "pg.unknown-host",
        "the host name {host} does not resolve",
        "Check the host name on this machine with `getent hosts {host}`, then correct it: `offsitedb connection edit"
        " NAME --url`.",
    ),
    rule(
        "not-postgres",
        _CONNECT,
        r"received invalid response to SSL negotiation: [^E]|expected authentication request from server",
        "pg.unreachable",
        "what listens on {host} port {port} is not PostgreSQL",
        "Check the port, which is 5432 where nobody chose another; then `offsitedb connection edit NAME --url`.",
    ),
    *TLS_RULES,
    rule(
        "hba",
        _CONNECT,
        r"no pg_hba\.conf entry(?: for (?:replication connection from )?host \"(?P<address>[0-9a-fA-F.:]+)\")?",
        "pg.auth",
        "the server allows no login of {user} to {dbname} from this machine's address",
        _hba,
    ),
    rule(
        "hba-rejects",
        _CONNECT,
        r"pg_hba\.conf rejects connection",
        "pg.auth",
        "a line of the server's pg_hba.conf refuses {user} from this machine's address",
        "Ask who runs the server to let this machine's address in: the refusing line is shown by"
        " `SELECT * FROM pg_hba_file_rules WHERE auth_method = 'reject';`.",
    ),
    rule(
        "peer",
        _CONNECT,
        r"(?P<how>peer|ident) authentication failed",
        "pg.auth",
        "the server asks this machine's operating system who {user} is ({how}) and takes no password",
        "Add a line to pg_hba.conf before the one that says {how_text}: `local {dbname} {role} scram-sha-256`, or over"
        " the network `hostssl {dbname} {role} ADDRESS scram-sha-256`, then `SELECT pg_reload_conf();`.",
    ),
    rule(
        "no-password",
        _CONNECT,
        r"no password supplied",
        "pg.auth",
        "the server wants a password for {user} and the connection string has none",
        "Give the string again, the password in it: `offsitedb connection edit NAME --url`.",
    ),
    rule(
        "no-login",
        _CONNECT,
        r"is not permitted to log in",
        "pg.auth",
        "the role {user} may not log in",
        "Run as an administrator: `ALTER ROLE {role} LOGIN;`.",
    ),
    rule(
        "no-role",
        _CONNECT,
        r"role \".*\" does not exist|no such user",
        "pg.auth",
        "there is no role {user} on the server",
        "Make it: `offsitedb connection grants --role ROLE` prints the SQL for a role that reads everything.",
    ),
    rule(
        "no-connect-right",
        _CONNECT,
        r"permission denied for database",
        "pg.permission",
        "the role {user} may not connect to {dbname}",
        "Run as the owner: `GRANT CONNECT ON DATABASE {dbname} TO {role};`.",
    ),
    rule(
        "password",
        _CONNECT,
        r"password authentication failed|sasl authentication failed|wrong password|authentication failed"
        r"|bouncer config error|scram",
        "pg.auth",
        "the server refused the user {user} or the password",
        "Check user and password, then `offsitedb connection edit NAME --url`. If both are right an administrator"
        " lifts the end of its validity, `ALTER ROLE {role} VALID UNTIL 'infinity';`, or sets it again where the server"
        " asks for SCRAM and it was set as md5: `\\password {role}` in psql.",
    ),
    rule(
        "closed-database",
        _CONNECT,
        r"database \".*\" is not currently accepting connections",
        "pg.no-database",
        "the database {dbname} is closed to connections",
        "Run as a superuser: `ALTER DATABASE {dbname} ALLOW_CONNECTIONS true;`.",
    ),
    rule(
        "half-dropped",
        _CONNECT,
        r"cannot connect to invalid database",
        "pg.no-database",
        "the database {dbname} is what a DROP DATABASE left that was cut short",
        "Nothing can be read from it any more. Give the string of another: `offsitedb connection edit NAME --url`; as a"
        " superuser `DROP DATABASE {dbname};` ends it.",
    ),
    rule(
        "no-database",
        _CONNECT,
        r"database \".*\" does not exist|no such database",
        "pg.no-database",
        "there is no database {dbname} on {host}",
        "Check the database name; see which there are: `SELECT datname FROM pg_database WHERE datallowconn;`, then"
        " `offsitedb connection edit NAME --url`.",
    ),
    rule(
        "no-route",
        _CONNECT,
        r"network is unreachable|cannot assign requested address|no route to host|address family not supported",
        "pg.unreachable",
        "there is no network route to {host}",
        "Check this machine's network and firewall. A host with only an IPv6 address needs IPv6 here: use the"
        " provider's session pooler or an IPv4 address.",
        retry=True,
    ),
    rule(
        "role-limit",
        _CONNECT,
        r"too many connections for role",
        "pg.unreachable",
        "the role {user} has as many sessions as it may have",
        "A backup takes three for as long as it lasts. Run as an administrator: `ALTER ROLE {role} CONNECTION LIMIT"
        " -1;`.",
        retry=True,
    ),
    rule(
        "database-limit",
        _CONNECT,
        r"too many connections for database",
        "pg.unreachable",
        "the database {dbname} has as many sessions as it may have",
        "A backup takes three for as long as it lasts. Run as its owner: `ALTER DATABASE {dbname} CONNECTION LIMIT"
        " -1;`.",
        retry=True,
    ),
    rule(
        "too-many-connections",
        _CONNECT,
        r"too many (?:connections|clients)|remaining connection slots|max_client_conn|max clients",
        "pg.unreachable",
        "the server has no free connection",
        "A backup takes three for as long as it lasts. See who holds them: `SELECT usename, application_name, state,"
        " count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC;`; then raise max_connections (or the"
        " role's limit: `ALTER ROLE {role} CONNECTION LIMIT -1;`), or run the checkpoint at another hour.",
        retry=True,
    ),
    rule(
        "not-accepting",
        _CONNECT,
        r"starting up|shutting down|in recovery mode|not accepting connections|not yet accepting",
        "pg.unreachable",
        "the server does not accept connections at the moment",
        "Wait until the server has started, then run the command again. A standby that never gets there has"
        " `hot_standby = off`.",
        retry=True,
    ),
    rule(
        "refused",
        _CONNECT,
        r"connection refused",
        "pg.unreachable",
        "nothing listens on {host} port {port}",
        "Check host and port; on the server `SHOW listen_addresses;` says where it listens.",
        retry=True,
    ),
    rule(
        "no-answer",
        _CONNECT,
        r"timeout expired|timed out",
        "pg.unreachable",
        "{host} port {port} did not answer within {timeout} s",
        "Check host, port and firewall, and that this machine's address is allowed at the provider.",
        retry=True,
    ),
    rule(
        "no-socket",
        _CONNECT,
        r"no such file or directory",
        "pg.unreachable",
        "there is no server socket in {host} for port {port}",
        "Check host and port; on the server `SHOW unix_socket_directories;` says where the socket is.",
        retry=True,
    ),
    rule(
        "hung-up",
        _CONNECT,
        r"server closed the connection unexpectedly|connection reset by peer",
        "pg.unreachable",
        "{host} port {port} hangs up before anybody can log in",
        "A proxy or load balancer with no server behind it does that, and a server that crashes: look into its log,"
        " then run `offsitedb connection test NAME`.",
        retry=True,
    ),
    rule(
        "wrong-kind",
        _CONNECT,
        r"session is read-only|session is not read-only|server is (?:not )?in hot standby",
        "pg.unreachable",
        "the server is not of the kind that target_session_attrs asks for",
        "Remove target_session_attrs, or name the host of the right server.",
    ),
)
CONNECT_RULES = (
    *_RULES,
    rule(
        "unreachable",
        _CONNECT,
        "",
        "pg.unreachable",
        "the database server {host} port {port} cannot be reached",
        retry=True,
    ),
)


def _for_dump(known: Rule) -> Rule:
    """The same for pg_dump, whose messages speak of other things as well."""
    return rule(
        known.name,
        (Place.DUMP,),
        f"{_FAILED}(?=.*(?:{known.pattern.pattern}))",
        known.code,
        known.says,
        known.hint,
        retry=known.retry,
        when=known.when,
    )


DUMP_CONNECT_RULES = tuple(_for_dump(known) for known in _RULES if Place.DUMP not in known.places)
