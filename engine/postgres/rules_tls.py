"""TLS that cannot be had, in libpq's words and OpenSSL's.

libpq says of every certificate that it refuses "certificate verify failed" and no more; OpenSSL's reason is behind it
where ``engine.postgres.certificate`` has asked for it.
"""

from __future__ import annotations

from engine.postgres.rule import Case, Place, rule

_CONNECT = (Place.CONNECT,)
_CA = (
    ("supabase", "Supabase: Project Settings → Database → SSL Configuration → Download certificate"),
    ("rds.amazonaws", "Amazon RDS: https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"),
    ("ondigitalocean", "DigitalOcean: the cluster's page, Connection details → Download CA certificate"),
    ("aivencloud", "Aiven: the service's page, CA certificate → Download"),
    ("database.azure", "Azure: the root certificates named in its documentation on TLS"),
)


def _look(case: Case) -> str:
    where = f"{case.near.host}:{case.near.port or 5432}"
    return (
        f"`openssl s_client -starttls postgres -connect {where} </dev/null 2>/dev/null | openssl x509 -noout -subject"
        " -issuer -dates`."
    )


def _unverified(case: Case) -> str:
    if "self-signed" in case.text or "issuer" in case.text:
        return "the server's certificate is not signed by an authority that is known here"
    return (
        "the server's certificate could not be verified: it is not signed by an authority that is known here, or it is"
        " over"
    )


def _unknown_authority(case: Case) -> str:
    place = next((f" ({where})" for part, where in _CA if part in case.near.host), "")
    return (
        f"Download the provider's CA certificate{place} and add `sslrootcert=/path/to/ca.crt`; or choose"
        " `sslmode=require` knowingly: it encrypts without knowing to whom, and every report will say so."
    )


TLS_RULES = (
    rule(
        "tls-required",
        _CONNECT,
        r"\A(?!.*\bSSL (?:encryption|on)\b).*no pg_hba\.conf entry.*(?:no encryption|ssl off)",
        "pg.tls",
        "the server wants an encrypted connection",
        "Set `sslmode=verify-full` (or `require`) in the connection string.",
        when=lambda near: near.sslmode != "prefer",  # that has tried TLS before: the server has none
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
        "certificate-expired",
        _CONNECT,
        r"certificate has expired",
        "pg.tls",
        "the server's certificate, or one that it stands on, is over",
        lambda case: f"Renew it at the server. Its dates: {_look(case)}",
    ),
    rule(
        "certificate-early",
        _CONNECT,
        r"certificate is not yet valid",
        "pg.tls",
        "the server's certificate is not valid yet, by the clock of this machine",
        lambda case: f"Check the clock here (`timedatectl`) and the certificate's dates: {_look(case)}",
    ),
    rule(
        "certificate",
        _CONNECT,
        r"certificate verify failed|self-signed certificate|unable to get (?:local )?issuer",
        "pg.tls",
        _unverified,
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
        "Let the role log in with its password, by a line `hostssl {dbname} {role} ADDRESS scram-sha-256` in"
        " pg_hba.conf before the one that asks for a certificate.",
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
        "tls-handshake",
        _CONNECT,
        r"ssl error: unexpected eof|ssl syscall error|wrong version number",
        "pg.tls",
        "the TLS handshake with {host} port {port} was cut: what answers there may not be PostgreSQL",
        "Look who answers: `openssl s_client -starttls postgres -connect {host}:{port} </dev/null`, and check the"
        " port.",
        retry=True,
    ),
    rule(
        "tls",
        _CONNECT,
        r"ssl error|could not (?:create|establish|initiate|load) (?:an )?(?:ssl|certificate|client certificate)",
        "pg.tls",
        "no TLS connection that meets sslmode={sslmode} could be made",
    ),
)
