"""Providers and poolers told from host and port."""

from __future__ import annotations

import pytest

from engine.cancel import CancelToken
from engine.errors import SourceError
from engine.postgres.conninfo import parse
from engine.postgres.providers import pooler_advice, recognise
from engine.postgres.session import connect

HOSTS = [
    ("db.abcdefgh.supabase.co", "supabase"),
    ("aws-0-eu-central-1.pooler.supabase.com", "supabase"),
    ("ep-cool-1.eu-central-1.aws.neon.tech", "neon"),
    ("mydb.abc.eu-west-1.rds.amazonaws.com", "rds"),
    ("c.cluster-abc.eu-west-1.rds.amazonaws.com", "aurora"),
    ("c.cluster-ro-abc.eu-west-1.rds.amazonaws.com", "aurora"),
    ("ec2-1-2-3-4.compute-1.amazonaws.com", "heroku"),
    ("containers-us-west-1.railway.app", "railway"),
    ("viaduct.proxy.rlwy.net", "railway"),
    ("dpg-abc123-a.frankfurt-postgres.render.com", "render"),
    ("dpg-abc123-a", "render"),
    ("p.xyz.db.postgresbridge.com", "crunchy"),
    ("pg-1.aivencloud.com", "aiven"),
    ("db-1.b.db.ondigitalocean.com", "digitalocean"),
    ("s.postgres.database.azure.com", "azure"),
    ("/cloudsql/project:region:instance", "gcp"),
    ("app.flycast", "fly"),
    ("x.y.tsdb.cloud.timescale.com", "timescale"),
    ("localhost", "local"),
    ("127.0.0.1", "local"),
    ("/var/run/postgresql", "local"),
    ("db.example.org", None),
    ("evilneon.tech", None),
]

POOLERS = [
    # host, port -> kind, what the advice must name
    ("aws-0-eu-central-1.pooler.supabase.com", 6543, "transaction", "5432"),
    ("db.abcdefgh.supabase.co", 6543, "transaction", "5432"),
    ("aws-0-eu-central-1.pooler.supabase.com", 5432, "session", "fine"),
    ("ep-cool-1-pooler.eu-central-1.aws.neon.tech", 5432, "transaction", "ep-cool-1.eu-central-1.aws.neon.tech"),
    ("p.proxy-abc.eu-west-1.rds.amazonaws.com", 5432, "transaction", "instance"),
    ("db-1.b.db.ondigitalocean.com", 25061, "transaction", "25060"),
    ("s.postgres.database.azure.com", 6432, "transaction", "5432"),
    ("p.xyz.db.postgresbridge.com", 5431, "transaction", "5432"),
    ("db.example.org", 6432, "transaction", "5432"),
]
DIRECT = [
    ("db.abcdefgh.supabase.co", 5432),
    ("ep-cool-1.neon.tech", 5432),
    ("db.example.org", 5432),
    ("127.0.0.1", 5432),
]


@pytest.mark.parametrize(("host", "provider"), HOSTS)
def test_provider(host: str, provider: str | None) -> None:
    assert recognise(host) == provider


@pytest.mark.parametrize(("host", "port", "kind", "named"), POOLERS)
def test_pooler(host: str, port: int, kind: str, named: str) -> None:
    advice = pooler_advice(parse(f"postgresql://u:p@{host}:{port}/db"))
    assert advice is not None
    assert advice.kind == kind
    assert named in advice.text


@pytest.mark.parametrize(("host", "port"), DIRECT)
def test_direct(host: str, port: int) -> None:
    assert pooler_advice(parse(f"postgresql://u:p@{host}:{port}/db")) is None


def test_f6_a_transaction_pooler_is_refused_before_anything_is_sent() -> None:
    url = "postgresql://u:p@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?pgbouncer=true"
    with pytest.raises(SourceError) as caught:
        connect(parse(url), application_name="offsitedb/test", cancel=CancelToken())
    assert caught.value.code == "pg.pooler"
    assert "port 5432" in caught.value.hint
