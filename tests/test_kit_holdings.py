"""The bundle of keys: what goes in comes out, and nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.codec import to_plain
from engine.errors import FormatError, KeyAccessError
from engine.evidence.signer import Signer
from engine.keys.binding import bind, to_base64url
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryCode
from engine.kit import holdings
from engine.kit.holdings import (
    HeldBucket,
    HeldCheck,
    HeldConnection,
    HeldDestination,
    HeldKey,
    HeldMaster,
    HeldRetention,
    HeldSchedule,
    HeldScratchServer,
    Holdings,
)
from engine.model import DestinationKind

CODE = RecoveryCode(bytes(range(32)))
SEED = bytes(range(100, 132))
AT = datetime(2026, 11, 30, 14, 0, 11, 482913, tzinfo=UTC)


def held(**changes: object) -> Holdings:
    """An installation with a little of everything."""
    bucket = HeldBucket(
        "backups",
        "s3",
        "https://s3.example.com",
        "eu-1",
        "db",
        None,
        False,
        HeldKey("AKIA1", "s3cr3t"),
        HeldKey("P", "q"),
    )
    plain = Holdings(
        catalog_id="ab" * 16,
        created_at=AT,
        label="host-1",
        sealed_at=AT,
        program="1.0",
        key_epoch=2,
        masters=tuple(HeldMaster(n, MasterKey(n, bytes([n]) * 32).text) for n in (1, 2)),
        signer_seed=SEED.hex(),
        signer_public=Signer(SEED).public_hex,
        recovery_kid=CODE.public.kid,
        destinations=(
            HeldDestination("d1", "off", DestinationKind.S3, AT, bucket=bucket),
            HeldDestination("d2", "shelf", DestinationKind.FOLDER, AT, folder="/srv/backups", removed_at=AT),
        ),
        connections=(
            HeldConnection(
                "c1",
                "prod",
                "d1",
                AT,
                "postgresql://u:p%40ss@db:5432/prod?sslmode=verify-full",
                proof_target_s=86_400.0,
                schedule=HeldSchedule("0 2 * * *", "Europe/Berlin"),
                retention=HeldRetention(keep_daily=7, keep_tags=("v*",)),
                checks=(HeldCheck("orders", "SELECT count(*) FROM orders", "> 0"),),
            ),
            HeldConnection("c2", "old", "d2", AT, removed_at=AT),
        ),
        scratch_servers=(HeldScratchServer("s1", "big", AT, "postgresql://u:p@scratch/postgres"),),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def resealed(plain: object) -> bytes:
    """A bundle of whatever ``plain`` says, sealed rightly."""
    kid, catalog_id = CODE.public.kid, "ab" * 16
    sealed = CODE.public.seal(bind("odb/v1/keys", kid, catalog_id), json.dumps(plain).encode())
    return f"odb1k.{catalog_id}.{kid}.{to_base64url(sealed)}\n".encode()


_names = st.text(min_size=1, max_size=40)
_spans = st.none() | st.floats(min_value=0.001, max_value=1e9)
_instants = st.integers(0, 10**15).map(lambda us: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us))
_connections = st.builds(
    HeldConnection,
    id=_names,
    name=_names,
    destination_id=st.just("d1"),
    created_at=_instants,
    conninfo=st.none() | st.text(),
    ca_pem=st.none() | st.text(),
    accept_empty=st.booleans(),
    removed_at=st.none() | _instants,
    proof_target_s=_spans,
    restore_target_s=_spans,
    schedule=st.none() | st.builds(HeldSchedule, _names, _names, st.booleans()),
    retention=st.none()
    | st.builds(
        HeldRetention, keep_last=st.integers(0, 9), keep_within_s=_spans, keep_tags=st.lists(_names).map(tuple)
    ),
    checks=st.lists(st.builds(HeldCheck, _names, st.text(), st.text()), max_size=2).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(connections=st.lists(_connections, max_size=3, unique_by=lambda c: c.id), label=st.text(), prefix=st.text())
def test_what_is_sealed_comes_back(connections: list[HeldConnection], label: str, prefix: str) -> None:
    one = held()
    bucket = one.destinations[0].bucket
    assert bucket is not None
    place = replace(one.destinations[0], bucket=replace(bucket, prefix=prefix))
    sample = replace(one, label=label, connections=tuple(connections), destinations=(place,))
    sealed = holdings.seal(sample, CODE.public)
    assert holdings.open(sealed, CODE) == sample
    assert sealed.split(b".")[1:3] == [sample.catalog_id.encode(), CODE.public.kid.encode()]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_bundle_that_was_touched_is_refused(data: st.DataObject) -> None:
    sealed = holdings.seal(held(), CODE.public)
    body = len(sealed) - 1  # what ends the line may be lost on the way
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, body - 1))
        altered = bytearray(sealed)
        altered[at] ^= 1 << data.draw(st.integers(0, 7))
        touched = bytes(altered)
    else:
        touched = sealed[: data.draw(st.integers(0, body - 1))]
    with pytest.raises((FormatError, KeyAccessError)):
        holdings.open(touched, CODE)


def test_the_code_of_another_installation_is_said() -> None:
    with pytest.raises(KeyAccessError) as raised:
        holdings.open(holdings.seal(held(), CODE.public), RecoveryCode.generate())
    assert raised.value.code == "key.recovery-code"


def test_a_bundle_under_another_catalogs_name_does_not_open() -> None:
    sealed = holdings.seal(held(), CODE.public)
    with pytest.raises(FormatError):
        holdings.open(sealed.replace(b"ab" * 16, b"cd" * 16), CODE)


def test_nothing_of_it_is_in_clear() -> None:
    sealed = holdings.seal(held(), CODE.public)
    for secret in (b"s3cr3t", b"AKIA1", b"p%40ss", b"prod", b"odbm1", SEED.hex().encode(), b"host-1"):
        assert secret not in sealed


def test_a_record_shows_no_secret() -> None:
    shown = repr(held())
    for secret in ("s3cr3t", "AKIA1", "p%40ss", "odbm1", SEED.hex()):
        assert secret not in shown


def test_fields_of_a_newer_program_are_passed_over() -> None:
    plain = to_plain(held())
    plain["newer"] = 1
    plain["connections"][0]["colour"] = "green"
    assert holdings.open(resealed(plain), CODE) == held()


def test_another_version_is_said() -> None:
    with pytest.raises(FormatError) as raised:
        holdings.open(resealed({**to_plain(held()), "v": 2, "connections": "elsewhere"}), CODE)
    assert raised.value.code == "format.version"


@pytest.mark.parametrize(
    "changes",
    [
        {"key_epoch": 3},
        {"masters": []},
        {"signer_public": "00" * 32},
        {"signer_seed": "00"},
        {"destinations": []},
        {"catalog_id": "cd" * 16},
        {"recovery_kid": "00" * 8},
        {"v": "1"},
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        holdings.open(resealed({**to_plain(held()), **changes}), CODE)
    holdings.open(resealed(to_plain(held())), CODE)
