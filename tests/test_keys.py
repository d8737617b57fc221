"""Master keys, sealed values, wrapped data keys and the recovery code."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import FormatError, KeyAccessError, OffsiteError
from engine.keys import bech32m
from engine.keys.binding import bind, from_base64url, to_base64url
from engine.keys.master import MasterKey
from engine.keys.recovery import RecoveryBundle, RecoveryCode, RecoveryPublic, open_bundle, seal_bundle
from engine.keys.seals import open_blob, open_field, seal_blob, seal_field
from engine.keys.wrap import new_dek, unwrap_dek, unwrap_dek_with_recovery, wrap_dek
from engine.redact import redact

MASTER = MasterKey(1, bytes(range(32)))
OTHER = MasterKey(2, bytes(range(1, 33)))
CODE = RecoveryCode(bytes(range(2, 34)))
PLACE = {"artifact_id": "a" * 32, "connection_id": "c" * 32}

keys = st.binary(min_size=32, max_size=32)


# -- text forms


@given(keys)
def test_keys_survive_their_text(key: bytes) -> None:
    assert MasterKey.parse(MasterKey(3, key).text, 3) == MasterKey(3, key)
    assert RecoveryCode.parse(RecoveryCode(key).text) == RecoveryCode(key)


@given(keys, st.randoms(use_true_random=False))
def test_a_code_is_read_however_it_is_typed(key: bytes, rng: random.Random) -> None:
    typed = "".join(char + rng.choice(["", "", " ", "-", "\n"]) for char in RecoveryCode(key).text)
    for text in (typed, typed.upper(), f"  {typed.title()}\n"):
        assert RecoveryCode.parse(text) == RecoveryCode(key)


@given(keys, st.data())
def test_up_to_three_wrong_characters_are_noticed(key: bytes, data: st.DataObject) -> None:
    text = bech32m.encode("odbr", key)
    at = data.draw(st.lists(st.integers(5, len(text) - 1), min_size=1, max_size=3, unique=True))
    chars = list(text)
    for i in at:
        chars[i] = data.draw(st.sampled_from([c for c in bech32m.CHARSET if c != chars[i]]))
    with pytest.raises(KeyAccessError) as caught:
        RecoveryCode.parse("".join(chars))
    assert caught.value.code == "key.recovery-code"
    assert "".join(chars) not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


@given(keys)
def test_two_neighbours_exchanged_are_noticed(key: bytes) -> None:
    text = bech32m.encode("odbr", key)
    for i in range(5, len(text) - 1):
        if text[i] != text[i + 1]:
            with pytest.raises(ValueError):
                bech32m.decode("odbr", text[:i] + text[i + 1] + text[i] + text[i + 2 :])


@given(st.binary(max_size=60))
def test_base64url_has_one_spelling(raw: bytes) -> None:
    text = to_base64url(raw)
    assert from_base64url(text) == raw
    for wrong in (text + "=", text + "A" * (1 + (len(text) % 4 == 3)), text + "\n", text + "é", "+" + text):
        try:
            read = from_base64url(wrong)
        except ValueError:
            continue
        assert to_base64url(read) == wrong


@given(st.lists(st.text(max_size=5), max_size=5), st.lists(st.text(max_size=5), max_size=5))
def test_binding_is_unambiguous(one: list[str], two: list[str]) -> None:
    assert (bind(*one) == bind(*two)) == (one == two)


def test_nothing_shows_a_secret() -> None:
    for secret in (MASTER, CODE, RecoveryBundle((MASTER,), (("name", "postgresql://u:geheim@h/d"),))):
        shown = f"{secret!r} {secret}"
        assert "odbm1" not in shown
        assert "geheim" not in shown
        assert "\\x" not in shown
    assert redact(f"key {MASTER.text}, code {CODE.text}") == "key ***, code ***"


def test_a_master_key_is_made_rightly() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKey(1, bytes(31))
    with pytest.raises(ValueError, match="epoch"):
        MasterKey(0, bytes(32))
    assert MasterKey.generate(1) != MasterKey.generate(1)
    assert len(MASTER.kid) == 16
    assert MASTER.kid != OTHER.kid


# -- sealed values


@given(st.text(max_size=200))
def test_a_field_opens_in_its_cell_only(value: str) -> None:
    cell = {"catalog_id": "k", "table": "t", "column": "c", "row_id": "r"}
    sealed = seal_field(MASTER, **cell, value=value)
    assert open_field(MASTER, **cell, value=sealed) == value
    for part in cell:
        with pytest.raises(KeyAccessError) as caught:
            open_field(MASTER, **cell | {part: cell[part] + "x"}, value=sealed)
        assert caught.value.code == "key.row-altered"


def test_no_two_cells_can_be_exchanged() -> None:
    cells = [
        {"catalog_id": catalog, "table": table, "column": column, "row_id": row}
        for catalog in ("k1", "k2")
        for table in ("connections", "destinations")
        for column in ("conninfo", "secret")
        for row in ("1", "2")
    ]
    sealed = [seal_field(MASTER, **cell, value=f"value {i}") for i, cell in enumerate(cells)]
    for (cell, _), (_, text) in permutations(zip(cells, sealed, strict=True), 2):
        with pytest.raises(KeyAccessError):
            open_field(MASTER, **cell, value=text)


@given(st.data())
def test_an_altered_field_does_not_open(data: st.DataObject) -> None:
    cell = {"catalog_id": "k", "table": "t", "column": "c", "row_id": "r"}
    sealed = seal_field(MASTER, **cell, value="value")
    at = data.draw(st.integers(0, len(sealed) - 1))
    char = data.draw(st.characters(codec="utf-8").filter(lambda c: c != sealed[at]))
    with pytest.raises(KeyAccessError) as caught:
        open_field(MASTER, **cell, value=sealed[:at] + char + sealed[at + 1 :])
    assert caught.value.code in ("key.row-altered", "key.wrong")


def test_a_field_of_another_key_names_both() -> None:
    cell = {"catalog_id": "k", "table": "t", "column": "c", "row_id": "r"}
    with pytest.raises(KeyAccessError) as caught:
        open_field(OTHER, **cell, value=seal_field(MASTER, **cell, value="value"))
    assert caught.value.code == "key.wrong"
    assert f"k-{MASTER.kid}" in str(caught.value)
    assert f"k-{OTHER.kid}" in str(caught.value)


def test_a_field_has_a_limit() -> None:
    with pytest.raises(ValueError, match="at most"):
        seal_field(MASTER, catalog_id="k", table="t", column="c", row_id="r", value="x" * 1_048_577)


@given(st.binary(max_size=500), st.lists(st.text(max_size=5), max_size=3).map(tuple))
def test_a_blob_opens_in_its_place_only(blob: bytes, parts: tuple[str, ...]) -> None:
    sealed = seal_blob(MASTER, "manifest", parts, blob)
    assert open_blob(MASTER, "manifest", parts, sealed) == blob
    for purpose, place in (("receipt", parts), ("manifest", (*parts, "")), ("manifest", ("x", *parts))):
        with pytest.raises(FormatError):
            open_blob(MASTER, purpose, place, sealed)


def test_a_check_record_tells_a_wrong_key_from_damage() -> None:
    record = MASTER.check_record("catalog")
    MASTER.verify_check(record, "catalog")
    with pytest.raises(KeyAccessError) as caught:
        OTHER.verify_check(record, "catalog")
    assert caught.value.code == "key.wrong"
    for i in range(len(record)):
        damaged = record[:i] + ("x" if record[i] != "x" else "y") + record[i + 1 :]
        for master in (MASTER, OTHER):
            with pytest.raises(KeyAccessError) as caught:
                master.verify_check(damaged, "catalog")
            assert caught.value.code == "key.check-damaged"


# -- data keys and recovery


def test_a_data_key_opens_by_either_way() -> None:
    dek = new_dek()
    recipients = wrap_dek(dek, MASTER, CODE.public, **PLACE)
    assert unwrap_dek(recipients, [OTHER, MASTER], **PLACE) == dek
    assert unwrap_dek_with_recovery(recipients, CODE, **PLACE) == dek
    assert [r.kid for r in recipients] == [MASTER.kid, CODE.public.kid]
    assert new_dek() != dek


@pytest.mark.parametrize("part", PLACE)
def test_a_wrapped_key_is_of_one_artifact(part: str) -> None:
    recipients = wrap_dek(new_dek(), MASTER, CODE.public, **PLACE)
    elsewhere = PLACE | {part: "b" * 32}
    with pytest.raises(FormatError) as caught:
        unwrap_dek(recipients, [MASTER], **elsewhere)
    assert caught.value.code == "format.header"
    with pytest.raises(FormatError) as caught:
        unwrap_dek_with_recovery(recipients, CODE, **elsewhere)
    assert caught.value.code == "format.header"


def test_no_fitting_key_names_the_ids() -> None:
    recipients = wrap_dek(new_dek(), MASTER, CODE.public, **PLACE)
    with pytest.raises(FormatError) as caught:
        unwrap_dek(recipients, [OTHER], **PLACE)
    assert caught.value.code == "format.wrong-key"
    assert str(caught.value) == f"artifact sealed under k-{MASTER.kid}, keyring holds k-{OTHER.kid}"
    with pytest.raises(FormatError) as caught:
        unwrap_dek_with_recovery(recipients, RecoveryCode.generate(), **PLACE)
    assert caught.value.code == "format.wrong-key"


def test_an_altered_recipient_does_not_open() -> None:
    by_master, by_code = wrap_dek(new_dek(), MASTER, CODE.public, **PLACE)
    for ct in ("", "AAAA", "!", by_master.ct[:-4], by_code.ct[:-4], by_master.ct[:-1] + "AB"):
        with pytest.raises(FormatError) as caught:
            unwrap_dek([replace(by_master, ct=ct)], [MASTER], **PLACE)
        assert caught.value.code == "format.header"
        with pytest.raises(FormatError) as caught:
            unwrap_dek_with_recovery([replace(by_code, ct=ct)], CODE, **PLACE)
        assert caught.value.code == "format.header"


def test_the_public_half_survives_storage() -> None:
    assert RecoveryPublic(CODE.public.raw) == CODE.public
    for wrong in (b"", CODE.public.raw[:-1], b"\xff" * len(CODE.public.raw)):
        with pytest.raises(ValueError):
            RecoveryPublic(wrong)


@settings(max_examples=20)
@given(
    st.lists(keys, min_size=1, max_size=4), st.lists(st.tuples(st.text(max_size=9), st.text(max_size=30)), max_size=3)
)
def test_a_bundle_gives_everything_back(masters: list[bytes], connections: list[tuple[str, str]]) -> None:
    bundle = RecoveryBundle(tuple(MasterKey(i, key) for i, key in enumerate(masters, start=1)), tuple(connections))
    assert open_bundle(CODE, "catalog", seal_bundle(CODE.public, "catalog", bundle)) == bundle


def test_a_bundle_refuses() -> None:
    text = seal_bundle(CODE.public, "catalog", RecoveryBundle((MASTER,)))
    head, kid, body = text.split(".")
    cases = [
        (RecoveryCode.generate(), "catalog", text, "key.recovery-code"),
        (CODE, "other", text, "format.header"),
        (CODE, "catalog", f"{head}.{kid}.{body[:-4]}", "format.header"),
        (CODE, "catalog", f"{head}.{kid}.{body}=", "format.header"),
        (CODE, "catalog", f"{head}.{kid}.", "format.header"),
        (CODE, "catalog", "", "format.header"),
    ]
    for code, catalog_id, bundle, expected in cases:
        with pytest.raises(OffsiteError) as caught:
            open_bundle(code, catalog_id, bundle)
        assert caught.value.code == expected


def test_the_code_is_typed_back_in_part() -> None:
    code = RecoveryCode.generate()
    positions = code.confirm_positions()
    assert list(positions) == sorted(set(positions))
    assert len(positions) == 3
    right = [code.groups[at - 1] for at in positions]
    assert all(len(group) == 4 for group in right)
    assert code.confirms(positions, right)
    assert code.confirms(positions, [f" {group.upper()} " for group in right])
    wrong = "q" if right[2][0] != "q" else "p"
    assert not code.confirms(positions, [*right[:2], wrong + right[2][1:]])
    assert not code.confirms(positions, right[:2])
    assert not code.confirms((), ())
    assert not code.confirms((0,), (code.groups[-1],))
    assert code.text.split("-") == ["odbr1", *code.groups]
