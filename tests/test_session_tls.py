"""TLS to the source: certificates are verified against an explicit file, and weaker modes are shown as weaker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from engine.cancel import CancelToken
from engine.errors import SourceError
from engine.postgres.conninfo import parse
from engine.postgres.passfile import libpq_environment, password_file
from engine.postgres.session import connect, read_tls
from engine.postgres.tools import Toolset, environment
from engine.process import clean_environment, run
from offsitedb_tui.demo.source import Admin

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a private CA")])


@pytest.fixture(scope="module")
def ca(server: Admin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """TLS switched on, with a certificate for 127.0.0.1 by an authority of our own; the authority's file."""
    with psycopg.connect(server.url(), autocommit=True) as conn:
        row = conn.execute("SHOW data_directory").fetchone()
        assert row is not None
        data = Path(str(row[0]))
        ca_pem, certificate, key = _certificates()
        ca_file = tmp_path_factory.mktemp("tls") / "ca.crt"
        ca_file.write_bytes(ca_pem)
        owner = data.stat()
        for name, content in (("tls.crt", certificate), ("tls.key", key)):
            (data / name).write_bytes(content)
            (data / name).chmod(0o600)
            os.chown(data / name, owner.st_uid, owner.st_gid)
        for statement in ("ssl_cert_file = 'tls.crt'", "ssl_key_file = 'tls.key'", "ssl = on"):
            conn.execute(f"ALTER SYSTEM SET {statement}")
        conn.execute("SELECT pg_reload_conf()")
        _until_tls_is(server, "on")
        yield ca_file
        conn.execute("ALTER SYSTEM RESET ssl")
        conn.execute("SELECT pg_reload_conf()")
        _until_tls_is(server, "off")


def test_verify_full_with_the_right_authority(server: Admin, ca: Path) -> None:
    conninfo = parse(f"{server.url()}?sslmode=verify-full&sslrootcert={ca}")
    with connect(conninfo, application_name="offsitedb/tls", cancel=CancelToken()) as conn:
        tls = read_tls(conn, conninfo)
    assert (tls.in_use, tls.sslmode, tls.weaker_than_verify_full) == (True, "verify-full", False)
    assert (tls.version or "").startswith("TLSv1.")
    assert tls.cipher


@pytest.mark.parametrize("mode", ["require", "prefer"])
def test_weaker_modes_are_shown(server: Admin, ca: Path, mode: str) -> None:
    conninfo = parse(f"{server.url()}?sslmode={mode}")
    with connect(conninfo, application_name="offsitedb/tls", cancel=CancelToken()) as conn:
        tls = read_tls(conn, conninfo)
    assert (tls.in_use, tls.weaker_than_verify_full) == (True, True)


def _cases(server: Admin, ca: Path) -> dict[str, str]:
    other_name = server.url().replace("127.0.0.1", "localhost")
    return {
        "an authority that is not ours": f"{server.url()}?sslmode=verify-full",
        "another host name": f"{other_name}?sslmode=verify-full&sslrootcert={ca}",
        "a CA file that is not there": f"{server.url()}?sslmode=verify-full&sslrootcert=/no/such/ca.crt",
    }


@pytest.mark.parametrize("case", ["an authority that is not ours", "another host name", "a CA file that is not there"])
def test_a_wrong_certificate_is_refused_by_session_and_pg_dump(
    server: Admin, ca: Path, toolset: Toolset, case: str
) -> None:
    conninfo = parse(_cases(server, ca)[case])
    with pytest.raises(SourceError) as caught:
        connect(conninfo, application_name="offsitedb/tls", cancel=CancelToken())
    assert caught.value.code == "pg.tls"
    with password_file(conninfo) as handed:
        env = environment(toolset) | libpq_environment(
            conninfo, passfile_path=handed.path, application_name="offsitedb/tls"
        )
        done = run(
            [str(toolset.bindir / "pg_dump"), "-Fc", "-Z0", "--no-password"],
            name="pg_dump",
            cancel=CancelToken(),
            timeout_s=30,
            env=clean_environment(env),
            pass_fds=handed.pass_fds,
        )
    assert done.status != 0
    assert "certificate" in done.stderr
    assert done.stdout == b""


def _until_tls_is(server: Admin, wanted: str) -> None:
    """New sessions see the reloaded setting once the postmaster has read it."""
    for _ in range(2000):
        with psycopg.connect(server.url(), autocommit=True) as conn:
            if conn.execute("SHOW ssl").fetchone() == (wanted,):
                return
    raise AssertionError(f"ssl did not become {wanted}")


def _certificates() -> tuple[bytes, bytes, bytes]:
    """CA certificate, server certificate and server key, PEM, valid for an hour."""
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def sign(subject: x509.Name, public: ec.EllipticCurvePublicKey, *, authority: bool) -> x509.Certificate:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = (
            x509.CertificateBuilder(NAME, subject, public, x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        return (builder if authority else builder.add_extension(names, critical=False)).sign(ca_key, hashes.SHA256())

    server_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    pem = serialization.Encoding.PEM
    return (
        sign(NAME, ca_key.public_key(), authority=True).public_bytes(pem),
        sign(server_name, key.public_key(), authority=False).public_bytes(pem),
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
