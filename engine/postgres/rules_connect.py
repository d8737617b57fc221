"""What a refused connection means: texts of libpq, servers and poolers, for sessions of ours and pg_dump's alike.

libpq gives no SQLSTATE for a connection that fails, not even for a wrong password, so they are told apart by text.
"""

from __future__ import annotations

from engine.postgres.rule import Case, Place, Rule, rule

_CONNECT = (Place.CONNECT,)
_FAILED = r"\A(?=.*(?:connection to server (?:at|on) .* failed|could not connect to server|could not translate host))"
"""How pg_dump says that it could not connect: only then are these its rules as well."""

_CA = (
    ("supabase", "Supabase: Project Settings → Database → SSL Configuration → Download certificate"),
    ("rds.amazonaws", "Amazon RDS: https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"),
    ("ondigitalocean", "DigitalOcean: the cluster's page, Connection details → Download CA certificate"),
    ("aivencloud", "Aiven: the service's page, CA certificate → Download"),
    ("database.azure", "Azure: the root certificates named in its documentation on TLS"),
)


def _unknown_authority(case: Case) -> str:
    place = next((f" ({where})" for part, where in _CA if part in case.near.host), "")
    return (
        f"Download the provider's CA certificate{place} and add `sslrootcert=/path/to/ca.crt`; or choose"
        " `sslmode=require` knowingly: it encrypts without knowing to whom, and every report will say so."
    )


def _hba(case: Case) -> str:
    address = case.name("address", "ADDRESS")
    mask = "/128" if ":" in address else "/32"
    who = address + mask if address != "ADDRESS" and not address.startswith("[") else address
    return (
        "Allow this machine's address in the provider's network settings, or add a line for it to pg_hba.conf:"
        f" `hostssl {case.near.dbname} {case.near.role} {who} scram-sha-256`, then `SELECT pg_reload_conf();`."
    )


_RULES: tuple[Rule, ...] = (
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
        "tls-required",
        _CONNECT,
        r"no pg_hba\.conf entry.*(?:no encryption|ssl off)",
        "pg.tls",
        "the server wants an encrypted connection",
        "Set `sslmode=verify-full` (or `require`) in the connection string.",
    ),
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
        "ca-file",
        _CONNECT,
        r"root certificate file .* does not exist|could not (?:read|load) root certificate",
        "pg.tls",
        "the CA file cannot be read",
        "Check the path behind sslrootcert, or remove sslrootcert to use the bundle that comes with this program.",
    ),
    rule(
        "certificate",
        _CONNECT,
        r"certificate verify failed|self-signed certificate|unable to get (?:local )?issuer",
        "pg.tls",
        "the server's certificate is not signed by an authority that is known here",
        _unknown_authority,
    ),
    rule(
        "certificate-name",
        _CONNECT,
        r"server certificate for .* does not match host name|certificate .* does not match",
        "pg.tls",
        "the server's certificate is for another host name",
        "Use the host name that stands in the certificate, not an address or an alias.",
    ),
    rule(
        "client-certificate",
        _CONNECT,
        r"requires a valid client certificate|certificate authentication failed",
        "pg.tls",
        "the server asks for a client certificate, and connections here log in with a password",
        "Let the role log in with a password: a line `hostssl {dbname} {role} ADDRESS scram-sha-256` in pg_hba.conf"
        " before the one that asks for a certificate.",
    ),
    rule(
        "no-tls",
        _CONNECT,
        r"server does not support ssl",
        "pg.tls",
        "the server offers no TLS and the connection asks for it",
        "Enable TLS on the server; or choose `sslmode=disable` knowingly: every report will say so.",
    ),
    rule(
        "channel-binding",
        _CONNECT,
        r"channel binding",
        "pg.tls",
        "the server offers no channel binding and the connection asks for it",
        "Remove channel_binding from the connection string; a pooler in between cannot offer it.",
    ),
    rule(
        "tls",
        _CONNECT,
        r"ssl error|tls|certificate|sslv3 alert",
        "pg.tls",
        "no TLS connection that meets sslmode={sslmode} could be made",
    ),
    rule(
        "no-password",
        _CONNECT,
        r"no password supplied",
        "pg.auth",
        "the server wants a password for {user} and the connection string has none",
        "Give the string with the password: `offsitedb connection edit NAME --url`.",
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
        "Check user and password, then `offsitedb connection edit NAME --url`. A password that was set while"
        " password_encryption was md5 must be set again where the server asks for SCRAM: `\\password {role}` in psql.",
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
    )


DUMP_CONNECT_RULES = tuple(_for_dump(known) for known in _RULES)
