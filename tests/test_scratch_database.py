"""Preparing a scratch database: the source's encoding and locale, extensions, roles, and what the host lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.cancel import CancelToken
from engine.config import DrillSettings
from engine.errors import CouldNotVerify
from engine.model import CollationNeed, Extension, RestoreNeeds, RoleNeed
from engine.postgres.cluster import ScratchCluster, scratch_cluster
from engine.postgres.extensions import ALLOWED, DATABASE, preload_settings
from engine.postgres.isolation import Sandbox
from engine.postgres.prepare import drop_database, prepare_database
from engine.postgres.scratch import scratch_directory
from engine.postgres.tools import Toolset, extension_lacks, has_extension
from engine.process import RunAs
from tests.fixtures.drill_parts import NEEDS

pytest_plugins = ("tests.fixtures.drills",)


@pytest.fixture
def cluster(scratch_root: Path, run_as: RunAs | None, toolset: Toolset, sandbox: Sandbox) -> Iterator[ScratchCluster]:
    with (
        scratch_directory(scratch_root, "0123456789", run_as=run_as) as scratch,
        scratch_cluster(
            scratch,
            toolset,
            sandbox=sandbox,
            cancel=CancelToken(),
            settings=DrillSettings(),
            more_settings=preload_settings(n for n in ALLOWED if has_extension(toolset, n)),
        ) as running,
    ):
        yield running


def show(cluster: ScratchCluster, dbname: str, query: str) -> object:
    with cluster.connect(dbname) as conn:
        row = conn.execute(query.encode()).fetchone()
        return row[0] if row else None


LACKING: list[tuple[RestoreNeeds, str, str]] = [
    (replace(NEEDS, extensions=(Extension("h3", "4", "public"),)), "drill.extension-missing", "-h3"),
    (replace(NEEDS, extensions=(Extension("odd", "1", "public"),)), "drill.extension-missing", "odd"),
    (replace(NEEDS, collations=(CollationNeed("public", "c", "c", "xx_YY.UTF-8"),)), "drill.locale-missing", "xx_YY"),
    (replace(NEEDS, collations=(CollationNeed("pg_catalog", "xx_YY", "c", None),)), "drill.locale-missing", "xx_YY"),
]


def test_f27_what_the_host_lacks_is_could_not_verify(cluster: ScratchCluster) -> None:
    for needs, code, word in LACKING:
        with pytest.raises(CouldNotVerify) as caught:
            prepare_database(cluster, "lacking", needs)
        assert caught.value.code == code
        assert word in caught.value.message + caught.value.hint
        drop_database(cluster, "lacking")


def test_encoding_and_locale_are_the_sources_or_a_skip(cluster: ScratchCluster) -> None:
    absent = replace(NEEDS, collate="xx_YY.UTF-8", ctype="xx_YY.UTF-8")
    for n, (needs, encoding, skips) in enumerate(
        [
            (NEEDS, "UTF8", []),
            (replace(NEEDS, encoding="LATIN1"), "LATIN1", []),
            (replace(NEEDS, encoding="SQL_ASCII"), "SQL_ASCII", []),
            (absent, "UTF8", ["xx_YY.UTF-8"]),
            (replace(absent, encoding="LATIN1"), "LATIN1", ["xx_YY.UTF-8"]),
        ]
    ):
        prepared = prepare_database(cluster, f"db{n}", needs)
        assert [s.name for s in prepared.skips] == skips
        assert show(cluster, f"db{n}", "SHOW server_encoding") == encoding


def test_an_icu_default_locale_is_kept_where_the_server_knows_icu(cluster: ScratchCluster, toolset: Toolset) -> None:
    if not toolset.icu or toolset.major < 15:
        pytest.skip("this server has no ICU")
    needs = replace(NEEDS, locale_provider="icu", icu_locale="de", collate="xx_YY.UTF-8", ctype="xx_YY.UTF-8")
    prepared = prepare_database(cluster, "icu", needs)
    assert "ICU de" in prepared.skips[0].reason  # the libc half is absent, the sort order is the source's
    query = "SELECT datlocprovider::text FROM pg_database WHERE datname = 'icu'"
    assert show(cluster, "icu", query) == "i"


def test_f28_roles_are_stubs_with_their_exact_names(cluster: ScratchCluster) -> None:
    names = ('app "owner"', "offsitedb_owner", "offsitedb_scratch", "pg_read_all_data", "MixedCase")
    prepared = prepare_database(cluster, "roles", replace(NEEDS, roles=tuple(RoleNeed(n, "grant") for n in names)))
    assert prepared.owner == "offsitedb_owner_"
    query = "SELECT array_agg(rolname::text ORDER BY rolname) FROM pg_roles WHERE NOT rolcanlogin AND oid >= 16384"
    assert show(cluster, "roles", query) == ["MixedCase", 'app "owner"', "offsitedb_owner"]
    assert prepare_database(cluster, "again", NEEDS).owner == "offsitedb_owner"
    member = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname ~ 'offsitedb'"
    assert show(cluster, "roles", member) == 0


def test_every_extension_of_the_list_that_is_here_can_be_created(cluster: ScratchCluster, toolset: Toolset) -> None:
    with cluster.connect() as conn:
        rows = conn.execute(
            "SELECT name, default_version FROM pg_available_extensions WHERE name <> 'plpgsql'"
        ).fetchall()
    loadable = [(str(n), str(v)) for n, v in rows if str(n) in ALLOWED and not extension_lacks(toolset, str(n))]
    extensions = tuple(Extension(n, v, "public") for n, v in loadable)
    assert extensions
    prepared = prepare_database(cluster, DATABASE, replace(NEEDS, extensions=extensions))
    assert show(cluster, DATABASE, "SELECT count(*)::int FROM pg_extension") == len(extensions) + 1
    assert {"c", "internal"} <= prepared.ground.untrusted_languages
