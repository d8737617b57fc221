"""Seventy and more connection strings as people paste them: understood right, or refused with the reason."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.postgres.address import Conninfo
from engine.postgres.conninfo import parse
from engine.redact import holding, redact

SUPABASE = "aws-0-eu-central-1.pooler.supabase.com"

UNDERSTOOD: list[tuple[str, str]] = [
    # pasted text -> user|password|host|port|dbname|sslmode
    ("postgresql://u:p@h.example/db", "u|p|h.example|5432|db|verify-full"),
    ("postgres://u:p@h.example:6000/db", "u|p|h.example|6000|db|verify-full"),
    ("POSTGRES://u:p@H.example/db", "u|p|H.example|5432|db|verify-full"),
    ("postgresql://u@h.example/db", "u|None|h.example|5432|db|verify-full"),
    ("postgresql://u:@h.example/db", "u|None|h.example|5432|db|verify-full"),
    ("postgresql://u:p@h.example:/db", "u|p|h.example|5432|db|verify-full"),
    ("postgresql://u:p@h.example/db/", "u|p|h.example|5432|db|verify-full"),
    ("postgresql://u:p@h.example/db?sslmode=require", "u|p|h.example|5432|db|require"),
    ("postgresql://u:p@h.example/db?sslmode=VERIFY-CA", "u|p|h.example|5432|db|verify-ca"),
    ("postgresql://u:p@127.0.0.1/db", "u|p|127.0.0.1|5432|db|prefer"),
    ("postgresql://u:p@localhost/db", "u|p|localhost|5432|db|prefer"),
    ("postgresql://u:p@[::1]:5433/db", "u|p|::1|5433|db|prefer"),
    ("postgresql://u:p@[2001:db8::7]/db", "u|p|2001:db8::7|5432|db|verify-full"),
    ("postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/db", "u|p|/var/run/postgresql|5432|db|prefer"),
    ("postgresql://u:p@/db?host=/run/pg", "u|p|/run/pg|5432|db|prefer"),
    ("postgresql:///db?host=%2Frun%2Fpg&user=u&port=5433", "u|None|/run/pg|5433|db|prefer"),
    ("postgresql://h.example/db?user=u&password=p%26q", "u|p&q|h.example|5432|db|verify-full"),
    ("postgresql://u%40corp:p%40ss%2Fw%23rd%3F%25@h.example/db", "u@corp|p@ss/w#rd?%|h.example|5432|db|verify-full"),
    ("postgresql://u:p@h.example/my%20db", "u|p|h.example|5432|my db|verify-full"),
    ("postgresql://u:p@h.example/a%3Db", "u|p|h.example|5432|a=b|verify-full"),
    ("postgresql://%D1%8E:%F0%9F%90%98@h.example/db", "ю|🐘|h.example|5432|db|verify-full"),
    ("postgresql://u:p+q@h.example/db", "u|p+q|h.example|5432|db|verify-full"),
    ("postgresql://u:p:q@h.example/db", "u|p:q|h.example|5432|db|verify-full"),
    # special characters that nobody encoded, with exactly one way to read them
    ("postgresql://u:p@ss/w#rd@h.example:5432/db", "u|p@ss/w#rd|h.example|5432|db|verify-full"),
    ("postgresql://u:p@ss@h.example/db", "u|p@ss|h.example|5432|db|verify-full"),
    ("postgresql://u:p#w@h.example/db", "u|p#w|h.example|5432|db|verify-full"),
    ("postgresql://u:p?w@h.example/db", "u|p?w|h.example|5432|db|verify-full"),
    ("postgresql://u:pa/ss@h.example/db?sslmode=require", "u|pa/ss|h.example|5432|db|require"),
    ("postgresql://u:100%@h.example/db", "u|100%|h.example|5432|db|verify-full"),
    ("postgresql://u:a b&c=d@h.example/db", "u|a b&c=d|h.example|5432|db|verify-full"),
    # what comes along in a paste
    ("  postgresql://u:p@h.example/db \n", "u|p|h.example|5432|db|verify-full"),
    ("'postgresql://u:p@h.example/db'", "u|p|h.example|5432|db|verify-full"),
    ('"postgresql://u:p@h.example/db";', "u|p|h.example|5432|db|verify-full"),
    ("`postgresql://u:p@h.example/db`", "u|p|h.example|5432|db|verify-full"),
    ("<postgresql://u:p@h.example/db>", "u|p|h.example|5432|db|verify-full"),
    ("postgresql://u:p@h.example/db;", "u|p|h.example|5432|db|verify-full"),
    ("DATABASE_URL=postgresql://u:p@h.example/db", "u|p|h.example|5432|db|verify-full"),
    ('export DATABASE_URL="postgresql://u:p@h.example/db"', "u|p|h.example|5432|db|verify-full"),
    ('DIRECT_URL: "postgres://u:p@h.example/db"', "u|p|h.example|5432|db|verify-full"),
    ("psql 'postgresql://u:p@h.example/db?sslmode=require'", "u|p|h.example|5432|db|require"),
    ("psql -d postgresql://u:p@h.example/db", "u|p|h.example|5432|db|verify-full"),
    ("psql -h h.example -p 5433 -d db -U u", "u|None|h.example|5433|db|verify-full"),
    ("PGPASSWORD=p psql -h h.example -U u db", "u|p|h.example|5432|db|verify-full"),
    ("PGPASSWORD='p q' psql --host=h.example --username=u --dbname=db", "u|p q|h.example|5432|db|verify-full"),
    ('psql "host=h.example dbname=db user=u sslmode=require"', "u|None|h.example|5432|db|require"),
    ("jdbc:postgresql://h.example:5432/db?user=u&password=p&ssl=true", "u|p|h.example|5432|db|verify-full"),
    ("postgresql+psycopg2://u:p@h.example/db", "u|p|h.example|5432|db|verify-full"),
    ("postgis://u:p@h.example/db", "u|p|h.example|5432|db|verify-full"),
    # key=value and .NET
    ("host=h.example dbname=db user=u password=p", "u|p|h.example|5432|db|verify-full"),
    ("host = h.example dbname = 'my db' user=u password='a b\\'c\\\\d'", "u|a b'c\\d|h.example|5432|my db|verify-full"),
    ("user=u password=p@ss/w#rd host=h.example dbname=db port=6000", "u|p@ss/w#rd|h.example|6000|db|verify-full"),
    ("host=/run/pg dbname=db user=u", "u|None|/run/pg|5432|db|prefer"),
    ("host=::1 dbname=db user=u sslmode=disable", "u|None|::1|5432|db|disable"),
    ("hostaddr=192.0.2.7 dbname=db user=u", "u|None|192.0.2.7|5432|db|verify-full"),
    ("Host=h.example;Port=5433;Username=u;Password=p;Database=db", "u|p|h.example|5433|db|verify-full"),
    (
        "User Id=u;Password='p;q';Server=h.example;Database=db;SSL Mode=VerifyFull",
        "u|p;q|h.example|5432|db|verify-full",
    ),
    # providers
    (
        f"postgresql://postgres.abcd:p@{SUPABASE}:6543/postgres?pgbouncer=true&connection_limit=1",
        f"postgres.abcd|p|{SUPABASE}|6543|postgres|verify-full",
    ),
    (
        "postgresql://u:p@ep-a-1.eu-central-1.aws.neon.tech/db?sslmode=require&channel_binding=require",
        "u|p|ep-a-1.eu-central-1.aws.neon.tech|5432|db|require",
    ),
    (
        "postgres://u:p@ep-a-1.neon.tech/db?options=endpoint%3Dep-a-1",
        "u|p|ep-a-1.neon.tech|5432|db|verify-full",
    ),
]

REFUSED: list[tuple[str, str]] = [
    ("", "no text"),
    ("   \n", "no text"),
    ("hello", "neither a URL"),
    ("x" * 9000, "longer than"),
    ("postgresql://u:p@h/db\npostgresql://u:p@h2/db", "more than one line"),
    ("mysql://u:p@h/db", "not a PostgreSQL address"),
    ("prisma://accelerate.prisma-data.net/?api_key=k", "not a PostgreSQL address"),
    ("https://abcd.supabase.co", "not a PostgreSQL address"),
    ("postgresql://u:p@h1,h2/db", "more than one host"),
    ("postgresql://u:p@h1:1,h2:2/db", "more than one host"),
    ("host=h1,h2 dbname=db user=u", "more than one host"),
    ("postgresql://h.example/db", "no user name"),
    ("postgresql://u:p@h.example", "no database name"),
    ("postgresql://u:p@h.example/", "no database name"),
    ("postgresql://u:p@/db", "no host"),
    ("postgresql://u:p@h.example:0/db", "port"),
    ("postgresql://u:p@h.example:70000/db", "port"),
    ("host=h.example port=abc dbname=db user=u", "port"),
    ("postgresql://u:[YOUR-PASSWORD]@db.abcd.supabase.co:5432/postgres", "placeholder"),
    ("postgresql://u:<password>@h.example/db", "placeholder"),
    ("postgresql://u:${DB_PASSWORD}@h.example/db", "placeholder"),
    ("postgresql://u:YOUR_PASSWORD@h.example/db", "placeholder"),
    ("postgresql://u:************@h.example/db", "placeholder"),
    ("postgresql://postgres:p@db.[PROJECT-REF].supabase.co/postgres", "cannot be taken apart"),
    ("postgresql://u:hunter22@ss?a=b@h.example/db", "more than one way"),
    ("postgresql://u:hunter2%2Fx%@h.example/db", "percent-encoded in one place"),
    ("postgresql://u:hunter2@x%41@h.example/db", "percent-encoded in one place"),
    ("postgresql://u:%FFhunter2@h.example/db", "not UTF-8"),
    ("postgresql://u:p%00q@h.example/db", "control character"),
    ("postgresql://u:p@h.example/db?passfile=/etc/x", "outside the connection string"),
    ("postgresql://u:p@h.example/db?service=x", "outside the connection string"),
    ("postgresql://u:p@h.example/db?servicefile=x", "outside the connection string"),
    ("postgresql://u:p@h.example/db?sslkey=/k&sslcert=/c", "client certificates"),
    ("postgresql://u:p@h.example/db?krbsrvname=x", "Kerberos"),
    ("postgresql://u:p@h.example/db?replication=database", "replication"),
    ("postgresql://u:p@h.example/db?options=-c%20statement_timeout%3D1", "Neon endpoint"),
    ("postgresql://u:p@h.example/db?frobnicate=1", "not a setting that is known"),
    ("postgresql://u:p@h.example/db?sslmode=yes", "none of"),
    ("postgresql://u:p@h.example/db?sslrootcert=ca.crt", "not an absolute path"),
    ("postgresql://u:p@h.example/db?connect_timeout=soon", "number of seconds"),
    ("postgresql://u:p@h ex/db", "cannot be taken apart"),
    ("postgresql://u:p@h$(id)/db", "not a host name"),
    ("host=h.example dbname=db user=u password=hunter2 hunter3", "not key=value"),
    ("host=h.example dbname=db user=u password='hunter2", "not key=value"),
    ("psql -h h.example -U u -c 'drop table x' db", "flag that is not known"),
    ("psql 'postgresql://u:p@h/db", "quotes"),
]


@pytest.mark.parametrize(("text", "expected"), UNDERSTOOD)
def test_understood(text: str, expected: str) -> None:
    c = parse(text)
    assert f"{c.user}|{c.password}|{c.host}|{c.port}|{c.dbname}|{c.sslmode}" == expected
    assert parse(c.to_url()) == c


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    error = caught.value
    assert error.code == "config.conninfo"
    assert reason in error.message
    assert error.hint.endswith((".", "c'."))
    assert "hunter" not in error.message + error.hint, "a part of the password got into the text"


def test_there_are_enough_of_them() -> None:
    assert len(UNDERSTOOD) + len(REFUSED) >= 70


def test_what_is_dropped_is_noted() -> None:
    c = parse("postgresql://u:p@h.example/db?pgbouncer=true&schema=app&application_name=x&pool_timeout=3")
    assert [n.split(":")[0] for n in c.notes] == [
        "dropped pgbouncer",
        "dropped schema",
        "dropped application_name",
        "dropped pool_timeout",
    ]
    assert c == parse("postgresql://u:p@h.example/db")


def test_a_raw_password_is_noted() -> None:
    assert any("as they stand" in n for n in parse("postgresql://u:a@b@h.example/db").notes)


def test_neon_endpoint_is_kept() -> None:
    assert parse("postgres://u:p@ep-a.neon.tech/db?options=endpoint%3Dep-a").options == "endpoint=ep-a"


@pytest.mark.parametrize(("timeout", "expected"), [("30", 30), ("0", 15), ("-1", 15), ("9999", 15)])
def test_connect_timeout(timeout: str, expected: int) -> None:
    assert parse(f"postgresql://u:p@h.example/db?connect_timeout={timeout}").connect_timeout_s == expected


def test_ca_file_only_where_something_is_verified() -> None:
    """libpq turns require into verify-ca as soon as it is given a CA file."""
    remote = "postgresql://u:p@h.example/db"
    assert (parse(remote).ca_file or "").endswith("cacert.pem")
    assert parse(remote + "?sslmode=require").ca_file is None
    assert parse(remote + "?sslmode=require&sslrootcert=/ca.crt").ca_file == "/ca.crt"
    assert parse(remote + "?sslrootcert=system").ca_file == parse(remote).ca_file
    assert parse("postgresql://u:p@/db?host=/run/pg").ca_file is None


def test_no_password_in_repr_and_description() -> None:
    c = parse("postgresql://reader:S3cretPass@h.example/db")
    with holding(*c.secrets()):
        assert "S3cretPass" not in repr(c) + c.describe()
        assert redact(c.describe()) == c.describe() == "reader@h.example:5432/db"
        assert "S3cretPass" not in redact(c.to_url())


def test_secrets_hold_the_form_of_a_password_file() -> None:
    assert Conninfo(host="h", dbname="d", user="u", password="a:b\\c").secrets() == ("a:b\\c", "a\\:b\\\\c")
    assert Conninfo(host="h", dbname="d", user="u").secrets() == ()
